"""What the terminal shows of a run: the test split, the cross-validation, the shortcut verdict."""

from __future__ import annotations

import textwrap

from sklearn.metrics import classification_report

from trainer.report.decision_table import (
    ARGMAX,
    POINT,
    draw_matrix,
    format_interval,
    tabulate_classes,
    tabulate_rules,
)
from trainer.report.facts import (
    PUBLISHED,
    SHORTCUT,
    explain_decisions,
    explain_threshold,
    is_tutorial,
    name_cross_validation,
)
from trainer.run_folder.run import Run
from trainer.run_folder.shortcut_results import Shortcuts

WIDTH = 88
VERDICTS = {
    SHORTCUT: "SHORTCUT: these metrics may show where an image comes from, not who is ill",
    "not detected": "SHORTCUT NOT DETECTED",
    "inconclusive": "INCONCLUSIVE: neither a shortcut nor its absence is shown",
}


def describe_results(run: Run) -> str:
    """Returns the text of a finished run, what makes its metrics invalid first."""
    metrics = run.metrics
    parts = [_describe_test(run), _describe_cross_validation(run), describe_verdict(metrics.shortcuts)]
    if (tuning := metrics.fine_tuning) is not None:
        title = f"Before {tuning.block} was fine-tuned: the same test images and threshold"
        parts.insert(1, [title, *tabulate_rules(tuning.frozen_test)])
    if invalid := run.environment.invalid:
        parts.insert(0, list(invalid))
    notes = [note for note in run.environment.notes if note not in invalid]
    if (precision := run.environment.precision) and precision.name != "float32":
        notes.append(
            f"{precision.name} features, compared with float32 on {precision.images} test images: probabilities change "
            f"by {precision.largest_probability_change:.1g} at most, decisions flipped: {precision.flipped}."
        )
    text = "\n\n".join("\n".join(part) for part in parts)
    return "\n".join([text, *notes])


def _describe_test(run: Run) -> list[str]:
    """The test split by both rules. The tutorial's recipe leads with argmax, as the tutorial reported it."""
    metrics, names = run.metrics, run.environment.dataset.class_names
    argmax_first = run.config.recipe == "tutorial"
    rows = [row for row in run.predictions if row.split == "test"]
    decided = [row.decision_argmax if argmax_first else row.decision for row in rows]
    rule = ARGMAX if argmax_first else POINT
    truth = [row.label for row in rows]
    report = classification_report(truth, decided, labels=list(names), zero_division=0, digits=2)
    of = f" of {metrics.test.patients} patients" if metrics.test.patients else ""
    matrix = metrics.test.argmax.confusion_matrix if argmax_first else metrics.test.confusion_matrix
    lines = [f"Test split: {len(rows)} images{of}. Decided by {rule}:", report, *draw_matrix(matrix, names), ""]
    if argmax_first:
        lines += _repeat_tutorial(run)
    unit = "patients" if metrics.test.patients else "images"
    return [
        *lines,
        "Two rules of decision",
        *textwrap.wrap(explain_decisions(run), WIDTH),
        *textwrap.wrap(explain_threshold(metrics), WIDTH),
        "",
        *tabulate_rules(metrics.test, argmax_first=argmax_first),
        *tabulate_classes(metrics.test),
        f"These confidence intervals count {unit}.",
    ]


def _repeat_tutorial(run: Run) -> list[str]:
    """The last lines that the tutorial's script prints and, where the run is the tutorial's, what was published."""
    argmax = run.metrics.test.argmax
    shown = {"acc": argmax.accuracy, "sensitivity": argmax.sensitivity, "specificity": argmax.specificity}
    lines = [f"{name}: {'undefined' if one.value is None else format(one.value, '.4f')}" for name, one in shown.items()]
    return [*lines, *([PUBLISHED] if is_tutorial(run) else []), ""]


def _describe_cross_validation(run: Run) -> list[str]:
    metrics, result = run.metrics, run.metrics.cross_validation
    unit, of = ("patient", f" of {result.patients} patients") if result.patients else ("image", "")
    name = name_cross_validation(metrics).capitalize()
    return [
        f"{name} ({result.repeats} x {result.folds} folds by {unit}, all {result.n} images{of})",
        *tabulate_rules(result, argmax_first=run.config.recipe == "tutorial"),
        *tabulate_classes(result),
    ]


def describe_verdict(shortcuts: Shortcuts) -> list[str]:
    """Returns the shortcut verdict as lines between two rules: the positive class's, then each other class's."""
    strongest = shortcuts.controls[shortcuts.strongest]
    rule = "=" * WIDTH
    others = [
        f"  {name} against the rest: {one.verdict} (AUROC {one.model.auroc.value_and_limits[0]:.2f}, {one.strongest} "
        f"{one.controls[one.strongest].auroc.value_and_limits[0]:.2f})"
        for name, one in shortcuts.classes.items()
    ]
    return [
        rule,
        VERDICTS[shortcuts.verdict],
        f"  {shortcuts.of or 'the model':<18} AUROC {format_interval(shortcuts.model.auroc)}",
        f"  {shortcuts.strongest:<18} AUROC {format_interval(strongest.auroc)}",
        f"  {strongest.what}",
        f"  {shortcuts.because}",
        *others,
        rule,
    ]
