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
from trainer.run_folder.estimate import Estimate
from trainer.run_folder.results import Metrics, RunMetrics
from trainer.run_folder.run import Run
from trainer.run_folder.shortcut_results import Shortcuts

SCHEMA = 2
METRIC_NAMES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "auroc": "AUROC",
    "pr_auc": "PR-AUC",
    "accuracy": "Accuracy",
    "brier": "Brier score",
}
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
    """PPV and NPV of the decision where `prevalence` of the patients have covid; None where undefined."""

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
        "verdict": describe_verdict(run.metrics.shortcuts),
        "predictive_values": tabulate_predictive_values(run.metrics),
        "configuration": _list_flags(run.config),
        "environment": run.environment,
        "metrics": run.metrics,
        "dataset": details.dataset,
        "saliency": details.saliency,
        "history": details.history,
        "tuning": details.tuning,
        "external": {one.name: one.metrics for one in details.external},
    }


def describe_run(run: Run) -> str:
    """Returns a title: the dataset, the recipe, the weights, and fine-tuning if there was any."""
    recipe = "tuned" if run.config.tune else run.config.recipe
    title = f"{run.environment.dataset.name}, {recipe} recipe, {run.environment.weights.name} weights"
    if (tuning := run.metrics.fine_tuning) is not None:
        title += f", {tuning.block} fine-tuned in the last {tuning.epochs} epochs"
    return title


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
    return VerdictText(headline, f"{compared} {shortcuts.because} {MEANINGS[shortcuts.verdict]}", at_chance)


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
