"""Metrics of predictions of any number of classes, by two rules of decision, with 95 % confidence intervals.

In all functions `labels` are class indices, int [n], class 0 is the positive class, and `patients` are ids [n] of any
sortable kind. Intervals are those of `one_vs_rest`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import metrics as sklearn_metrics

from trainer.metrics.bootstrap import number_patients
from trainer.metrics.one_vs_rest import (
    Ratio,
    compute_auroc,
    compute_brier,
    compute_pr_auc,
    count_patients,
    estimate_ratios,
    list_ratios,
)
from trainer.run_folder.estimate import Estimate
from trainer.run_folder.predictions import decide
from trainer.run_folder.results import Argmax, ClassMetrics, Evaluation, Metrics


def evaluate(
    labels: np.ndarray,
    probabilities: np.ndarray,
    threshold: float,
    class_names: Sequence[str],
    patients: np.ndarray | None = None,
) -> Evaluation:
    """Returns all metrics of one model's predictions.

    Args:
        labels: int [n].
        probabilities: float [n, classes] in [0, 1].
        threshold: Of the operating point, in [0, 1].
        class_names: In class order.
        patients: ids [n]; None, unknown, counts each image as a patient of its own.

    Raises:
        ValueError: If a probability is NaN or infinite.

    Example:
        >>> p = np.array([0.9, 0.4, 0.6, 0.1])
        >>> result = evaluate(np.array([0, 0, 1, 1]), np.stack([p, 1 - p], 1), 0.5, ("covid", "normal"))
        >>> result.sensitivity.value, result.auroc.value, result.confusion_matrix
        (0.5, 0.75, ((1, 1), (1, 1)))
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    decided = decide(probabilities, threshold)
    owners = np.arange(len(labels)) if patients is None else patients
    metrics = compute_metrics(labels, owners, probabilities[None], decided[None], class_names)
    if patients is None:
        metrics = dataclasses.replace(metrics, patients=None)
    return Evaluation(**vars(metrics), confusion_matrix=count_decisions(labels, decided, len(class_names)))


def compute_metrics(
    labels: np.ndarray,
    patients: np.ndarray,
    probabilities: np.ndarray,
    decided: np.ndarray,
    class_names: Sequence[str],
) -> Metrics:
    """Returns the metrics of repeated predictions; each value is the mean over the repeats.

    Args:
        labels: int [n].
        patients: ids [n].
        probabilities: float [repeats, n, classes] in [0, 1].
        decided: int [repeats, n], the class at the operating point.
        class_names: In class order.

    Raises:
        ValueError: If a probability is NaN or infinite.
    """
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities hold NaN or infinity: the model did not give one for every image.")
    truth, count = one_hot(labels, len(class_names)), len(class_names)
    # Those of the positive class first: `verdict` has no others, and is to draw the same patients.
    scores = [*probabilities[..., 0], labels, *np.moveaxis(probabilities[..., 1:], 1, -1).reshape(-1, len(labels))]
    patients = number_patients(patients, np.stack(scores, axis=1))
    aurocs = compute_aurocs(truth, probabilities, patients)
    most_probable = probabilities.argmax(-1)
    matrices = [count_decisions(labels, repeat, count) for repeat in most_probable]
    return Metrics(
        n=len(labels),
        patients=count_patients(np.full(len(labels), True), patients),
        auroc=aurocs[0],
        macro_auroc=aurocs[0] if count == 2 else average_estimates(aurocs),
        pr_auc=compute_pr_auc(truth[:, 0], probabilities[..., 0], patients),
        brier=compute_brier(truth[:, 0], probabilities[..., 0], patients),
        **_measure_decisions(labels, decided, patients, class_names, aurocs),
        argmax=Argmax(
            confusion_matrix=matrices[0] if len(matrices) == 1 else _as_rows(np.mean(matrices, axis=0)),
            **_measure_decisions(labels, most_probable, patients, class_names, aurocs),
        ),
    )


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns whether each image is of each class, bool [n, classes]; column 0 is the positive class."""
    return np.eye(classes, dtype=bool)[labels]


def count_decisions(labels: np.ndarray, decided: np.ndarray, classes: int) -> tuple[tuple[int, ...], ...]:
    """Returns the confusion matrix: a row for each class, a column for each decision. Both arguments int [n]."""
    return _as_rows(sklearn_metrics.confusion_matrix(labels, decided, labels=range(classes)))


def compute_aurocs(truth: np.ndarray, probabilities: np.ndarray, patients: np.ndarray) -> list[Estimate]:
    """Returns the AUROC of each class against the rest.

    Args:
        truth: bool [n, classes].
        probabilities: float [repeats, n, classes].
        patients: ids [n].
    """
    if truth.shape[1] == 2:  # the same area, seen from the other side
        return [compute_auroc(truth[:, 0], probabilities[..., 0], patients)] * 2
    return [compute_auroc(truth[:, k], probabilities[..., k], patients) for k in range(truth.shape[1])]


def average_estimates(estimates: Sequence[Estimate], independent: bool = False) -> Estimate:
    """Returns the mean of the estimates that are defined.

    Args:
        estimates: Of the classes.
        independent: Whether they rest on different images: then distances from the limits add up in squares (Zou and
            Donner 2008, Construction of confidence limits about effect measures). Else the limits are averaged, which
            is wide enough whatever the classes have in common.
    """
    defined = np.asarray([one.value_and_limits for one in estimates if one.value is not None])
    n = sum(one.n for one in estimates) if independent else max(one.n for one in estimates)
    if not len(defined):
        return Estimate(None, None, n, "it is undefined for every class")
    value, low, high = defined.mean(0)
    if independent:
        below, above = (np.sqrt(np.sum((defined[:, i] - defined[:, 0]) ** 2)) / len(defined) for i in (1, 2))
        low, high = max(0.0, value - below), min(1.0, value + above)
    return Estimate(float(value), (float(low), float(high)), n)


def _measure_decisions(
    labels: np.ndarray, decided: np.ndarray, patients: np.ndarray, class_names: Sequence[str], aurocs: list[Estimate]
) -> dict[str, Any]:
    """The fields that `Metrics` and `Argmax` share, of decisions int [repeats, n]."""
    correct = decided == labels
    ratios = [Ratio(correct, np.full(correct.shape, True), "there is no image")]
    for index in range(len(class_names)):
        ratios += list_ratios(labels == index, decided == index)
    accuracy, *rates = estimate_ratios(ratios, labels, patients)
    by_class = {}
    for index, name in enumerate(class_names):
        sensitivity, specificity, precision, f1 = rates[4 * index : 4 * index + 4]
        by_class[name] = ClassMetrics(sensitivity, specificity, precision, f1, aurocs[index])
    positive = by_class[class_names[0]]
    return {
        "accuracy": accuracy,
        "balanced_accuracy": average_estimates([one.sensitivity for one in by_class.values()], independent=True),
        "sensitivity": positive.sensitivity,
        "specificity": positive.specificity,
        "precision": positive.precision,
        "f1": positive.f1,
        "classes": by_class,
    }


def _as_rows(matrix: np.ndarray) -> tuple[tuple, ...]:
    return tuple(tuple(row) for row in matrix.tolist())
