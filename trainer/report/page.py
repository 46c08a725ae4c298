"""report.html: one file without scripts. Pictures are data: URIs, and a browser is told to load nothing else."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import jinja2
import numpy as np

from trainer.report import svg_charts
from trainer.report.facts import (
    CONTROL_NAMES,
    METRIC_NAMES,
    Facts,
    choose_best_metrics,
    format_estimate,
    name_cross_validation,
)
from trainer.report.svg_charts import BLUE, GREY, ORANGE, Series
from trainer.run_folder import file_names
from trainer.run_folder.details import RunDetails
from trainer.run_folder.results import Calibration, RunMetrics
from trainer.run_folder.run import Run
from trainer.run_folder.saliency import SaliencyImage


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes:
        source: data: URI.
        alt: The same in words, for readers who cannot see it.
        caption: One or two sentences on how to read it.
    """

    source: str
    alt: str
    caption: str


def render(run: Run, details: RunDetails, facts: Facts) -> str:
    """Returns the HTML of a run's report."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trainer.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["as_dict"] = dataclasses.asdict
    return environment.get_template("report.html").render(
        **vars(facts),
        pictures=dict(_draw_pictures(run, details)),
        gallery=_list_gallery(details),
        validated=name_cross_validation(facts.metrics).capitalize(),
        metric_names=METRIC_NAMES,
        control_names=CONTROL_NAMES,
    )


def _draw_pictures(run: Run, details: RunDetails) -> Iterator[tuple[str, Picture]]:
    """(name, picture) for every plot."""
    metrics = run.metrics
    yield "controls", _controls(metrics)
    sets = [one for one in _list_series(run, details) if 0 < one.truth.sum() < len(one.truth)]
    areas = {name_cross_validation(metrics): metrics.cross_validation.auroc, "test split": metrics.test.auroc}
    yield (
        "roc",
        _svg(
            svg_charts.roc(sets),
            "ROC curves: " + "; ".join(f"{name} AUROC {format_estimate(area)}" for name, area in areas.items()),
            "The closer a curve comes to the upper left corner, the better the model separates the classes. The dotted "
            "line is chance.",
        ),
    )
    yield (
        "precision_recall",
        _svg(
            svg_charts.precision_recall(sets),
            "Precision by sensitivity",
            "Precision (PPV) is the share of positive calls that are right. A good curve stays high to the right.",
        ),
    )
    yield "thresholds", _thresholds(sets[0], metrics.threshold)
    (tp, fn), (fp, tn) = metrics.test.confusion_matrix
    yield (
        "confusion",
        _svg(
            svg_charts.confusion(metrics.test.confusion_matrix, run.environment.dataset.class_names),
            f"Confusion matrix of the test split: {tp} covid images called covid, {fn} missed; {fp} other images "
            f"called covid, {tn} not",
            f"Of {tp + fn} covid images {fn} {_were(fn)} missed; of {fp + tn} others {fp} {_were(fp)} called covid.",
        ),
    )
    best = choose_best_metrics(metrics)
    yield (
        "prevalences",
        _svg(
            svg_charts.prevalences(best.sensitivity, best.specificity),
            "Predictive values by prevalence",
            "Where covid is rare, most positive calls are wrong, however good the other metrics are.",
        ),
    )
    yield "calibration", _calibration(metrics.calibration)
    last = details.history[-1]
    yield (
        "training",
        _svg(
            svg_charts.training(details.history),
            f"Loss and accuracy over {len(details.history)} epochs; the training loss ends at {last['loss']:.2f}, the "
            f"test loss at {last['val_loss']:.2f}",
            "If the test loss rises while the training loss falls, the head overfits.",
        ),
    )
    if plot := details.pictures.get(file_names.TUNING_PLOT):
        yield (
            "tuning",
            Picture(
                _uri("image/png", plot),
                "The search's trials: AUROC and log loss of each, and scores by hyperparameter",
                "Each dot is a trial. If the dots lie close together, the choice of hyperparameters matters little.",
            ),
        )


def _list_gallery(details: RunDetails) -> dict[str, list[tuple[SaliencyImage, str]]]:
    """The images that were drawn, with the data: URI of each, by group: "test" and "mistake"."""
    groups: dict[str, list[tuple[SaliencyImage, str]]] = {"test": [], "mistake": []}
    for image in details.saliency.images:
        if content := details.pictures.get(image.picture or ""):
            groups[image.group].append((image, _uri("image/jpeg", content)))
    return groups


def _list_series(run: Run, details: RunDetails) -> Iterator[Series]:
    """The sets of images to draw curves of, cross-validation first."""
    positive = run.metrics.positive_class
    test = [row for row in run.predictions if row.split == "test"]
    sets = {name_cross_validation(run.metrics): details.out_of_fold, "test split": test}
    sets |= {f"external: {one.name}": one.predictions for one in details.external}
    for name, rows in sets.items():
        truth = np.asarray([row.label == positive for row in rows], dtype=bool)
        yield Series(name, truth, np.asarray([row.p_covid for row in rows]))


def _controls(metrics: RunMetrics) -> Picture:
    controls = metrics.shortcuts.controls.items()
    ranked = sorted(controls, key=lambda item: (item[1].sees_lungs, -item[1].auroc.value))
    bars = [("the model", metrics.shortcuts.model.auroc, BLUE)]
    bars += [(CONTROL_NAMES.get(name, name), one.auroc, GREY if one.sees_lungs else ORANGE) for name, one in ranked]
    return _svg(
        svg_charts.controls(bars),
        "AUROC with intervals: " + "; ".join(f"{name} {format_estimate(auroc)}" for name, auroc, _ in bars),
        "Orange controls cannot see the lungs. If one of their bars is as long as the blue one, the model's metrics do "
        "not need the lungs. Grey controls can see them. Black lines are 95 % intervals.",
    )


def _thresholds(one: Series, threshold: float) -> Picture:
    rates = svg_charts.rates(one.truth, one.p_covid, np.asarray([threshold]))
    sensitivity, specificity = (float(rate[0]) for rate in rates)
    return _svg(
        svg_charts.thresholds(one, threshold),
        f"By threshold; at {threshold:.2f} sensitivity is {sensitivity:.2f} and specificity {specificity:.2f}",
        f"A lower threshold misses fewer covid images, a higher one calls fewer other images covid ({one.name}).",
    )


def _calibration(calibration: Calibration) -> Picture:
    return _svg(
        svg_charts.calibration(calibration.bins_before, calibration.bins if calibration.applied else None),
        f"Reliability diagram; expected calibration error {calibration.ece_before:.2f} before and "
        f"{calibration.ece_after:.2f} after temperature scaling",
        "On the dotted line, of the images with probability 70 % seven in ten are covid. Below the line the "
        "probabilities are too high, above it too low.",
    )


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _svg(svg: str, alt: str, caption: str) -> Picture:
    return Picture(_uri("image/svg+xml", svg.encode()), alt, caption)


def _uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
