"""Score trials, and correct the best score for having been picked as the best of many. No TensorFlow.

Score = mean AUROC over folds - w (1 - exp(-log loss)), where the AUROC of more than two classes is the mean of each
class against the rest, and w is what one wrongly ordered pair of images costs the mean in the fold with most pairs.
exp(-log loss) is the geometric mean of the probabilities of the true classes, so the second term lies between 0 and w:
it decides between trials that order the images equally well and never outweighs a pair. AUROC comes first because it
depends neither on a threshold nor on calibration, which are set later and for the best trial alone. But with a few
dozen images many trials reach the same AUROC, often 1; the log loss, a proper score, still separates them.

The best of many noisy scores is optimistic. `correct_for_selection` is the bootstrap bias corrected cross-validation of
Tsamardinos, Greasidou and Borboudakis (2018), Bootstrapping the out-of-sample predictions for efficient and accurate
cross-validation, Machine Learning 107: patients are drawn with replacement, the best trial is picked on those drawn and
evaluated on those left out. It needs the held-out predictions of all trials and trains nothing.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from trainer.metrics import bootstrap
from trainer.metrics.intervals import newcombe_interval
from trainer.metrics.one_vs_rest import count_patients

TUTORIAL_TRIAL = 0


@dataclass(frozen=True)
class HeldOut:
    """The images that trials are scored on.

    Attributes:
        truth: bool [n, classes], whether each image is of each class; column 0 is the positive class.
        patients: Patient ids, [n].
        fold: int [n], the fold that holds each image out.
    """

    truth: np.ndarray
    patients: np.ndarray
    fold: np.ndarray

    @property
    def folds(self) -> list[np.ndarray]:
        """The held-out rows of each fold."""
        return [np.flatnonzero(self.fold == index) for index in range(self.fold.max() + 1)]

    @property
    def ranked(self) -> range:
        """The classes whose AUROC counts; of two classes the first, because the other's is the same."""
        return range(1 if self.truth.shape[1] == 2 else self.truth.shape[1])

    @property
    def pair_cost(self) -> float:
        """What one wrongly ordered pair of images costs the mean AUROC, in the fold and class with most pairs."""
        pairs = [np.sum(self.truth[rows, k]) * np.sum(~self.truth[rows, k]) for rows in self.folds for k in self.ranked]
        return 1 / (len(pairs) * max(pairs))


@dataclass(frozen=True)
class TrialScore:
    """The metrics of one trial, on images that each fold's head was not trained on.

    Attributes:
        score: What the search maximizes.
        auroc_mean: Mean AUROC over folds (and over classes against the rest, where there are more than two).
        auroc_sd: Its standard deviation over folds.
        auroc_folds: AUROC of each fold.
        log_loss: Mean over all held-out images, in nats.
    """

    score: float
    auroc_mean: float
    auroc_sd: float
    auroc_folds: tuple[float, ...]
    log_loss: float


@dataclass(frozen=True)
class DrawnMean:
    """A mean over bootstrap draws of patients, with its 95 % interval."""

    value: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class CorrectedScores:
    """What picking the best trial reaches on patients that had no part in the choice.

    p_truth is exp(-log loss), the geometric mean of the probabilities of the true classes: unlike log loss it is
    bounded, so that one confident mistake does not decide its mean.

    Attributes:
        auroc: Of the picked trial.
        tutorial_auroc: Of the tutorial's recipe.
        auroc_gain: The picked trial's minus the tutorial's.
        p_truth: Of the picked trial.
        tutorial_p_truth: Of the tutorial's recipe.
        p_truth_gain: The picked trial's minus the tutorial's.
        draws: Number of bootstrap draws.
        patients: Number of patients.
    """

    auroc: DrawnMean
    tutorial_auroc: DrawnMean
    auroc_gain: DrawnMean
    p_truth: DrawnMean
    tutorial_p_truth: DrawnMean
    p_truth_gain: DrawnMean
    draws: int
    patients: int


def score_trial(held_out: HeldOut, log_p: np.ndarray) -> TrialScore:
    """Scores a trial's held-out predictions.

    Args:
        held_out: The images.
        log_p: Log-probabilities, float [n, classes]; each from a head that was not trained on the image's fold.

    Example:
        >>> truth = np.eye(2, dtype=bool)[[0, 1] * 4]
        >>> held_out = HeldOut(truth, np.arange(8), np.array([0] * 4 + [1] * 4))
        >>> score_trial(held_out, np.log(np.where(truth, 0.9, 0.1))).auroc_folds
        (1.0, 1.0)
    """
    auroc = _compute_aurocs(held_out, log_p, np.ones((1, len(log_p))))[:, 0]
    log_loss = float(_compute_losses(held_out, log_p).mean())
    return TrialScore(
        score=float(_combine(held_out, auroc[:, None], np.asarray([log_loss]))[0]),
        auroc_mean=float(auroc.mean()),
        auroc_sd=float(auroc.std(ddof=1)),
        auroc_folds=tuple(auroc.tolist()),
        log_loss=log_loss,
    )


def correct_for_selection(held_out: HeldOut, log_p: np.ndarray) -> CorrectedScores:
    """Estimates what picking the best of these trials reaches on patients that had no part in the choice.

    Intervals are percentiles of the draws. An AUROC's is at least as wide as Newcombe's for that many patients, of the
    class with the fewest, because where every trial is perfect the draws don't differ.

    Args:
        held_out: The images.
        log_p: float [trials, n, classes], held-out predictions; row TUTORIAL_TRIAL is the tutorial's recipe.
    """
    weights = bootstrap.draw_replicates(held_out.truth.argmax(1), held_out.patients)
    draws = [_pick_and_evaluate(held_out, log_p, drawn) for drawn in weights]
    auroc, tutorial_auroc, p_truth, tutorial_p_truth = np.concatenate(draws, axis=1)
    rarest = min(held_out.ranked, key=lambda k: count_patients(held_out.truth[:, k], held_out.patients))
    sizes = [count_patients(held_out.truth[:, rarest] == is_one, held_out.patients) for is_one in (True, False)]

    def mean(values: np.ndarray, is_auroc: bool = False) -> DrawnMean:
        value = float(values.mean())
        limits = [value, *np.quantile(values, (0.025, 0.975))]
        if is_auroc:
            limits += newcombe_interval(value, *sizes)
        return DrawnMean(value, (float(min(limits)), float(max(limits))))

    return CorrectedScores(
        auroc=mean(auroc, is_auroc=True),
        tutorial_auroc=mean(tutorial_auroc, is_auroc=True),
        auroc_gain=mean(auroc - tutorial_auroc),
        p_truth=mean(p_truth),
        tutorial_p_truth=mean(tutorial_p_truth),
        p_truth_gain=mean(p_truth - tutorial_p_truth),
        draws=len(auroc),
        patients=len(np.unique(held_out.patients)),
    )


def _pick_and_evaluate(held_out: HeldOut, log_p: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """AUROC and p_truth on the images left out, of the trial picked on the images drawn and of the tutorial's.

    drawn: float [draws, n], how often each image was drawn. Returns float [4, draws]; draws without a fold in which
    both a class and the rest are drawn, or left out, are skipped.
    """
    left_out = (drawn == 0).astype(np.float64)
    usable = np.isfinite(_compute_aurocs(held_out, log_p[0], left_out)).any(0)
    usable &= np.isfinite(_compute_aurocs(held_out, log_p[0], drawn)).any(0)
    drawn, left_out = drawn[usable], left_out[usable]
    losses = _compute_losses(held_out, log_p)
    inside = [
        _combine(held_out, _compute_aurocs(held_out, trial, drawn), drawn @ trial_losses / drawn.sum(1))
        for trial, trial_losses in zip(log_p, losses, strict=True)
    ]
    picked = np.argmax(inside, axis=0)
    auroc = np.stack([np.nanmean(_compute_aurocs(held_out, trial, left_out), axis=0) for trial in log_p])
    p_truth = np.exp(-(losses @ left_out.T) / left_out.sum(1))
    draw = np.arange(len(picked))
    return np.stack([auroc[picked, draw], auroc[TUTORIAL_TRIAL], p_truth[picked, draw], p_truth[TUTORIAL_TRIAL]])


def _compute_losses(held_out: HeldOut, log_p: np.ndarray) -> np.ndarray:
    """-log of the probability of each image's true class, float [..., n], from log-probabilities [..., n, classes]."""
    return -log_p[..., held_out.truth]


def _compute_aurocs(held_out: HeldOut, log_p: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC of each fold, the mean over classes, under each row of image weights [b, n], float [folds, b].

    A class that a fold lacks, or that has no weight there, is left out; NaN where none is left.
    """
    odds = {k: log_p[:, k] - logsumexp(np.delete(log_p, k, axis=1), axis=1) for k in held_out.ranked}
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice")
        return np.stack(
            [
                np.nanmean(
                    [
                        bootstrap.roc_area(held_out.truth[rows, k], odds[k][rows], weights[:, rows])
                        for k in held_out.ranked
                    ],
                    axis=0,
                )
                for rows in held_out.folds
            ]
        )


def _combine(held_out: HeldOut, auroc: np.ndarray, log_loss: np.ndarray) -> np.ndarray:
    """Scores, float [b], from AUROC [folds, b] (NaN where a fold lacks a class) and log loss [b]."""
    return np.nanmean(auroc, axis=0) - held_out.pair_cost * -np.expm1(-log_loss)
