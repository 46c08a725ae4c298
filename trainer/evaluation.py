"""From a run's predictions to metrics.json and to what the terminal shows."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import classification_report

from trainer import metrics
from trainer.data import Examples

THRESHOLD = 0.5
HEADLINE = ("accuracy", "sensitivity", "specificity", "auroc")


def prediction_rows(examples: Examples, p_covid: np.ndarray) -> list[dict]:
    """predictions.csv's rows: one an image, in the dataset's order. p_covid: float [n] in [0, 1]."""
    return [
        {
            "image_id": str(examples.image_id[row]),
            "patient_id": str(examples.patient_id[row]),
            "split": str(examples.split[row]),
            "label": examples.class_names[examples.labels[row]],
            "p_covid": float(p_covid[row]),
        }
        for row in range(len(examples))
    ]


def evaluate(examples: Examples, p_covid: np.ndarray) -> dict:
    """metrics.json's content for probabilities float [n] of all images; figures are of the test split."""
    test = examples.rows("test")
    return {
        "positive_class": metrics.POSITIVE_CLASS,
        "threshold": THRESHOLD,
        "test": metrics.summary(examples.labels[test], p_covid[test], THRESHOLD),
    }


def describe(examples: Examples, p_covid: np.ndarray, result: dict) -> str:
    """The terminal's text: classification report, confusion matrix, and each figure with its n and 95 % interval."""
    test = examples.rows("test")
    decided = np.where(p_covid[test] >= result["threshold"], 0, 1)
    names = examples.class_names
    report = classification_report(
        examples.labels[test], decided, labels=[0, 1], target_names=names, zero_division=0, digits=2
    )
    width = max(map(len, names)) + 2
    lines = ["Test split", report, "Confusion matrix (rows: truth, columns: decision)"]
    lines.append(" " * width + "".join(f"{name:>{width}}" for name in names))
    for name, row in zip(names, result["test"]["confusion_matrix"], strict=True):
        lines.append(f"{name:<{width}}" + "".join(f"{count:>{width}}" for count in row))
    lines.append("")
    lines += [f"{name:<12} {figure(result['test'][name])}" for name in HEADLINE]
    return "\n".join(lines)


def figure(estimate: dict) -> str:
    """A figure for people: value, 95 % interval and n, or that it is undefined."""
    if estimate["value"] is None:
        return f"undefined (n = {estimate['n']})"
    low, high = estimate["ci95"]
    return f"{estimate['value']:.2f}  (95 % CI {low:.2f} to {high:.2f}, n = {estimate['n']})"
