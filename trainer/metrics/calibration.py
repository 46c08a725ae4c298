"""Temperature scaling, and how well probabilities are calibrated before and after it.

Temperature scaling (Guo et al. 2017, On Calibration of Modern Neural Networks) divides the log-odds by one number, the
temperature, which leaves the most probable class as it is. Here it is fitted on out-of-fold predictions of the training
split, applied only if it helps on folds it was not fitted on, and becomes part of the last dense layer's weights.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logsumexp, softmax

from trainer.metrics.intervals import exact_interval
from trainer.run_folder.decision_results import Calibration, ReliabilityBin

BINS = 10
TEMPERATURES = (0.05, 20.0)


def calibrate(truth: np.ndarray, log_p: np.ndarray, folds: np.ndarray) -> Calibration:
    """Returns the temperature, 1 unless it lowers the log loss, and the calibration before and after scaling.

    Args:
        truth: bool [n, classes], one True in each row; column 0 is the positive class.
        log_p: float [repeats, n, classes], out-of-fold log-probabilities.
        folds: int [repeats, n], each prediction's fold.
    """
    temperatures = cross_fit_temperatures(truth, log_p, folds)
    before, after = log_loss(truth, log_p), log_loss(truth, log_p, temperatures)
    is_positive = truth[:, 0]
    p_before, p_after = (probabilities(log_p, scale)[..., 0] for scale in (1.0, temperatures))
    bins_before, bins_after = reliability_bins(is_positive, p_before), reliability_bins(is_positive, p_after)
    applied = after < before
    return Calibration(
        temperature=fit_temperature(truth, log_p) if applied else 1.0,
        applied=applied,
        how="One temperature, fitted on out-of-fold predictions of the training split. The metrics after scaling use, "
        "for each fold, a temperature fitted on the other folds. It is applied if that lowers the log loss.",
        log_loss_before=before,
        log_loss_after=after,
        brier_before=brier_score(is_positive, p_before),
        brier_after=brier_score(is_positive, p_after),
        ece_before=expected_calibration_error(bins_before),
        ece_after=expected_calibration_error(bins_after),
        bins_before=bins_before,
        bins=bins_after if applied else bins_before,
    )


def probabilities(log_p: np.ndarray, temperature: float | np.ndarray = 1.0) -> np.ndarray:
    """Returns softmax(log-probabilities / temperature), of the log-probabilities' shape.

    Args:
        log_p: float [..., classes].
        temperature: > 0; one for all, or float [...].

    Example:
        >>> probabilities(np.log([[0.8, 0.2]]), temperature=2.0).round(2)
        array([[0.67, 0.33]])
    """
    others, log_odds = _split(log_p, temperature)
    return np.concatenate([expit(log_odds)[..., None], expit(-log_odds)[..., None] * softmax(others, axis=-1)], axis=-1)


def _split(log_p: np.ndarray, temperature: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds of each other class against class 0, and of class 0 against the rest, after scaling."""
    others = (log_p[..., 1:] - log_p[..., :1]) / np.asarray(temperature)[..., None]
    return others, -logsumexp(others, axis=-1)


def fit_temperature(truth: np.ndarray, log_p: np.ndarray) -> float:
    """Returns the temperature with the least cross-entropy.

    The targets are Platt's (1999), not 1 and 0: of n images of a class, (n + 1) / (n + k) for it and 1 / (n + k) for
    each of the k - 1 other classes. With 1 and 0, log-odds that separate the classes perfectly would give 0.

    Args:
        truth: bool [n, classes].
        log_p: float [repeats, n, classes].
    """
    counts, classes = truth.sum(0), truth.shape[1]
    targets = ((truth + 1.0) + (counts - 1) * truth) / (truth @ counts + classes)[:, None]

    def loss(log_temperature: float) -> float:
        return _cross_entropy(targets, log_p, np.exp(log_temperature))

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def cross_fit_temperatures(truth: np.ndarray, log_p: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Returns for each prediction the temperature fitted on the other folds of its repeat, float64 [repeats, n].

    Args:
        truth: bool [n, classes].
        log_p: float [repeats, n, classes].
        folds: int [repeats, n], each prediction's fold.
    """
    result = np.empty(folds.shape)
    for repeat, own in enumerate(folds):
        for fold in np.unique(own):
            others = own != fold
            result[repeat, ~others] = fit_temperature(truth[others], log_p[repeat : repeat + 1, others])
    return result


def log_loss(truth: np.ndarray, log_p: np.ndarray, temperature: float | np.ndarray = 1.0) -> float:
    """Returns the mean negative log-likelihood of the true classes in nats.

    Args:
        truth: bool [n, classes].
        log_p: float [repeats, n, classes]; of probabilities, a confident mistake would overflow.
        temperature: One for all, or float [repeats, n].
    """
    return _cross_entropy(truth.astype(np.float64), log_p, temperature)


def brier_score(is_positive: np.ndarray, scores: np.ndarray) -> float:
    """Returns the mean squared difference of probabilities, float [repeats, n], and outcome, bool [n]."""
    return float(np.mean((scores - is_positive) ** 2))


def reliability_bins(is_positive: np.ndarray, scores: np.ndarray) -> tuple[ReliabilityBin, ...]:
    """Returns the reliability diagram: ten bins of equal width over the probability; empty ones are left out.

    Args:
        is_positive: bool [n].
        scores: float [repeats, n] in [0, 1].
    """
    positive = np.broadcast_to(is_positive, scores.shape)
    bin_of = np.minimum((scores * BINS).astype(int), BINS - 1)
    bins = []
    for index in range(BINS):
        inside = bin_of == index
        if not (n := int(inside.sum())):
            continue
        fraction, images = float(positive[inside].mean()), n / len(scores)
        limits = exact_interval(fraction * images, images)
        mean = float(scores[inside].mean())
        bins.append(ReliabilityBin(index / BINS, (index + 1) / BINS, n, mean, fraction, limits))
    return tuple(bins)


def expected_calibration_error(bins: tuple[ReliabilityBin, ...]) -> float:
    """Returns the mean distance of a bin's mean probability from its share of positives, weighted by predictions."""
    total = sum(one.n for one in bins)
    return sum(one.n * abs(one.mean_p - one.fraction_positive) for one in bins) / total


def divide_last_layer(weights: list[np.ndarray], temperature: float) -> list[np.ndarray]:
    """Returns a head's dense weights with the kernel and bias of the last layer divided by the temperature."""
    return [*weights[:-2], weights[-2] / temperature, weights[-1] / temperature]


def _cross_entropy(targets: np.ndarray, log_p: np.ndarray, temperature: float | np.ndarray) -> float:
    """Cross-entropy of class 0 against the rest, plus that among the rest."""
    others, log_odds = _split(log_p, temperature)
    against_rest = np.logaddexp(0, log_odds) - targets[:, 0] * log_odds
    among_rest = np.sum(targets[:, 1:] * (others + log_odds[..., None]), axis=-1)
    return float(np.mean(against_rest - among_rest))
