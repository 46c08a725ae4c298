"""report.json: everything the report says in numbers. It fills the page and the model card."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from covid_tfds.common.errors import INTENDED_USE
from trainer.config import Config
from trainer.metrics.operating_point import PREVALENCES, predictive_values
from trainer.recipes import Recipe
from trainer.run_folder.dataset_card import DatasetCard
from trainer.run_folder.details import RunDetails
from trainer.run_folder.environment import Weights
from trainer.run_folder.results import CrossValidation, DatasetId, Estimate, Evaluation, RunMetrics, Shortcuts
from trainer.run_folder.run import Run
from trainer.run_folder.saliency import Saliency

SCHEMA = 2
METRIC_NAMES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "auroc": "AUROC",
    "pr_auc": "PR-AUC",
    "accuracy": "Accuracy",
    "brier": "Brier score",
}
CONTROL_NAMES = {
    "border_only": "border only",
    "lungs_blacked_out": "lungs blacked out",
    "thumbnail_16x16": "16 × 16 thumbnail",
    "file_facts": "file facts",
    "mean_brightness": "mean brightness",
    "untrained_backbone": "untrained backbone",
    "permuted_labels": "permuted labels",
}
SHORTCUT = "shortcut"
PATHS = ("dataset", "manual_dir", "data_dir", "weights", "output")


@dataclass(frozen=True)
class PredictiveValues:
    """PPV and NPV of the decision where `prevalence` of the patients have covid; None where undefined."""

    prevalence: float
    ppv: float | None
    npv: float | None


@dataclass(frozen=True)
class VerdictText:
    """The shortcut verdict in words.

    Attributes:
        verdict: "shortcut" or "not detected".
        headline: One line.
        text: Two or three sentences.
        rule: The rule the verdict follows.
        at_chance: Whether the model is not shown to be better than chance.
    """

    verdict: str
    headline: str
    text: str
    rule: str
    at_chance: bool


@dataclass(frozen=True)
class ExternalFacts:
    """An external validation: its name, its metrics, and how many images were left out."""

    name: str
    metrics: Evaluation
    left_out: int


@dataclass(frozen=True)
class Facts:
    """All of report.json; see the attributes' own types.

    Attributes:
        schema: Version of report.json.
        run_id: The run's id.
        title: Dataset, recipe and weights.
        intended_use: What the model is for.
        notes: Caveats to show beside every metric.
        class_names: Of classes 0 and 1.
        verdict: The shortcut verdict in words.
        metrics: metrics.json.
        predictive_values: By prevalence.
        saliency: saliency.json.
        dataset: dataset.json.
        external: By name.
        tuning: tuning.json; None without --tune.
        history: history.csv.
        configuration: Flags and their values; of a path only its last part.
        recipe: The recipe.
        weights: The backbone's weights.
        data: The dataset's name, version and fingerprint.
        versions: Versions of Python and the packages.
        platform: Operating system and machine.
    """

    schema: int
    run_id: str
    title: str
    intended_use: str
    notes: tuple[str, ...]
    class_names: tuple[str, ...]
    verdict: VerdictText
    metrics: RunMetrics
    predictive_values: tuple[PredictiveValues, ...]
    saliency: Saliency
    dataset: DatasetCard
    external: tuple[ExternalFacts, ...]
    tuning: dict | None
    history: tuple[dict[str, float], ...]
    configuration: dict[str, object]
    recipe: Recipe
    weights: Weights
    data: DatasetId
    versions: dict[str, str]
    platform: str


def collect_facts(run: Run, details: RunDetails) -> Facts:
    """Returns the facts of a run."""
    environment = run.environment
    return Facts(
        schema=SCHEMA,
        run_id=environment.run_id,
        title=describe_run(run),
        intended_use=INTENDED_USE,
        notes=environment.notes,
        class_names=environment.dataset.class_names,
        verdict=describe_verdict(run.metrics.shortcuts),
        metrics=run.metrics,
        predictive_values=tabulate_predictive_values(run.metrics),
        saliency=details.saliency,
        dataset=details.dataset,
        external=tuple(ExternalFacts(one.name, one.metrics.test, one.metrics.left_out) for one in details.external),
        tuning=details.tuning,
        history=details.history,
        configuration=_list_flags(run.config),
        recipe=environment.recipe,
        weights=environment.weights,
        data=environment.dataset,
        versions=environment.versions,
        platform=environment.platform,
    )


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
    name = CONTROL_NAMES.get(shortcuts.strongest, shortcuts.strongest)
    at_chance = model.ci95[0] <= 0.5
    if shortcuts.verdict == SHORTCUT:
        headline = "Shortcut: the classes can be told apart without the lungs"
        meaning = "The metrics of this report may show where an image comes from, not who is ill."
    elif at_chance:
        headline = "The model is not shown to be better than chance"
        meaning = "The interval of its AUROC contains 0.5: there is no skill that a shortcut could explain."
    else:
        headline = "No shortcut detected"
        meaning = "Only the controls below were tried: other shortcuts may exist."
    compared = (
        f"“{name}”, the strongest control that cannot see the lungs, has AUROC {format_estimate(control)}; "
        f"{shortcuts.of or 'the model'} has {format_estimate(model)}."
    )
    return VerdictText(shortcuts.verdict, headline, f"{compared} {meaning}", shortcuts.rule, at_chance)


def format_estimate(estimate: Estimate) -> str:
    """Returns a metric as text: its value and 95 % interval, or that it is undefined.

    Example:
        >>> format_estimate(Estimate(0.95, (0.86, 0.98), n=50))
        '0.95 (95 % CI 0.86 to 0.98)'
    """
    if estimate.value is None:
        return f"undefined (n = {estimate.n}): {estimate.because}"
    low, high = estimate.ci95
    return f"{estimate.value:.2f} (95 % CI {low:.2f} to {high:.2f})"


def choose_best_metrics(metrics: RunMetrics) -> Evaluation | CrossValidation:
    """Returns the metrics of the run's own model that rest on the most images: cross-validation, or the test split."""
    return metrics.test if metrics.cross_validation.of else metrics.cross_validation


def name_cross_validation(metrics: RunMetrics) -> str:
    """Returns what the cross-validation is called: that of a fine-tuned run is the frozen model's."""
    of = metrics.cross_validation.of
    return f"cross-validation of {of}" if of else "cross-validation"


def tabulate_predictive_values(metrics: RunMetrics) -> tuple[PredictiveValues, ...]:
    """Returns PPV and NPV at a few prevalences."""
    best = choose_best_metrics(metrics)
    rates = best.sensitivity.value, best.specificity.value
    return tuple(PredictiveValues(p, *predictive_values(*rates, p)) for p in PREVALENCES)


def _list_flags(config: Config) -> dict[str, object]:
    """Every flag and its value; of a path only its last part, because folders are private and reports are passed on."""
    flags = dataclasses.asdict(config)
    flags = flags.pop("data") | flags
    return {flag: Path(value).name if flag in PATHS and value is not None else value for flag, value in flags.items()}
