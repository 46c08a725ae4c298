"""Choose the decision threshold that reaches a target sensitivity; predictive values of a decision.

The threshold is chosen on out-of-fold predictions of the training split, then frozen. The test split takes no part.
"""

from __future__ import annotations

import numpy as np

from trainer.metrics.one_vs_rest import compute_metrics
from trainer.run_folder.results import DecisionRates, OperatingPoint

PREVALENCES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def choose_operating_point(
    is_positive: np.ndarray, patients: np.ndarray, scores: np.ndarray, target_sensitivity: float
) -> OperatingPoint:
    """Returns the threshold of `choose_threshold` with its sensitivity and specificity on the same predictions.

    Args:
        is_positive: bool [n].
        patients: ids [n].
        scores: float [repeats, n] in [0, 1], out-of-fold probabilities of the positive class.
        target_sensitivity: In (0, 1].
    """
    threshold = choose_threshold(is_positive, scores, target_sensitivity)
    metrics = compute_metrics(is_positive, patients, scores, scores >= threshold)
    return OperatingPoint(
        threshold=threshold,
        target_sensitivity=target_sensitivity,
        how="The highest threshold whose sensitivity on out-of-fold predictions of the training split is at least "
        f"{target_sensitivity:g}; then frozen.",
        out_of_fold=DecisionRates(metrics.sensitivity, metrics.specificity),
    )


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
    if not is_positive.any():
        raise ValueError("No image is positive: a sensitivity needs at least one.")
    if not 0 < target_sensitivity <= 1:
        raise ValueError(f"target_sensitivity must be in (0, 1], got {target_sensitivity:g}.")
    positive_scores = np.sort(scores[:, is_positive].ravel())
    # 1e-9: 10 * (1 - 0.9) is 0.9999999999999998 in floating point and has to allow one missed image, not none.
    most_missed = int(np.floor(len(positive_scores) * (1 - target_sensitivity) + 1e-9))
    lowest_called = positive_scores[most_missed]
    lower = scores[scores < lowest_called]
    return float((lowest_called + (lower.max() if lower.size else 0.0)) / 2)


def cross_fit_thresholds(
    is_positive: np.ndarray, scores: np.ndarray, folds: np.ndarray, target_sensitivity: float
) -> np.ndarray:
    """Returns for each prediction the threshold chosen on the other folds of its repeat, float64 [repeats, n].

    Args:
        is_positive: bool [n].
        scores: float [repeats, n] in [0, 1].
        folds: int [repeats, n], each prediction's fold.
        target_sensitivity: In (0, 1].
    """
    result = np.empty(scores.shape)
    for repeat, own in enumerate(folds):
        for fold in np.unique(own):
            others = own != fold
            chosen = choose_threshold(is_positive[others], scores[repeat : repeat + 1, others], target_sensitivity)
            result[repeat, ~others] = chosen
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
