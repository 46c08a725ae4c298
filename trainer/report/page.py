"""report.html, report.json and MODEL_CARD.md, written from what is in a run folder.

    write(Path("runs/curated-20240501-120000"))      # again at any time; about a second

The page is one file: pictures are data: URIs, there is no script, and a browser is told to load nothing else. Never
TensorFlow.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np

from covid_tfds.common.files import write_json, write_text
from trainer.report import model_card, svg_charts
from trainer.report.facts import CONTROLS, FIGURES, best_estimate, collect, predictions, validation_name, words
from trainer.report.svg_charts import BLUE, GREY, ORANGE, Series
from trainer.run_folder import file_names

MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg"}


@dataclass(frozen=True)
class Picture:
    """A picture of the page: a data: URI, what a reader who can't see it is told, and one sentence on what to see."""

    source: str
    alt: str
    caption: str


def write(folder: Path) -> None:
    """Write report.json, report.html and MODEL_CARD.md into a run folder, over older ones.

    Raises UsageError when a file it reads is damaged. What was not done in the run is said to be so.
    """
    facts = collect(folder)
    write_json(folder / file_names.REPORT_JSON, facts)
    write_text(folder / file_names.REPORT, page(folder, facts))
    write_text(folder / file_names.MODEL_CARD, model_card.text(facts))


def page(folder: Path, facts: dict) -> str:
    """The HTML of the report of the run in `folder` with these facts."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trainer.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        **facts,
        pictures=dict(pictures(folder, facts)),
        gallery=gallery(folder, facts["saliency"]),
        figure_names=FIGURES,
        control_names=CONTROLS,
    )


def pictures(folder: Path, facts: dict) -> Iterator[tuple[str, Picture]]:
    """(name, picture) for every plot that this run's data allow."""
    metrics, class_names = facts["metrics"], facts["class_names"]
    sets = list(_series(folder, facts))
    both_classes = [one for one in sets if 0 < one.truth.sum() < len(one.truth)]
    yield from _controls(metrics)
    if both_classes:
        yield (
            "roc",
            _svg(
                svg_charts.roc(both_classes),
                "ROC curves: " + _areas(metrics),
                "The nearer a curve comes to the upper left corner, the better the classes are told apart; on the "
                "dotted line they are not.",
            ),
        )
        yield (
            "precision_recall",
            _svg(
                svg_charts.precision_recall(both_classes),
                "Precision over sensitivity",
                "Of the images called covid, how many are, as more of the covid images are found: a good curve stays "
                "high to the right.",
            ),
        )
        yield "thresholds", _thresholds(both_classes[0], metrics["threshold"])
    (tp, fn), (fp, tn) = metrics["test"]["confusion_matrix"]
    yield (
        "confusion",
        _svg(
            svg_charts.confusion([[tp, fn], [fp, tn]], class_names),
            f"Confusion matrix of the test split: {tp} covid called covid, {fn} missed, {fp} others called covid, "
            f"{tn} cleared",
            f"Of the test split's {tp + fn} covid images {fn} {_were(fn)} missed; of its {fp + tn} others {fp} "
            f"{_were(fp)} called covid.",
        ),
    )
    yield from _prevalences(metrics)
    yield from _calibration(metrics.get("calibration"))
    if facts["history"]:
        last = facts["history"][-1]
        yield (
            "training",
            _svg(
                svg_charts.training(facts["history"]),
                f"Loss and accuracy over {len(facts['history'])} epochs; at the end the training loss is "
                f"{last['loss']:.2f} and the test loss {last['val_loss']:.2f}",
                "When the test line turns away from the training line, the head learns its images by heart.",
            ),
        )
    if plot := _own_file(folder, file_names.TUNING_PLOT):
        yield (
            "tuning",
            Picture(
                _file(plot),
                "The search's trials: AUROC and log-loss of each, and scores by hyperparameter",
                "Each dot is a trial: where they lie close together, the choice of hyperparameters matters little.",
            ),
        )


def gallery(folder: Path, saliency: dict | None) -> dict[str, list[tuple[dict, str]]]:
    """(image's entry, data: URI of its picture) for the images that have one, by group: "test" and "mistake"."""
    groups: dict[str, list[tuple[dict, str]]] = {"test": [], "mistake": []}
    for entry in (saliency or {"images": []})["images"]:
        if entry["picture"] and (picture := _own_file(folder, entry["picture"])):
            groups[entry["group"]].append((entry, _file(picture)))
    return groups


def _own_file(folder: Path, name: str) -> Path | None:
    """A file of the run folder, if it is one: a stranger's could name, or link to, any picture of this machine."""
    path = (folder / name).resolve()
    return path if path.is_file() and path.is_relative_to(folder.resolve()) else None


def _series(folder: Path, facts: dict) -> Iterator[Series]:
    """The sets of images to draw curves of; the one with the most behind it first."""
    positive = facts["metrics"]["positive_class"]
    held_out = predictions(folder / file_names.OUT_OF_FOLD, positive)
    if len(held_out[0]):
        yield Series(validation_name(facts["metrics"]), *held_out)
    yield Series("test split", *predictions(folder / file_names.PREDICTIONS, positive, "test"))
    for one in facts["external"]:
        path = folder / file_names.EXTERNAL / one["name"] / file_names.PREDICTIONS
        values = predictions(path, positive)
        if len(values[0]):
            yield Series(f"external: {one['name']}", *values)


def _controls(metrics: dict) -> Iterator[tuple[str, Picture]]:
    if not (found := metrics.get("shortcuts")):
        return
    bars = [("the model", found["model"]["auroc"], BLUE)]
    ranked = sorted(
        found["controls"].items(), key=lambda item: (item[1]["sees_lungs"], -(item[1]["auroc"]["value"] or 0))
    )
    bars += [(CONTROLS.get(name, name), one["auroc"], GREY if one["sees_lungs"] else ORANGE) for name, one in ranked]
    yield (
        "controls",
        _svg(
            svg_charts.controls(bars),
            "AUROC with intervals: " + "; ".join(f"{name} {words(one)}" for name, one, _ in bars),
            "Where an orange bar (a control that cannot see the lungs) is as long as the blue one, the model's figures "
            "need no lungs; grey controls can see them, and black lines are 95 % intervals.",
        ),
    )


def _thresholds(one: Series, threshold: float) -> Picture:
    sensitivity, specificity = (
        float(rate[0]) for rate in svg_charts.rates(one.truth, one.p_covid, np.asarray([threshold]))
    )
    return _svg(
        svg_charts.thresholds(one, threshold),
        f"Sensitivity and specificity over the threshold; at {threshold:.2f} they are {sensitivity:.2f} and "
        f"{specificity:.2f}",
        f"To the left fewer covid images are missed, to the right fewer of the others are called covid ({one.name}).",
    )


def _prevalences(metrics: dict) -> Iterator[tuple[str, Picture]]:
    best = best_estimate(metrics)
    if best["sensitivity"]["value"] is None or best["specificity"]["value"] is None:
        return
    yield (
        "prevalences",
        _svg(
            svg_charts.prevalences(best["sensitivity"], best["specificity"]),
            "Predictive values over prevalence",
            "Where covid is rare, most of those called covid do not have it, however good the figures above look.",
        ),
    )


def _calibration(found: dict | None) -> Iterator[tuple[str, Picture]]:
    if not found or not found.get("bins"):
        return
    after = found["bins"] if found["applied"] else None
    before = found.get("bins_before") or found["bins"]
    yield (
        "calibration",
        _svg(
            svg_charts.calibration(before, after),
            f"Reliability diagram; expected calibration error {found['ece_before']:.2f} before and "
            f"{found['ece_after']:.2f} after temperature scaling",
            "On the dotted line, of the images given 70 % seven in ten are covid; below it the model is too sure of "
            "covid, above it not sure enough.",
        ),
    )


def _areas(metrics: dict) -> str:
    named = {validation_name(metrics): metrics.get("cross_validation"), "test split": metrics["test"]}
    return "; ".join(f"{name} AUROC {words(part['auroc'])}" for name, part in named.items() if part)


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _svg(svg: str, alt: str, caption: str) -> Picture:
    return Picture(_uri("image/svg+xml", svg.encode()), alt, caption)


def _file(path: Path) -> str:
    return _uri(MEDIA_TYPES[path.suffix], path.read_bytes())


def _uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
