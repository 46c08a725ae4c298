"""What the terminal shows of a run: the test split, the cross-validation, the shortcut verdict."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import classification_report

from trainer.report.facts import SHORTCUT, format_estimate, name_cross_validation
from trainer.run_folder.results import Estimate, Metrics, RunMetrics, Shortcuts
from trainer.run_folder.run import Run

HEADLINE = ("accuracy", "sensitivity", "specificity", "auroc")
RULE_WIDTH = 88
VERDICTS = {
    SHORTCUT: "SHORTCUT: these metrics may show where an image comes from, not who is ill",
    "not detected": "SHORTCUT NOT DETECTED",
    "inconclusive": "INCONCLUSIVE: neither a shortcut nor its absence is shown",
}


def describe_results(run: Run) -> str:
    """Returns the text of a finished run."""
    metrics = run.metrics
    parts = [_describe_test(run), _describe_cross_validation(metrics), describe_verdict(metrics.shortcuts)]
    if (tuning := metrics.fine_tuning) is not None:
        title = f"Before {tuning.block} was fine-tuned: the same test images and threshold"
        parts.insert(1, [title, *list_metrics(tuning.frozen_test)])
    notes = list(run.environment.notes)
    if (precision := run.environment.precision) and precision.name != "float32":
        change = precision.largest_probability_change
        notes.append(f"{precision.name} features change a test image's probability by {change:.1g} at most.")
    text = "\n\n".join("\n".join(part) for part in parts)
    return "\n".join([text, *notes])


def _describe_test(run: Run) -> list[str]:
    rows = [row for row in run.predictions if row.split == "test"]
    metrics, names = run.metrics, run.environment.dataset.class_names
    truth = np.asarray([names.index(row.label) for row in rows])
    decided = np.where([row.p_covid >= metrics.threshold for row in rows], 0, 1)
    report = classification_report(truth, decided, labels=[0, 1], target_names=names, zero_division=0, digits=2)
    of = f" of {metrics.test.patients} patients" if metrics.test.patients else ""
    width = max(map(len, names)) + 2
    lines = [
        f"Test split: {len(rows)} images{of}, called covid when the probability is at least {metrics.threshold:.3f}",
        report,
        "Confusion matrix (rows: truth, columns: decision)",
        " " * width + "".join(f"{name:>{width}}" for name in names),
    ]
    for name, row in zip(names, metrics.test.confusion_matrix, strict=True):
        lines.append(f"{name:<{width}}" + "".join(f"{count:>{width}}" for count in row))
    return [*lines, "", *list_metrics(metrics.test), "These confidence intervals count images, not patients."]


def _describe_cross_validation(metrics: RunMetrics) -> list[str]:
    result = metrics.cross_validation
    unit, of = ("patient", f" of {result.patients} patients") if result.patients else ("image", "")
    name = name_cross_validation(metrics).capitalize()
    return [
        f"{name} ({result.repeats} x {result.folds} folds by {unit}, all {result.n} images{of})",
        *list_metrics(result),
    ]


def describe_verdict(shortcuts: Shortcuts) -> list[str]:
    """Returns the shortcut verdict as lines between two rules."""
    strongest = shortcuts.controls[shortcuts.strongest]
    rule = "=" * RULE_WIDTH
    return [
        rule,
        VERDICTS[shortcuts.verdict],
        f"  {shortcuts.of or 'the model':<18} AUROC {_format(shortcuts.model.auroc)}",
        f"  {shortcuts.strongest:<18} AUROC {_format(strongest.auroc)}",
        f"  {strongest.what}",
        f"  {shortcuts.because}",
        rule,
    ]


def list_metrics(metrics: Metrics) -> list[str]:
    """Returns one line for each headline metric."""
    return [f"{name:<12} {_format(getattr(metrics, name))}" for name in HEADLINE]


def _format(estimate: Estimate) -> str:
    if estimate.value is None:
        return format_estimate(estimate)
    value, low, high = estimate.value_and_limits
    return f"{value:.2f}  (95 % CI {low:.2f} to {high:.2f}, n = {estimate.n})"
