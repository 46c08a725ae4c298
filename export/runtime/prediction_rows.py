"""Predict image files to rows of a table, and write them as CSV."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import atomic, format_csv_row
from covid_tfds.common.names import printable
from covid_tfds.imaging.limits import ImageError
from covid_tfds.imaging.overlay import draw_overlay
from covid_tfds.imaging.reader import read_image
from export.runtime.image_files import ImageFile
from export.runtime.model_info import ModelInfo
from export.runtime.predictor import Prediction, Predictor


@dataclass(frozen=True)
class PredictionRow:
    """The prediction of one image file, or why there is none.

    Attributes:
        image: Path of the file; bytes that are not UTF-8 and control characters are escaped.
        prediction: None for an image that could not be read.
        heatmap: Path of the image under its heat map, where one was written.
        error: Why the image could not be read.
    """

    image: str
    prediction: Prediction | None = None
    heatmap: str | None = None
    error: str | None = None


def predict_row(predictor: Predictor, image: ImageFile, heatmap: Path | None, png: Path | None) -> PredictionRow:
    """Predict one image file.

    Args:
        predictor: The model.
        image: The file.
        heatmap: PNG file to write with the image under its heat map.
        png: PNG file to write with the pixels as the model takes them.

    Raises:
        UsageError: If a PNG file can't be written, or the model gives no answer.
    """
    if image.error:
        return PredictionRow(printable(str(image.path)), error=image.error)
    try:
        decoded = read_image(image.path)
    except ImageError as error:
        return PredictionRow(printable(str(image.path)), error=str(error))
    prediction = predictor.predict_decoded(decoded)
    if heatmap:
        _write_heatmap(heatmap, image.path.name, decoded.pixels, prediction, predictor.info)
    if png:
        _write_pixels(png, decoded.pixels)
    return PredictionRow(printable(str(image.path)), prediction, printable(str(heatmap)) if heatmap else None)


def _write_heatmap(path: Path, name: str, pixels: np.ndarray, prediction: Prediction, info: ModelInfo) -> None:
    p = f"{name}: p_{info.positive_class} {prediction.probabilities[info.positive_class]:.4f}"
    decisions = f"{prediction.decision} at threshold {info.threshold:.3g}, {prediction.decision_argmax} by argmax"
    if prediction.declined:
        decisions += f". Declined, {prediction.declined_because}"
    title = f"{p}, {decisions}. {describe_limits(info)}"
    with atomic(path) as temporary:
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_overlay(pixels, prediction.heatmap, info.heatmap_region, title).save(temporary, "PNG")


def _write_pixels(path: Path, pixels: np.ndarray) -> None:
    is_grey = (pixels == pixels[..., :1]).all()
    with atomic(path) as temporary:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[..., 0] if is_grey else pixels).save(temporary, "PNG")


def describe_limits(info: ModelInfo) -> str:
    """Returns the line that belongs under every answer: the run's shortcut verdict and the intended use."""
    return f"Shortcut verdict of the run: {info.shortcuts_verdict or 'none'}. {info.intended_use}"


def list_columns(info: ModelInfo) -> list[str]:
    """Returns the columns of the CSV file."""
    decisions = ["decision", "decision_argmax", "typicality", "distance", "declined", "declined_because"]
    return ["image", *(f"p_{label}" for label in info.labels), *decisions, "warnings", "error"]


def make_record(row: PredictionRow, info: ModelInfo) -> dict[str, Any]:
    """Returns a row as the JSON object that is printed: only what is there."""
    if row.prediction is None:
        return {"image": row.image, "error": row.error}
    prediction = row.prediction
    return {
        "image": row.image,
        **{f"p_{label}": p for label, p in prediction.probabilities.items()},
        "decision": prediction.decision,
        "decision_argmax": prediction.decision_argmax,
        "typicality": prediction.typicality,
        "distance": prediction.distance,
        "declined": prediction.declined,
        "declined_because": prediction.declined_because,
        **({"heatmap": row.heatmap} if row.heatmap else {}),
        "warnings": prediction.warnings,
        "shortcuts_verdict": info.shortcuts_verdict,
        "intended_use": info.intended_use,
    }


@contextlib.contextmanager
def write_csv_rows(path: Path, info: ModelInfo) -> Iterator[Callable[[PredictionRow], object]]:
    """Give a function that writes one row to a CSV file; the file gets its name when the block ends well.

    When the work is stopped, FILE.*.incomplete keeps the rows so far.

    Raises:
        UsageError: If the file can't be written.
    """
    columns = list_columns(info)
    target = Path(os.path.realpath(path))  # a link stays one
    partial = target.with_name(f"{target.name}.{os.getpid()}.incomplete")  # its own, where two processes write the same
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", newline="", encoding="utf-8", errors="backslashreplace", buffering=1) as file:
            file.write(format_csv_row(columns, dict(zip(columns, columns, strict=True))))
            yield lambda row: file.write(_format_row(row, info, columns))
        partial.replace(target)
    except BrokenPipeError:  # of standard output
        raise
    except OSError as error:
        raise UsageError(f"--csv {path} can't be written: {error.strerror or error}") from error


def _format_row(row: PredictionRow, info: ModelInfo, columns: list[str]) -> str:
    values = make_record(row, info)
    values["warnings"] = "; ".join(values.get("warnings", []))
    return format_csv_row(columns, {name: value for name, value in values.items() if name in columns})
