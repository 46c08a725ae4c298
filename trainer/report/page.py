"""report.html: one file without scripts. Images are data: URIs; its policy lets a browser load nothing else."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np

from trainer.report import svg_charts
from trainer.report.facts import METRIC_NAMES, choose_best_metrics, name_cross_validation
from trainer.report.svg_charts import BLUE, GREY, ORANGE, Series, render_svg
from trainer.run_folder.details import RunDetails
from trainer.run_folder.estimate import Estimate
from trainer.run_folder.predictions import OutOfFoldPrediction, Prediction
from trainer.run_folder.run import Run
from trainer.run_folder.saliency import SaliencyImage
from trainer.run_folder.shortcut_results import Shortcuts


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
        tuning_plot=_uri("image/png", details.tuning_plot) if details.tuning_plot else None,
        gallery=_list_gallery(details),
        validated=name_cross_validation(run.metrics).capitalize(),
        metric_names=METRIC_NAMES,
    )


def draw_plots(run: Run, details: RunDetails) -> dict[str, str]:
    """Returns the SVG text of each plot of the report, by name."""
    metrics, best = run.metrics, choose_best_metrics(run.metrics)
    bars, sets, bins = _list_bars(metrics.shortcuts), _list_series(run, details), metrics.calibration
    return {
        "controls": render_svg(svg_charts.draw_controls, bars, size=(4.2, 0.9 + 0.34 * len(bars))),
        "roc": render_svg(svg_charts.draw_roc, sets),
        "precision_recall": render_svg(svg_charts.draw_precision_recall, sets),
        "confusion": render_svg(
            svg_charts.draw_confusion_matrix,
            metrics.test.confusion_matrix,
            run.environment.dataset.class_names,
            size=(3.4, 2.9),
        ),
        "thresholds": render_svg(svg_charts.draw_thresholds, sets[0], metrics.threshold),
        "prevalences": render_svg(svg_charts.draw_prevalences, best.sensitivity, best.specificity),
        "calibration": render_svg(svg_charts.draw_calibration, bins.bins_before, bins.bins if bins.applied else None),
        "training": render_svg(svg_charts.draw_training, details.history, size=(4.2, 4.4), rows=2),
    }


def _list_series(run: Run, details: RunDetails) -> list[Series]:
    """The sets of images that curves are drawn of, cross-validation first. A set of one class has no curve."""
    sets: dict[str, Sequence[Prediction | OutOfFoldPrediction]] = {
        name_cross_validation(run.metrics): details.out_of_fold,
        "test split": [row for row in run.predictions if row.split == "test"],
        **{f"external: {one.name}": one.predictions for one in details.external},
    }
    series = []
    for name, rows in sets.items():
        truth = np.array([row.label == run.metrics.positive_class for row in rows])
        if 0 < truth.sum() < len(truth):
            series.append(Series(name, truth, np.array([row.p_positive for row in rows])))
    return series


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


def _uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
