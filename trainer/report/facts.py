"""The content of report.json, which also fills the templates of the page and the model card."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from covid_tfds.common.errors import INTENDED_USE
from trainer.config import Config
from trainer.metrics.operating_point import PREVALENCES, predictive_values
from trainer.run_folder.details import RunDetails
from trainer.run_folder.environment import IMAGENET
from trainer.run_folder.estimate import Estimate
from trainer.run_folder.results import Metrics, RunMetrics
from trainer.run_folder.run import Run
from trainer.run_folder.shortcut_results import Shortcuts

SCHEMA = 3
# Metrics of a decision, at the operating point and by argmax; and those that no decision takes part in.
DECISION_METRICS = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "f1": "F1 score",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
}
SCORE_METRICS = {"auroc": "AUROC", "macro_auroc": "Macro AUROC", "pr_auc": "PR-AUC", "brier": "Brier score"}
METRIC_NAMES = DECISION_METRICS | SCORE_METRICS
CLASS_METRICS = ("sensitivity", "specificity", "precision", "f1", "auroc")
SUBGROUPS = {"sex": "Sex", "age": "Age in years", "view": "View", "source": "Source"}
LONGEST_NAME = 24  # letters; a file name in a title must fit a phone
PUBLISHED = (
    "The tutorial published acc 0.90, sensitivity 1.00 and specificity 0.80, by argmax on these very test images."
)
SHORTCUT = "shortcut"
HEADLINES = {
    SHORTCUT: "Shortcut: the classes can be separated without the lungs",
    "not detected": "No shortcut detected",
    "inconclusive": "Inconclusive: neither a shortcut nor its absence is shown",
}
MEANINGS = {
    SHORTCUT: "The metrics of this report may show where an image comes from, not who is ill.",
    "not detected": "Only the controls below were tried: other shortcuts may exist.",
    "inconclusive": "Do not read this as “no shortcut”.",
}
PATHS = ("dataset", "manual_dir", "data_dir", "weights", "output")


@dataclass(frozen=True)
class PredictiveValues:
    """PPV and NPV of the decision where `prevalence` of the patients are positive; None where undefined."""

    prevalence: float
    ppv: float | None
    npv: float | None


@dataclass(frozen=True)
class VerdictText:
    """The shortcut verdict in words: one line, two or three sentences; whether the model is at chance."""

    headline: str
    text: str
    at_chance: bool


def collect_facts(run: Run, details: RunDetails) -> dict[str, Any]:
    """Returns the content of report.json: results as dataclasses, by the names that the templates use."""
    return {
        "schema": SCHEMA,
        "title": describe_run(run),
        "intended_use": INTENDED_USE,
        "invalid": run.environment.invalid,
        "verdict": describe_verdict(run.metrics.shortcuts),
        "class_verdicts": {name: describe_verdict(one) for name, one in run.metrics.shortcuts.classes.items()},
        "decisions": explain_decisions(run),
        "threshold": explain_threshold(run.metrics),
        "predictive_values": tabulate_predictive_values(run.metrics),
        "configuration": _list_flags(run.config),
        "environment": run.environment,
        "metrics": run.metrics,
        "dataset": details.dataset,
        "saliency": details.saliency,
        "typicality": details.typicality,
        "history": details.history,
        "tuning": details.tuning,
        "external": {one.name: one.metrics for one in details.external},
    }


def describe_run(run: Run) -> str:
    """Returns a title: the dataset, the recipe, the weights, and fine-tuning if there was any."""
    recipe = "tuned" if run.config.tune else run.config.recipe
    title = f"{run.environment.dataset.name}, {recipe} recipe, {name_weights(run)} weights"
    if (tuning := run.metrics.fine_tuning) is not None:
        title += f", {tuning.block} fine-tuned in the last {tuning.epochs} epochs"
    return title


def name_weights(run: Run) -> str:
    """Returns what the backbone's weights are called; of a file's long name the beginning."""
    name = run.environment.weights.name
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def list_score_metrics(run: Run) -> dict[str, str]:
    """Returns SCORE_METRICS; with two classes without the macro AUROC, which is the AUROC."""
    several = len(run.environment.dataset.class_names) > 2
    return {key: name for key, name in SCORE_METRICS.items() if several or key != "macro_auroc"}


def explain_decisions(run: Run) -> str:
    """Returns what the two rules of decision are, why they differ, and on how many test images."""
    metrics, positive = run.metrics, run.metrics.positive_class
    test = [row for row in run.predictions if row.split == "test"]
    differ = sum(row.decision != row.decision_argmax for row in test)
    two = len(run.environment.dataset.class_names) == 2
    of_two, of_more = (
        f": {positive} from a probability of 0.5" if two else "",
        "" if two else ", else the most probable other",
    )
    return (
        f"Argmax, which the tutorial and most papers report, decides for the most probable class{of_two}. The "
        f"operating point decides for {positive} from a probability of {metrics.threshold:.3f}{of_more}. They differ "
        "because argmax counts all errors alike, while the operating point is set to reach a sensitivity of "
        f"{metrics.target_sensitivity:g}. Of {len(test)} test images they decide {differ} differently."
    )


def explain_threshold(metrics: RunMetrics) -> str:
    """Returns how uncertain the threshold is, and what that does to sensitivity and specificity."""
    point, positive = metrics.operating_point, metrics.positive_class
    low, high = point.uncertainty.ci95
    sensitivity, specificity = point.uncertainty.sensitivity, point.uncertainty.specificity
    return (
        f"The threshold rests on {point.uncertainty.positives} {positive} images of the training split. Other patients "
        f"would move it: its 95 % interval (bootstrap over patients) is {low:.3f} to {high:.3f}. On the same "
        f"predictions the lower limit gives sensitivity {sensitivity[0]:.2f} and specificity {specificity[0]:.2f}, the "
        f"upper limit {sensitivity[1]:.2f} and {specificity[1]:.2f}."
    )


def is_tutorial(run: Run) -> bool:
    """Whether a run is the tutorial's own: its recipe, images and weights."""
    config, environment = run.config, run.environment
    as_it_was = config.recipe == "tutorial" and not config.tune and config.fine_tune is None
    return as_it_was and environment.dataset.name.endswith("/as_published") and environment.weights.name == IMAGENET


def describe_verdict(shortcuts: Shortcuts) -> VerdictText:
    """Returns the shortcut verdict in words."""
    control, model = shortcuts.controls[shortcuts.strongest].auroc, shortcuts.model.auroc
    at_chance = model.value_and_limits[1] <= 0.5
    headline = HEADLINES[shortcuts.verdict]
    if at_chance:
        headline = "The model is not shown to be better than chance"
    compared = (
        f"“{shortcuts.strongest.replace('_', ' ')}”, the strongest control that cannot see the lungs, has AUROC "
        f"{format_estimate(control)}; {shortcuts.of or 'the model'} has {format_estimate(model)}."
    )
    # The report's tables and charts write a control's name without underscores.
    because = shortcuts.because
    for name in shortcuts.controls:
        because = because.replace(name, name.replace("_", " "))
    return VerdictText(headline, f"{compared} {because} {MEANINGS[shortcuts.verdict]}", at_chance)


def format_estimate(estimate: Estimate) -> str:
    """Returns a metric as text: its value and 95 % interval, or that it is undefined.

    Example:
        >>> format_estimate(Estimate(0.95, (0.86, 0.98), n=50))
        '0.95 (95 % CI 0.86 to 0.98)'
    """
    if estimate.value is None:
        return f"undefined (n = {estimate.n}): {estimate.because}"
    value, low, high = estimate.value_and_limits
    return f"{value:.2f} (95 % CI {low:.2f} to {high:.2f})"


def choose_best_metrics(metrics: RunMetrics) -> Metrics:
    """Returns the metrics of the run's own model that rest on the most images: cross-validation, or the test split."""
    return metrics.test if metrics.cross_validation.of else metrics.cross_validation


def name_cross_validation(metrics: RunMetrics) -> str:
    """Returns what the cross-validation is called: that of a fine-tuned run is the frozen model's."""
    of = metrics.cross_validation.of
    return f"cross-validation of {of}" if of else "cross-validation"


def tabulate_predictive_values(metrics: RunMetrics) -> list[PredictiveValues]:
    """Returns PPV and NPV at a few prevalences."""
    best = choose_best_metrics(metrics)
    sensitivity, specificity = best.sensitivity.value_and_limits[0], best.specificity.value_and_limits[0]
    return [PredictiveValues(p, *predictive_values(sensitivity, specificity, p)) for p in PREVALENCES]


def _list_flags(config: Config) -> dict[str, Any]:
    """Every flag and its value; of a path only its last part, because folders are private and reports are passed on."""
    flags = dataclasses.asdict(config)
    flags = flags.pop("data") | flags
    return {flag: Path(value).name if flag in PATHS and value is not None else value for flag, value in flags.items()}
