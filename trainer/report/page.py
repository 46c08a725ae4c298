"""report.html: one file without scripts. Images are data: URIs; its policy lets a browser load nothing else."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np
from sklearn.metrics import confusion_matrix

from covid_tfds.imaging import overlay
from trainer.report import svg_charts
from trainer.report.facts import (
    CLASS_METRICS,
    DECISION_METRICS,
    METRIC_NAMES,
    PUBLISHED,
    SUBGROUPS,
    choose_best_metrics,
    is_tutorial,
    list_score_metrics,
    name_cross_validation,
    name_weights,
)
from trainer.report.svg_charts import BLUE, GREY, ORANGE, Series, render_svg
from trainer.run_folder.details import RunDetails
from trainer.run_folder.estimate import Estimate
from trainer.run_folder.predictions import OutOfFoldPrediction, Prediction
from trainer.run_folder.results import Argmax, Metrics
from trainer.run_folder.run import Run
from trainer.run_folder.saliency import SaliencyImage
from trainer.run_folder.shortcut_results import Shortcuts
from trainer.run_folder.typicality_results import ImageTypicality


def render(run: Run, details: RunDetails, facts: dict[str, Any], plots: dict[str, str]) -> str:
    """Returns the HTML of a run's report.

    Args:
        run: The run.
        details: What only the report shows.
        facts: See `collect_facts`.
        plots: See `draw_plots`.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trainer.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["as_dict"] = dataclasses.asdict
    return environment.get_template("report.html").render(
        **facts,
        plots={name: _uri("image/svg+xml", svg.encode()) for name, svg in plots.items()},
        confusion_matrices=_list_confusion_matrices(run, details),
        tuning_plot=_uri("image/png", details.tuning_plot) if details.tuning_plot else None,
        gallery=_list_gallery(details),
        heat_colours=", ".join(f"rgb{tuple(colour)}" for colour in overlay.COLOURS.tolist()),
        pairs=_list_pairs(details),
        validated=name_cross_validation(run.metrics).capitalize(),
        weights_name=name_weights(run),
        published=PUBLISHED if is_tutorial(run) else None,
        decision_rules=_list_rules(run),
        decision_metrics=DECISION_METRICS,
        score_metrics=list_score_metrics(run),
        class_metrics=CLASS_METRICS,
        metric_names=METRIC_NAMES,
        subgroup_names=SUBGROUPS,
    )


@dataclass(frozen=True)
class Rule:
    """A rule of decision: its name, and what gives its metrics."""

    name: str
    of: Callable[[Metrics], Metrics | Argmax]


def _list_rules(run: Run) -> list[Rule]:
    """Both rules of decision; with the tutorial's recipe its own rule is first."""
    rules = [Rule("operating point", lambda metrics: metrics), Rule("argmax", lambda metrics: metrics.argmax)]
    return rules[::-1] if run.config.recipe == "tutorial" else rules


def draw_plots(run: Run, details: RunDetails) -> dict[str, str]:
    """Returns the SVG text of each plot of the report, by name."""
    metrics, best, positive = run.metrics, choose_best_metrics(run.metrics), run.metrics.positive_class
    sets, bins, point = _list_series(run, details), metrics.calibration, metrics.operating_point
    names, shortcuts = run.environment.dataset.class_names, metrics.shortcuts
    plots = {
        "controls": _draw_controls(shortcuts),
        **{f"controls_{place}": _draw_controls(one) for place, one in enumerate(shortcuts.classes.values(), start=1)},
        "roc": render_svg(svg_charts.draw_roc, sets),
        "precision_recall": render_svg(svg_charts.draw_precision_recall, sets),
        "thresholds": render_svg(
            svg_charts.draw_thresholds, sets[0], metrics.threshold, point.uncertainty.ci95, positive
        ),
        "prevalences": render_svg(svg_charts.draw_prevalences, best.sensitivity, best.specificity),
        "calibration": render_svg(
            svg_charts.draw_calibration, bins.bins_before, bins.bins if bins.applied else None, positive
        ),
        "distances": render_svg(svg_charts.draw_distances, details.typicality),
        "training": render_svg(svg_charts.draw_training, details.history, len(names), size=(4.2, 4.4), rows=2),
    }
    size = 1.5 + 0.9 * len(names)
    for one in _list_confusion_matrices(run, details):
        plots[one.plot] = render_svg(svg_charts.draw_confusion_matrix, one.counts, names, size=(size + 0.4, size))
    if len(names) > 2:
        test = [row for row in run.predictions if row.split == "test"]
        by_class = _keep_curves(_make_series(name, test, name) for name in names)
        plots["roc_by_class"] = render_svg(svg_charts.draw_roc, by_class)
    return plots


def _draw_controls(shortcuts: Shortcuts) -> str:
    bars = _list_bars(shortcuts)
    return render_svg(svg_charts.draw_controls, bars, size=(4.2, 0.9 + 0.34 * len(bars)))


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: the plot's name, a title, the counts by label and decision, and the same in words."""

    plot: str
    title: str
    counts: Sequence[Sequence[float]]
    text: str


def _list_confusion_matrices(run: Run, details: RunDetails) -> list[Matrix]:
    """Those of both sets of images by both rules."""
    names, metrics, rows = run.environment.dataset.class_names, run.metrics, details.out_of_fold
    validation = name_cross_validation(metrics).capitalize()
    decided = confusion_matrix([row.label for row in rows], [row.decision for row in rows], labels=list(names))
    return [
        Matrix(plot, title, counts, describe_confusion_matrix(counts, names))
        for plot, title, counts in (
            ("confusion", "Test split, operating point", metrics.test.confusion_matrix),
            ("confusion_argmax", "Test split, argmax", metrics.test.argmax.confusion_matrix),
            ("confusion_validation", f"{validation}, operating point", decided / metrics.cross_validation.repeats),
            ("confusion_validation_argmax", f"{validation}, argmax", metrics.cross_validation.argmax.confusion_matrix),
        )
    ]


def describe_confusion_matrix(matrix: Sequence[Sequence[float]], names: Sequence[str]) -> str:
    """Returns a confusion matrix in words.

    Example:
        >>> describe_confusion_matrix([[4, 1], [2, 3]], ["covid", "normal"])
        'Of 5 covid images: 4 called covid, 1 called normal. Of 5 normal images: 2 called covid, 3 called normal.'
    """
    lines = []
    for name, counts in zip(names, matrix, strict=True):
        decided = ", ".join(f"{count:.4g} called {other}" for count, other in zip(counts, names, strict=True))
        lines.append(f"Of {sum(counts):.4g} {name} images: {decided}.")
    return " ".join(lines)


def _list_series(run: Run, details: RunDetails) -> list[Series]:
    """The sets of images that curves are drawn of, cross-validation first. A set of one class has no curve."""
    sets: dict[str, Sequence[Prediction | OutOfFoldPrediction]] = {
        name_cross_validation(run.metrics): details.out_of_fold,
        "test split": [row for row in run.predictions if row.split == "test"],
        **{f"external: {one.name}": one.predictions for one in details.external},
    }
    return _keep_curves(_make_series(name, rows, run.metrics.positive_class) for name, rows in sets.items())


def _keep_curves(series: Iterable[Series]) -> list[Series]:
    return [one for one in series if 0 < one.truth.sum() < len(one.truth)]


def _make_series(name: str, rows: Sequence[Prediction | OutOfFoldPrediction], class_name: str) -> Series:
    """The probabilities of one class in a set of images."""
    truth = np.array([row.label == class_name for row in rows])
    return Series(name, truth, np.array([row.probabilities[class_name] for row in rows]))


def _list_bars(shortcuts: Shortcuts) -> list[tuple[str, Estimate, str]]:
    """(name, AUROC, colour) of the model and the controls: first those that cannot see the lungs, the best first."""
    controls = shortcuts.controls.items()
    ranked = sorted(controls, key=lambda item: (item[1].sees_lungs, -item[1].auroc.value_and_limits[0]))
    bars = [(name.replace("_", " "), one.auroc, GREY if one.sees_lungs else ORANGE) for name, one in ranked]
    return [("the model", shortcuts.model.auroc, BLUE), *bars]


def _list_gallery(details: RunDetails) -> dict[str, list[tuple[SaliencyImage, str]]]:
    """The images that were drawn, with the data: URI of each, by group: "test" and "mistake"."""
    groups: dict[str, list[tuple[SaliencyImage, str]]] = {"test": [], "mistake": []}
    for image in details.saliency.images:
        if content := details.overlays.get(image.overlay or ""):
            groups[image.group].append((image, _uri("image/jpeg", content)))
    return groups


def _list_pairs(details: RunDetails) -> list[tuple[ImageTypicality, str]]:
    """The least typical test images, with the data: URI of each beside the nearest training image."""
    drawn = ((image, details.overlays.get(image.pair or "")) for image in details.typicality.images)
    return [(image, _uri("image/jpeg", content)) for image, content in drawn if content]


def _uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
