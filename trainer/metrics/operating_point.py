"""Choose the decision threshold that reaches a target sensitivity; predictive values of a decision.

The threshold is chosen on out-of-fold predictions of the training split, then frozen. The test split takes no part.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from trainer.metrics import bootstrap
from trainer.metrics.calibration import probabilities
from trainer.metrics.one_vs_rest import estimate_ratios, list_ratios
from trainer.run_folder.decision_results import DecisionRates, OperatingPoint, ThresholdUncertainty

PREVALENCES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
# 10 * (1 - 0.9) is 0.9999999999999998 in floating point and has to allow one missed image, not none.
ROUNDING = 1e-9


def choose_operating_point(
    is_positive: np.ndarray, patients: np.ndarray, scores: np.ndarray, target_sensitivity: float
) -> OperatingPoint:
    """Returns the threshold of `choose_threshold` with its uncertainty and its rates on the same predictions.

    Args:
        is_positive: bool [n].
        patients: ids [n].
        scores: float [repeats, n] in [0, 1], out-of-fold probabilities of the positive class.
        target_sensitivity: In (0, 1].
    """
    threshold = choose_threshold(is_positive, scores, target_sensitivity)
    sensitivity, specificity, *_ = list_ratios(is_positive, scores >= threshold)
    rates = estimate_ratios([sensitivity, specificity], ~is_positive, patients)
    return OperatingPoint(
        threshold=threshold,
        target_sensitivity=target_sensitivity,
        how="The highest threshold whose sensitivity on out-of-fold predictions of the training split is at least "
        f"{target_sensitivity:g}; then frozen.",
        uncertainty=measure_uncertainty(is_positive, patients, scores, target_sensitivity),
        out_of_fold=DecisionRates(*rates),
    )


def measure_uncertainty(
    is_positive: np.ndarray, patients: np.ndarray, scores: np.ndarray, target_sensitivity: float
) -> ThresholdUncertainty:
    """Chooses the threshold again on patients drawn with replacement, and measures what its limits would change.

    Args:
        is_positive: bool [n].
        patients: ids [n].
        scores: float [repeats, n] in [0, 1].
        target_sensitivity: In (0, 1].
    """
    weights = bootstrap.draw_replicates(~is_positive, patients)
    drawn = np.concatenate([_choose_weighted(is_positive, scores, w, target_sensitivity) for w in weights])
    low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
    at_low, at_high = (np.mean(scores >= limit, axis=0) for limit in (low, high))
    return ThresholdUncertainty(
        ci95=(low, high),
        sensitivity=(float(at_low[is_positive].mean()), float(at_high[is_positive].mean())),
        specificity=(float(1 - at_low[~is_positive].mean()), float(1 - at_high[~is_positive].mean())),
        positives=int(is_positive.sum()),
    )


def _choose_weighted(is_positive: np.ndarray, scores: np.ndarray, weights: np.ndarray, target: float) -> np.ndarray:
    """`choose_threshold` for each row of image weights, float [b, n]; returns float64 [b]."""
    pooled, image = scores.ravel(), np.tile(np.arange(scores.shape[1]), len(scores))
    order = np.argsort(pooled, kind="stable")
    ascending, image = pooled[order], image[order]
    positive = np.cumsum(weights[:, image] * is_positive[image], axis=1)
    most_missed = np.floor(positive[:, -1:] * (1 - target) + ROUNDING)
    called = np.argmax(positive > most_missed, axis=1)
    # The next lower score among the images drawn: index -1, the score 0, where there is none.
    place = np.arange(len(ascending))
    last_drawn = np.maximum.accumulate(np.where(weights[:, image] > 0, place, -1), axis=1)
    first_of_tie = np.searchsorted(ascending, ascending[called])
    before = np.where(first_of_tie > 0, last_drawn[np.arange(len(weights)), first_of_tie - 1], -1)
    return (ascending[called] + np.append(ascending, 0.0)[before]) / 2


def choose_threshold(is_positive: np.ndarray, scores: np.ndarray, target_sensitivity: float) -> float:
    """Returns the highest threshold whose sensitivity is at least `target_sensitivity`.

    It lies halfway between the lowest score that has to be called positive and the next lower score, so that rounding
    in another runtime does not change that image's decision.

    Args:
        is_positive: bool [n].
        scores: float [repeats, n] in [0, 1]. Repeats are pooled.
        target_sensitivity: In (0, 1].

    Raises:
        ValueError: If no image is positive, or `target_sensitivity` is outside (0, 1].

    Example:
        >>> scores = np.array([[0.9, 0.6, 0.4, 0.1]])
        >>> choose_threshold(np.array([True, True, False, False]), scores, target_sensitivity=1.0)
        0.5
    """
    lower, lowest_called = _find_neighbours(is_positive, scores, target_sensitivity)
    return (lowest_called + lower) / 2


def _find_neighbours(is_positive: np.ndarray, scores: np.ndarray, target: float) -> tuple[float, float]:
    """The score below the threshold, 0 if there is none, and the lowest score that has to be called positive."""
    if not is_positive.any():
        raise ValueError("No image is positive: a sensitivity needs at least one.")
    if not 0 < target <= 1:
        raise ValueError(f"target_sensitivity must be in (0, 1], got {target:g}.")
    positive_scores = np.sort(scores[:, is_positive].ravel())
    most_missed = int(np.floor(len(positive_scores) * (1 - target) + ROUNDING))
    lowest_called = positive_scores[most_missed]
    lower = scores[scores < lowest_called]
    return float(lower.max() if lower.size else 0.0), float(lowest_called)


def cross_fit_thresholds(
    is_positive: np.ndarray,
    log_p: np.ndarray,
    temperatures: np.ndarray,
    folds: np.ndarray,
    target_sensitivity: float,
) -> np.ndarray:
    """Returns for each prediction the threshold chosen on the other folds of its repeat, float64 [repeats, n].

    Args:
        is_positive: bool [n].
        log_p: float [repeats, n, classes], log-probabilities without a temperature.
        temperatures: float [repeats, n], the same for all predictions of a fold.
        folds: int [repeats, n], each prediction's fold.
        target_sensitivity: In (0, 1].
    """
    result = np.empty(folds.shape)
    for repeat, own in enumerate(folds):
        for fold in np.unique(own):
            others = own != fold
            temperature = temperatures[repeat, ~others][0]
            scores = probabilities(log_p[repeat : repeat + 1, others], temperature)[..., 0]
            neighbours = np.asarray(_find_neighbours(is_positive[others], scores, target_sensitivity))
            # Halfway without the temperature, so that with two classes a temperature changes no decision.
            middle = np.mean(expit(logit(neighbours) * temperature))
            result[repeat, ~others] = np.clip(expit(logit(middle) / temperature), *neighbours)
    return result


def predictive_values(sensitivity: float, specificity: float, prevalence: float) -> tuple[float | None, float | None]:
    """Returns PPV and NPV by Bayes' theorem; None where no image is called positive (or negative).

    Args:
        sensitivity: In [0, 1].
        specificity: In [0, 1].
        prevalence: Share of positives in (0, 1).

    Example:
        >>> ppv, npv = predictive_values(sensitivity=0.9, specificity=0.9, prevalence=0.1)
        >>> round(ppv, 2), round(npv, 2)
        (0.5, 0.99)
    """
    true_positive, false_positive = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    true_negative, false_negative = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    called, cleared = true_positive + false_positive, true_negative + false_negative
    return true_positive / called if called else None, true_negative / cleared if cleared else None
