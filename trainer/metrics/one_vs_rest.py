"""Metrics of one class against the rest, with 95 % confidence intervals.

Values count images; intervals count patients. An interval spans the bootstrap over patients (`bootstrap`) and the
exact or score interval for that number of *patients*: the bootstrap alone has no width at a perfect value, and is too
narrow for a dozen patients. Where every patient has one image, the interval of a proportion is the exact one.

In all functions `is_positive` is bool [n], `scores` are probabilities of the positive class in [0, 1], and `patients`
are ids [n] of any sortable kind.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from trainer.metrics import bootstrap
from trainer.metrics.intervals import exact_interval, newcombe_interval
from trainer.run_folder.results import Estimate, Evaluation, Metrics


def evaluate(
    is_positive: np.ndarray, scores: np.ndarray, threshold: float, patients: np.ndarray | None = None
) -> Evaluation:
    """Returns all metrics of one score per image and the decision `score >= threshold`.

    Args:
        is_positive: bool [n].
        scores: float [n] in [0, 1].
        threshold: In [0, 1].
        patients: ids [n]; None, unknown, counts each image as a patient of its own.

    Raises:
        ValueError: If a score is NaN or infinite.

    Example:
        >>> result = evaluate(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.6, 0.1]), threshold=0.5)
        >>> result.sensitivity.value, result.auroc.value, result.confusion_matrix
        (0.5, 0.75, ((1, 1), (1, 1)))
    """
    scores = np.asarray(scores, dtype=np.float64)
    called = scores >= threshold
    owners = np.arange(len(is_positive)) if patients is None else patients
    metrics = compute_metrics(is_positive, owners, scores[None], called[None])
    if patients is None:
        metrics = dataclasses.replace(metrics, patients=None)
    return Evaluation(**vars(metrics), confusion_matrix=confusion_matrix(is_positive, called))


def compute_metrics(is_positive: np.ndarray, patients: np.ndarray, scores: np.ndarray, called: np.ndarray) -> Metrics:
    """Returns the metrics of repeated predictions; each value is the mean over the repeats.

    Args:
        is_positive: bool [n].
        patients: ids [n].
        scores: float [repeats, n] in [0, 1].
        called: bool [repeats, n], True where the image was called positive.

    Raises:
        ValueError: If a score is NaN or infinite.
    """
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or infinity: the model did not give a probability for every image.")
    correct = np.mean(called == is_positive, axis=0)
    everyone = np.full(len(is_positive), True)
    return Metrics(
        n=len(is_positive),
        patients=count_patients(everyone, patients),
        accuracy=_rate(correct, everyone, is_positive, patients, "image"),
        sensitivity=_rate(correct, is_positive, is_positive, patients, "positive image"),
        specificity=_rate(correct, ~is_positive, is_positive, patients, "negative image"),
        auroc=compute_auroc(is_positive, scores, patients),
        pr_auc=_pr_auc(is_positive, patients, scores),
        brier=_mean(np.mean((scores - is_positive) ** 2, axis=0), is_positive, patients),
    )


def compute_auroc(is_positive: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> Estimate:
    """Returns the area under the ROC curve, the mean over repeats; undefined with one class only.

    Args:
        is_positive: bool [n].
        scores: float [repeats, n]; higher is more positive. Need not be probabilities.
        patients: ids [n].
    """
    sizes = count_patients(is_positive, patients), count_patients(~is_positive, patients)
    if not all(sizes):
        return Estimate(None, None, len(is_positive), "there are images of one class only")
    value = float(np.mean([roc_auc_score(is_positive, repeat) for repeat in scores]))
    draws = bootstrap.bootstrap_area(bootstrap.roc_area, is_positive, patients, scores)
    return _estimate(value, len(is_positive), newcombe_interval(value, *sizes), draws)


def confusion_matrix(is_positive: np.ndarray, called: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns ((true positives, false negatives), (false positives, true negatives)) of bool [n] decisions."""
    tp, fn = int(np.sum(is_positive & called)), int(np.sum(is_positive & ~called))
    fp, tn = int(np.sum(~is_positive & called)), int(np.sum(~is_positive & ~called))
    return (tp, fn), (fp, tn)


def count_patients(rows: np.ndarray, patients: np.ndarray) -> int:
    """Returns the number of patients among the images of `rows`, bool [n]."""
    return len(np.unique(patients[rows]))


def _pr_auc(is_positive: np.ndarray, patients: np.ndarray, scores: np.ndarray) -> Estimate:
    """Average precision; its closed-form limits are those of a proportion of the positives (Boyd et al. 2013)."""
    size = count_patients(is_positive, patients)
    if not size:
        return Estimate(None, None, len(is_positive), "there is no positive image")
    value = float(np.mean([average_precision_score(is_positive, repeat) for repeat in scores]))
    draws = bootstrap.bootstrap_area(bootstrap.pr_area, is_positive, patients, scores)
    return _estimate(value, len(is_positive), exact_interval(value * size, size), draws)


def _rate(correct: np.ndarray, among: np.ndarray, is_positive: np.ndarray, patients: np.ndarray, what: str) -> Estimate:
    """A proportion of images. correct: float [n], share of repeats. among: bool [n], the images that count."""
    n, size = int(among.sum()), count_patients(among, patients)
    if not n:
        return Estimate(None, None, 0, f"there is no {what}")
    value = float(correct[among].mean())
    limits = exact_interval(value * size, size)
    if size == n:
        return _estimate(value, n, limits)
    draws = bootstrap.bootstrap_mean(np.where(among, correct, np.nan), is_positive, patients)
    return _estimate(value, n, limits, draws)


def _mean(values: np.ndarray, is_positive: np.ndarray, patients: np.ndarray) -> Estimate:
    """A mean of one value per image, with Student's t over the patients' means beside the bootstrap."""
    _, patient = np.unique(patients, return_inverse=True)
    means = np.bincount(patient, values) / np.bincount(patient)
    value, size = float(values.mean()), len(means)
    reach = float(stats.t.ppf(0.975, size - 1) * means.std(ddof=1) / math.sqrt(size)) if size > 1 else 1.0
    limits = max(0.0, value - reach), min(1.0, value + reach)
    return _estimate(value, len(values), limits, bootstrap.bootstrap_mean(values, is_positive, patients))


def _estimate(value: float, n: int, limits: tuple[float, float], draws: np.ndarray | None = None) -> Estimate:
    low, high = limits
    if draws is not None:
        drawn_low, drawn_high = np.quantile(draws, (0.025, 0.975))
        low, high = min(low, drawn_low), max(high, drawn_high)
    return Estimate(value, (float(min(low, value)), float(max(high, value))), n)
