"""Temperature scaling, and how well probabilities are calibrated before and after it.

Temperature scaling (Guo et al. 2017, On Calibration of Modern Neural Networks) divides the log-odds by one number, the
temperature, which changes no ranking. Here it is fitted on out-of-fold predictions of the training split, applied only
if it helps on folds it was not fitted on, and becomes part of the last dense layer's weights.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from trainer.metrics.intervals import exact_interval
from trainer.run_folder.results import Calibration, ReliabilityBin

BINS = 10
TEMPERATURES = (0.05, 20.0)


def calibrate(is_positive: np.ndarray, log_odds: np.ndarray, folds: np.ndarray) -> Calibration:
    """Returns the temperature, 1 unless it lowers the log loss, and the calibration before and after scaling.

    Args:
        is_positive: bool [n].
        log_odds: float [repeats, n], out-of-fold log-odds of the positive class.
        folds: int [repeats, n], each prediction's fold.
    """
    cooled = log_odds / cross_fit_temperatures(is_positive, log_odds, folds)
    before, after = log_loss(is_positive, log_odds), log_loss(is_positive, cooled)
    p_before, p_after = probabilities(log_odds), probabilities(cooled)
    bins_before, bins_after = reliability_bins(is_positive, p_before), reliability_bins(is_positive, p_after)
    applied = after < before
    return Calibration(
        temperature=fit_temperature(is_positive, log_odds) if applied else 1.0,
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


def probabilities(log_odds: np.ndarray, temperature: float | np.ndarray = 1.0) -> np.ndarray:
    """Returns the probabilities of log-odds divided by a temperature; of the log-odds' shape."""
    return expit(log_odds / temperature)


def fit_temperature(is_positive: np.ndarray, log_odds: np.ndarray) -> float:
    """Returns the temperature with the least cross-entropy.

    The targets are Platt's (1999): (N+ + 1) / (N+ + 2) for positives and 1 / (N- + 2) for negatives, not 1 and 0.
    With 1 and 0, log-odds that separate the classes perfectly would give temperature 0.

    Args:
        is_positive: bool [n].
        log_odds: float [repeats, n].
    """
    positives, negatives = is_positive.sum(), (~is_positive).sum()
    targets = np.where(is_positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(log_temperature: float) -> float:
        return _cross_entropy(targets, log_odds / np.exp(log_temperature))

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def cross_fit_temperatures(is_positive: np.ndarray, log_odds: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Returns for each prediction the temperature fitted on the other folds of its repeat, float64 [repeats, n].

    Args:
        is_positive: bool [n].
        log_odds: float [repeats, n].
        folds: int [repeats, n], each prediction's fold.
    """
    result = np.empty(log_odds.shape)
    for repeat, own in enumerate(folds):
        for fold in np.unique(own):
            others = own != fold
            result[repeat, ~others] = fit_temperature(is_positive[others], log_odds[repeat : repeat + 1, others])
    return result


def log_loss(is_positive: np.ndarray, log_odds: np.ndarray) -> float:
    """Returns the mean negative log-likelihood in nats.

    Args:
        is_positive: bool [n].
        log_odds: float [repeats, n]; of probabilities, a confident mistake would overflow.
    """
    return _cross_entropy(is_positive.astype(np.float64), log_odds)


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
    return sum(one.n * abs(one.mean_p - one.fraction_covid) for one in bins) / total


def divide_last_layer(weights: list[np.ndarray], temperature: float) -> list[np.ndarray]:
    """Returns a head's dense weights with the kernel and bias of the last layer divided by the temperature."""
    return [*weights[:-2], weights[-2] / temperature, weights[-1] / temperature]


def _cross_entropy(targets: np.ndarray, log_odds: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, log_odds) - targets * log_odds))
