"""The figures a classifier is judged by, and their 95 % intervals. COVID-19 is the positive class. Never TensorFlow.

Labels are class indices as in the dataset: 0 is covid, 1 the other class. Scores are probabilities of covid in [0, 1].

Values count images; intervals respect patients. An interval reaches as far as the bootstrap over patients does
(`bootstrap`), and at least as far as the exact or score interval for that many *patients*: the bootstrap of a perfect
figure would have no width at all, and with a dozen patients it is too narrow. Where every patient has one image a
proportion's interval is the exact one alone.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from sklearn.metrics import average_precision_score, roc_auc_score

from trainer.metrics import bootstrap

POSITIVE_CLASS = "covid"
POSITIVE = 0
# Why a figure is undefined.
ONE_CLASS = "there are images of one class only"
NO_IMAGE = "there is no image of {}"


def auroc(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray | None = None) -> dict:
    """Area under the ROC curve, the mean over repeats: {"value", "ci95", "n"}; undefined with one class only.

    labels: int [n]. scores: float [n] or [repeats, n], higher for covid. patients: ids [n]; None takes each image for
    its own patient.
    """
    labels, scores = np.asarray(labels), np.atleast_2d(scores)
    patients = np.arange(len(labels)) if patients is None else np.asarray(patients)
    positive = labels == POSITIVE
    sizes = patients_of(positive, patients), patients_of(~positive, patients)
    if not all(sizes):
        return _undefined(len(labels), ONE_CLASS)
    value = float(np.mean([roc_auc_score(positive, repeat) for repeat in scores]))
    draws = bootstrap.area_draws(bootstrap.roc_area, positive, patients, scores)
    return _figure(value, len(labels), newcombe_interval(value, *sizes), draws)


def newcombe_interval(area: float, positives: int, negatives: int, level: float = 0.95) -> tuple[float, float]:
    """Limits for an AUROC of `area` from so many positives and negatives; they have some width at AUROC 1, too.

    Newcombe, R. G. Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part 2.
    Statistics in Medicine 25 (2006) 559-573, method 5. The limits are the roots of
    (A - t)^2 = z^2 t (1 - t) [1 + N ((1 - t) / (2 - t) + t / (1 + t))] / (m n) with N = (m + n) / 2 - 1.
    """
    z2 = stats.norm.ppf((1 + level) / 2) ** 2
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


def exact_interval(successes: float, n: float) -> tuple[float, float]:
    """Clopper and Pearson's (1934) 95 % limits of a proportion, as beta quantiles: these need no whole numbers."""
    low = 0.0 if successes <= 0 else float(stats.beta.ppf(0.025, successes, n - successes + 1))
    high = 1.0 if successes >= n else float(stats.beta.ppf(0.975, successes + 1, n - successes))
    return low, high


def summary(labels: np.ndarray, p_covid: np.ndarray, threshold: float, patients: np.ndarray | None = None) -> dict:
    """Number of images and patients, confusion matrix, and the figures of `repeated`, for one prediction an image.

    labels: int [n]. p_covid: float [n] in [0, 1]. patients: ids [n]; None, unknown, takes each image for its own.
    Raises ValueError on NaN or infinite scores.
    """
    labels, p_covid = np.asarray(labels), np.asarray(p_covid, dtype=np.float64)
    owners = np.arange(len(labels)) if patients is None else np.asarray(patients)
    figures = repeated(labels, owners, p_covid[None], p_covid[None] >= threshold)
    return {
        "n": len(labels),
        "patients": None if patients is None else len(np.unique(owners)),
        "confusion_matrix": confusion(labels, p_covid, threshold),
        **figures,
    }


def repeated(labels: np.ndarray, patients: np.ndarray, p_covid: np.ndarray, called: np.ndarray) -> dict:
    """accuracy, sensitivity, specificity, auroc, pr_auc (average precision) and brier, each {"value", "ci95", "n"}.

    labels: int [n]. patients: ids [n]. p_covid: float [repeats, n] in [0, 1]. called: bool [repeats, n], decided
    covid. A value is the mean over repeats; n counts images. Undefined figures have None for value and ci95, and say
    why in "because".
    Raises ValueError on NaN or infinite scores.
    """
    if not np.isfinite(p_covid).all():
        raise ValueError("p_covid holds NaN or infinity: the model did not give a probability for every image.")
    positive = labels == POSITIVE
    right = np.mean(called == positive, axis=0)
    return {
        "accuracy": _rate(right, np.full(len(labels), True), positive, patients, "any class"),
        "sensitivity": _rate(right, positive, positive, patients, "covid"),
        "specificity": _rate(right, ~positive, positive, patients, "the other class"),
        "auroc": auroc(labels, p_covid, patients),
        "pr_auc": _pr_auc(positive, patients, p_covid),
        "brier": _mean(np.mean((p_covid - positive) ** 2, axis=0), positive, patients),
    }


def _pr_auc(positive: np.ndarray, patients: np.ndarray, scores: np.ndarray) -> dict:
    """Average precision; by numbers its limits are those of a proportion of the positives (Boyd et al. 2013)."""
    size = patients_of(positive, patients)
    if not size:
        return _undefined(len(positive), NO_IMAGE.format("covid"))
    value = float(np.mean([average_precision_score(positive, repeat) for repeat in scores]))
    draws = bootstrap.area_draws(bootstrap.pr_area, positive, patients, scores)
    return _figure(value, len(positive), exact_interval(value * size, size), draws)


def _rate(right: np.ndarray, among: np.ndarray, positive: np.ndarray, patients: np.ndarray, who: str) -> dict:
    """A proportion of images. right: float [n], how often each was decided rightly. among: bool [n], who counts."""
    n, size = int(among.sum()), patients_of(among, patients)
    if not n:
        return _undefined(0, NO_IMAGE.format(who))
    value = float(right[among].mean())
    limits = exact_interval(value * size, size)
    if size == n:
        return _figure(value, n, limits)
    return _figure(value, n, limits, bootstrap.mean_draws(np.where(among, right, np.nan), positive, patients))


def _mean(values: np.ndarray, positive: np.ndarray, patients: np.ndarray) -> dict:
    """A mean of one value an image, with Student's t over the patients' means beside the bootstrap."""
    _, patient = np.unique(patients, return_inverse=True)
    means = np.bincount(patient, values) / np.bincount(patient)
    value, size = float(values.mean()), len(means)
    reach = float(stats.t.ppf(0.975, size - 1) * means.std(ddof=1) / math.sqrt(size)) if size > 1 else 1.0
    limits = max(0.0, value - reach), min(1.0, value + reach)
    return _figure(value, len(values), limits, bootstrap.mean_draws(values, positive, patients))


def _figure(value: float, n: int, limits: tuple[float, float], draws: np.ndarray | None = None) -> dict:
    low, high = limits
    if draws is not None:
        drawn_low, drawn_high = np.quantile(draws, (0.025, 0.975))
        low, high = min(low, drawn_low), max(high, drawn_high)
    return {"value": value, "ci95": [float(min(low, value)), float(max(high, value))], "n": n}


def _undefined(n: int, because: str) -> dict:
    return {"value": None, "ci95": None, "n": n, "because": because}


def patients_of(rows: np.ndarray, patients: np.ndarray) -> int:
    """How many patients the images of `rows`, bool [n], come from."""
    return len(np.unique(patients[rows]))
