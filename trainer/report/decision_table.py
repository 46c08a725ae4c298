"""The metrics of a set of images as text: the two rules of decision side by side, and a table by class."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.run_folder.estimate import Estimate
from trainer.run_folder.results import Argmax, Metrics

POINT, ARGMAX = "operating point", "argmax"
DECISION_METRICS = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "f1")
CLASS_METRICS = ("sensitivity", "specificity", "precision", "auroc")
WIDTH = 40


def tabulate_rules(metrics: Metrics, argmax_first: bool = False) -> list[str]:
    """Returns the metrics at the operating point and by argmax, and the areas, which need no decision."""
    rules: list[tuple[str, Metrics | Argmax]] = [(POINT, metrics), (ARGMAX, metrics.argmax)]
    if argmax_first:
        rules.reverse()
    lines = [f"{'':<20}" + "".join(f"{name:<{WIDTH}}" for name, _ in rules).rstrip()]
    for name in DECISION_METRICS:
        cells = [format_interval(getattr(rule, name)) for _, rule in rules]
        lines.append(f"{name:<20}" + "".join(f"{cell:<{WIDTH}}" for cell in cells).rstrip())
    lines.append(f"{'auroc':<20}{format_interval(metrics.auroc)}")
    if len(metrics.classes) > 2:
        lines.append(f"{'macro_auroc':<20}{format_interval(metrics.macro_auroc)}")
    return lines


def tabulate_classes(metrics: Metrics) -> list[str]:
    """Returns the metrics of each class against the rest by argmax; no line for two classes."""
    by_class = metrics.argmax.classes
    if len(by_class) < 3:
        return []
    width, cell = max(map(len, by_class)) + 2, 22
    header = "".join(f"{metric:<{cell}}" for metric in CLASS_METRICS)
    lines = ["Each class against the rest, by argmax", (" " * width + header).rstrip()]
    for name, one in by_class.items():
        cells = [_format_short(getattr(one, metric)) for metric in CLASS_METRICS]
        lines.append(f"{name:<{width}}" + "".join(f"{text:<{cell}}" for text in cells).rstrip())
    return lines


def draw_matrix(matrix: Sequence[Sequence[float]], class_names: Sequence[str]) -> list[str]:
    """Returns a confusion matrix as lines."""
    width = max(map(len, class_names)) + 2
    lines = ["Confusion matrix (rows: label, columns: decision)"]
    lines.append(" " * width + "".join(f"{name:>{width}}" for name in class_names))
    for name, row in zip(class_names, matrix, strict=True):
        lines.append(f"{name:<{width}}" + "".join(f"{count:>{width}g}" for count in row))
    return lines


def format_interval(estimate: Estimate) -> str:
    """Returns a metric with its interval and number of images, or why it is undefined."""
    if estimate.value is None:
        return f"undefined (n = {estimate.n}): {estimate.because}"
    value, low, high = estimate.value_and_limits
    return f"{value:.2f}  (95 % CI {low:.2f} to {high:.2f}, n = {estimate.n})"


def _format_short(estimate: Estimate) -> str:
    if estimate.value is None:
        return "undefined"
    value, low, high = estimate.value_and_limits
    return f"{value:.2f} ({low:.2f} to {high:.2f})"
