"""Whether "70 % covid" is right seven times in ten, and the one number that brings it closer. Never TensorFlow.

Temperature scaling (Guo et al. 2017, On Calibration of Modern Neural Networks) divides the log-odds by one number T,
which changes no ranking. Here it is fitted on out-of-fold predictions of the training split, is used only where it
helps on folds it was not fitted on, and ends up inside the last dense layer's weights.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from trainer.metrics.classification import POSITIVE, exact_interval

BINS = 10
TEMPERATURES = (0.05, 20.0)


def probabilities(log_odds: np.ndarray, temperature: float | np.ndarray = 1.0) -> np.ndarray:
    """Probability of covid from its log-odds at a temperature; of the log-odds' shape."""
    return expit(log_odds / temperature)


def fit_temperature(labels: np.ndarray, log_odds: np.ndarray) -> float:
    """The temperature with the least cross-entropy. labels: int [n]. log_odds: float [repeats, n].

    The targets are Platt's (1999), (N+ + 1) / (N+ + 2) for covid and 1 / (N- + 2) for the others, and not 1 and 0:
    with those, images that are told apart without a mistake would ask for temperature 0.
    """
    positive = labels == POSITIVE
    ones, zeros = positive.sum(), (~positive).sum()
    targets = np.where(positive, (ones + 1) / (ones + 2), 1 / (zeros + 2))

    def loss(log_temperature: float) -> float:
        return _cross_entropy(targets, log_odds / np.exp(log_temperature))

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def cross_fitted(labels: np.ndarray, log_odds: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """For each prediction the temperature fitted on the other folds of its repeat, float64 [repeats, n].

    labels: int [n]. log_odds: float [repeats, n]. folds: int [repeats, n], each prediction's fold.
    """
    result = np.empty(log_odds.shape)
    for repeat, own in enumerate(folds):
        for fold in np.unique(own):
            others = own != fold
            result[repeat, ~others] = fit_temperature(labels[others], log_odds[repeat : repeat + 1, others])
    return result


def log_loss(labels: np.ndarray, log_odds: np.ndarray) -> float:
    """Mean negative log-likelihood in nats, from log-odds [repeats, n] so that a sure mistake does not overflow."""
    return _cross_entropy((labels == POSITIVE).astype(np.float64), log_odds)


def brier(labels: np.ndarray, p_covid: np.ndarray) -> float:
    """Brier score: mean squared difference of probability and outcome."""
    return float(np.mean((p_covid - (labels == POSITIVE)) ** 2))


def reliability(labels: np.ndarray, p_covid: np.ndarray) -> list[dict]:
    """The reliability diagram's bins, ten of equal width over p_covid; empty ones are left out.

    labels: int [n]. p_covid: float [repeats, n]. In each: low, high, n (predictions, repeats included), mean_p,
    fraction_covid and its ci95, which counts an image once.
    """
    positive = np.broadcast_to(labels == POSITIVE, p_covid.shape)
    bin_of = np.minimum((p_covid * BINS).astype(int), BINS - 1)
    bins = []
    for index in range(BINS):
        inside = bin_of == index
        if not (n := int(inside.sum())):
            continue
        fraction, images = float(positive[inside].mean()), n / len(p_covid)
        bins.append(
            {
                "low": index / BINS,
                "high": (index + 1) / BINS,
                "n": n,
                "mean_p": float(p_covid[inside].mean()),
                "fraction_covid": fraction,
                "ci95": list(exact_interval(fraction * images, images)),
            }
        )
    return bins


def expected_calibration_error(bins: list[dict]) -> float:
    """Mean distance of a bin's mean probability and its fraction of covid, weighted by its predictions."""
    total = sum(entry["n"] for entry in bins)
    return sum(entry["n"] * abs(entry["mean_p"] - entry["fraction_covid"]) for entry in bins) / total


def calibrate(labels: np.ndarray, log_odds: np.ndarray, folds: np.ndarray) -> dict:
    """metrics.json's "calibration" for out-of-fold log-odds of the training split (shapes as in `cross_fitted`).

    "after" figures use cross-fitted temperatures. temperature is 1 and applied is false when these do not lower the
    log loss.
    """
    after = log_odds / cross_fitted(labels, log_odds, folds)
    told = {"before": log_odds, "after": after}
    losses = {when: log_loss(labels, values) for when, values in told.items()}
    bins = {when: reliability(labels, probabilities(values)) for when, values in told.items()}
    applied = losses["after"] < losses["before"]
    return {
        "temperature": fit_temperature(labels, log_odds) if applied else 1.0,
        "applied": applied,
        "how": "One temperature fitted on out-of-fold predictions of the training split; the figures after it use, for "
        "each fold, a temperature fitted on the other folds. It is applied when it lowers the log loss there.",
        **{f"log_loss_{when}": loss for when, loss in losses.items()},
        **{f"brier_{when}": brier(labels, probabilities(values)) for when, values in told.items()},
        **{f"ece_{when}": expected_calibration_error(bins[when]) for when in told},
        "bins_before": bins["before"],
        "bins": bins["after" if applied else "before"],
    }


def folded_in(weights: list[np.ndarray], temperature: float) -> list[np.ndarray]:
    """A head's dense weights with the last layer's kernel and bias divided by the temperature."""
    return [*weights[:-2], weights[-2] / temperature, weights[-1] / temperature]


def _cross_entropy(targets: np.ndarray, log_odds: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, log_odds) - targets * log_odds))
