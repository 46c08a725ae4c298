"""Sensitivity, specificity, accuracy, AUROC and their intervals. COVID-19 is the positive class. Never TensorFlow.

Labels are class indices as in the dataset: 0 is covid, 1 the other class. Scores are probabilities of covid in [0, 1].
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats
from scipy.optimize import brentq

POSITIVE_CLASS = "covid"
POSITIVE = 0


def proportion(successes: int, n: int) -> dict:
    """A proportion with its exact (Clopper and Pearson 1934) 95 % interval.

    Returns {"value", "ci95": [low, high], "n"}; value and ci95 are None when n is 0 (undefined, not 0).
    """
    if n == 0:
        return {"value": None, "ci95": None, "n": 0}
    interval = stats.binomtest(int(successes), int(n)).proportion_ci(0.95, method="exact")
    return {"value": successes / n, "ci95": [float(interval.low), float(interval.high)], "n": int(n)}


def auroc(labels: np.ndarray, p_covid: np.ndarray) -> dict:
    """Area under the ROC curve with Newcombe's (2006, method 5) 95 % interval, which is not empty at AUROC 1.

    Newcombe, R. G. Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part 2.
    Statistics in Medicine 25 (2006) 559-573. The limits are the roots of
    (A - t)^2 = z^2 t (1 - t) [1 + N ((1 - t) / (2 - t) + t / (1 + t))] / (m n) with N = (m + n) / 2 - 1.
    Returns {"value", "ci95", "n"}; None for both when only one class is there.
    """
    labels = np.asarray(labels)
    positives, n = int(np.sum(labels == POSITIVE)), len(labels)
    if positives in (0, n):
        return {"value": None, "ci95": None, "n": n}
    from sklearn.metrics import roc_auc_score

    value = float(roc_auc_score(labels == POSITIVE, p_covid))
    return {"value": value, "ci95": list(newcombe_interval(value, positives, n - positives)), "n": n}


def newcombe_interval(area: float, positives: int, negatives: int) -> tuple[float, float]:
    """Newcombe's 95 % limits for an AUROC of `area` from so many positives and negatives (see `auroc`)."""
    z2 = stats.norm.ppf(0.975) ** 2
    extra = (positives + negatives) / 2 - 1

    def excess(t: float) -> float:
        variance = t * (1 - t) * (1 + extra * ((1 - t) / (2 - t) + t / (1 + t))) / (positives * negatives)
        return (area - t) ** 2 - z2 * variance

    # t = 0 and t = 1 solve the equation too when the area is 0 or 1; the limit wanted is the other root.
    inside = min(max(area, 1e-9), 1 - 1e-9)
    low = 0.0 if area <= 0 else brentq(excess, 0.0, inside)
    high = 1.0 if area >= 1 else brentq(excess, inside, 1.0)
    return float(low), float(high)


def confusion(labels: np.ndarray, p_covid: np.ndarray, threshold: float) -> list[list[int]]:
    """[[tp, fn], [fp, tn]] for the decision covid when p_covid >= threshold."""
    positive = np.asarray(labels) == POSITIVE
    called = np.asarray(p_covid) >= threshold
    return [
        [int(np.sum(positive & called)), int(np.sum(positive & ~called))],
        [int(np.sum(~positive & called)), int(np.sum(~positive & ~called))],
    ]


def summary(labels: np.ndarray, p_covid: np.ndarray, threshold: float) -> dict:
    """Confusion matrix, accuracy, sensitivity, specificity and AUROC, each with n and 95 % interval.

    labels: int [n]. p_covid: float [n] in [0, 1]. Raises ValueError on NaN or infinite scores.
    """
    if not all(math.isfinite(p) for p in p_covid):
        raise ValueError("p_covid holds NaN or infinity: the model did not give a probability for every image.")
    (tp, fn), (fp, tn) = confusion(labels, p_covid, threshold)
    return {
        "n": len(labels),
        "confusion_matrix": [[tp, fn], [fp, tn]],
        "accuracy": proportion(tp + tn, len(labels)),
        "sensitivity": proportion(tp, tp + fn),
        "specificity": proportion(tn, fp + tn),
        "auroc": auroc(labels, p_covid),
    }
