"""How trials are scored, and what the best score is worth once it is known that it was chosen. Never TensorFlow.

Score = mean AUROC over folds - w (1 - exp(-log-loss)), where w is what one wrongly ordered pair of images costs the
mean AUROC in the largest fold. exp(-log-loss) is the (geometric) mean probability given to the truth, so the second
term lies between 0 and w: it decides between trials that order the images equally well and never outweighs a pair.
AUROC comes first because it doesn't depend on a threshold or on calibration, which are set later and on the winner
alone; but with a few dozen images many trials reach the same AUROC, often 1, and there the log-loss, a proper score,
still tells the sure from the barely right.

The best of many noisy scores is too good. What the choice is worth comes from the bootstrap bias corrected
cross-validation of Tsamardinos, Greasidou and Borboudakis (2018), Bootstrapping the out-of-sample predictions for
efficient and accurate cross-validation, Machine Learning 107: patients are drawn with replacement, the best trial is
chosen on those drawn and judged on those left out. It needs the held-out predictions of all trials and no training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.metrics import bootstrap, classification

TUTORIAL_TRIAL = 0


@dataclass(frozen=True)
class Question:
    """Whom trials are judged on. positive: bool [n], covid. patients: ids [n]. fold: int [n], which holds it out."""

    positive: np.ndarray
    patients: np.ndarray
    fold: np.ndarray

    @property
    def folds(self) -> list[np.ndarray]:
        """The held-out rows of each fold."""
        return [np.flatnonzero(self.fold == index) for index in range(self.fold.max() + 1)]

    @property
    def pair(self) -> float:
        """What one wrongly ordered pair costs the mean AUROC in the fold with most pairs."""
        pairs = [np.sum(self.positive[rows]) * np.sum(~self.positive[rows]) for rows in self.folds]
        return 1 / (len(pairs) * max(pairs))


@dataclass(frozen=True)
class Judgement:
    """A trial's figures. auroc: float [folds]. log_loss: mean over all held-out images, in nats."""

    auroc: np.ndarray
    log_loss: float
    score: float


def losses(question: Question, log_odds: np.ndarray) -> np.ndarray:
    """-log of the probability given to the truth, float [..., n], from log-odds of covid float [..., n]."""
    return np.logaddexp(0, np.where(question.positive, -log_odds, log_odds))


def judge(question: Question, log_odds: np.ndarray) -> Judgement:
    """Score held-out predictions, log-odds of covid float [n]; each image's come from a head that never saw it."""
    everyone = np.ones((1, len(log_odds)))
    auroc = _aurocs(question, log_odds, everyone)[:, 0]
    log_loss = float(losses(question, log_odds).mean())
    return Judgement(auroc, log_loss, float(_scores(question, auroc[:, None], np.asarray([log_loss]))[0]))


def _scores(question: Question, auroc: np.ndarray, log_loss: np.ndarray) -> np.ndarray:
    """Scores, float [b], from AUROC [folds, b] (NaN where a fold lacks a class) and log-loss [b]."""
    return np.nanmean(auroc, axis=0) - question.pair * -np.expm1(-log_loss)


def _aurocs(question: Question, log_odds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC of each fold under each row of image weights [b, n], float [folds, b]; NaN where a class has no weight."""
    with np.errstate(invalid="ignore"):
        return np.stack(
            [bootstrap.roc_area(question.positive[rows], log_odds[rows], weights[:, rows]) for rows in question.folds]
        )


def without_selection_bias(question: Question, log_odds: np.ndarray) -> dict:
    """What "take the best of these trials" reaches on patients that had no part in the choice.

    log_odds: float [trials, n], held-out predictions; row TUTORIAL_TRIAL is the tutorial's point. Returns auroc and
    p_truth (exp(-log-loss), the geometric mean probability given to the truth: unlike log-loss it is bounded, so that
    one sure mistake does not decide its mean) of the choice, of the tutorial's point, and the gain (choice minus
    tutorial), each {"value", "ci95"}: mean and percentile interval over draws of patients. The AUROC's interval is at
    least as wide as Newcombe's for that many patients, because where every trial is perfect the draws don't differ.
    """
    collected = [_one_draw(question, log_odds, w) for w in bootstrap.replicates(question.positive, question.patients)]
    auroc, tutorial_auroc, p_truth, tutorial_p_truth = np.concatenate(collected, axis=1)
    result = {
        "auroc": _summary(auroc),
        "tutorial_auroc": _summary(tutorial_auroc),
        "auroc_gain": _summary(auroc - tutorial_auroc),
        "p_truth": _summary(p_truth),
        "tutorial_p_truth": _summary(tutorial_p_truth),
        "p_truth_gain": _summary(p_truth - tutorial_p_truth),
    }
    sizes = [len(np.unique(question.patients[rows])) for rows in (question.positive, ~question.positive)]
    for name in ("auroc", "tutorial_auroc"):
        value, (low, high) = result[name]["value"], result[name]["ci95"]
        wide_low, wide_high = classification.newcombe_interval(value, *sizes)
        result[name]["ci95"] = [min(low, wide_low), max(high, wide_high)]
    return result | {"draws": len(auroc), "patients": len(np.unique(question.patients))}


def _one_draw(question: Question, log_odds: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """[4, b]: AUROC and p_truth, of the trial chosen on the images drawn and of the tutorial's, on those left out."""
    left_out = (drawn == 0).astype(np.float64)
    usable = np.isfinite(_aurocs(question, log_odds[0], left_out)).any(0)
    usable &= np.isfinite(_aurocs(question, log_odds[0], drawn)).any(0)
    drawn, left_out = drawn[usable], left_out[usable]
    loss = losses(question, log_odds)
    inside = [
        _scores(question, _aurocs(question, trial, drawn), drawn @ trial_loss / drawn.sum(1))
        for trial, trial_loss in zip(log_odds, loss, strict=True)
    ]
    chosen = np.argmax(inside, axis=0)
    auroc = np.stack([np.nanmean(_aurocs(question, trial, left_out), axis=0) for trial in log_odds])
    p_truth = np.exp(-(loss @ left_out.T) / left_out.sum(1))
    draw = np.arange(len(chosen))
    return np.stack([auroc[chosen, draw], auroc[TUTORIAL_TRIAL], p_truth[chosen, draw], p_truth[TUTORIAL_TRIAL]])


def _summary(draws: np.ndarray) -> dict:
    value = float(draws.mean())
    low, high = np.quantile(draws, (0.025, 0.975))
    return {"value": value, "ci95": [float(min(low, value)), float(max(high, value))]}
