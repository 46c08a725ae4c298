"""Predict image files to rows of a table, and write them as CSV."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import atomic, format_csv_row, to_json
from covid_tfds.imaging.limits import ImageError
from covid_tfds.imaging.overlay import draw_overlay
from covid_tfds.imaging.reader import read_image
from export.runtime.image_files import ImageFile
from export.runtime.predictor import Predictor

CSV_COLUMNS = ("image", "p_covid", "decision", "warnings", "error")


@dataclass(frozen=True)
class PredictionRow:
    """The prediction of one image file, or why there is none.

    Attributes:
        image: Path of the file.
        p_covid: Probability of covid, in [0, 1].
        decision: One of the model's labels.
        heatmap: Path of the image under its heat map, where one was written.
        warnings: Reasons to doubt the probability.
        error: Why the image could not be read; all of the above but `image` are None then.
    """

    image: str
    p_covid: float | None = None
    decision: str | None = None
    heatmap: str | None = None
    warnings: list[str] | None = None
    error: str | None = None


def predict_row(predictor: Predictor, image: ImageFile, heatmap: Path | None) -> PredictionRow:
    """Predict one image file.

    Args:
        predictor: The model.
        image: The file.
        heatmap: PNG file to write with the image under its heat map.

    Raises:
        UsageError: If the heat map can't be written.
    """
    if image.error:
        return PredictionRow(str(image.path), error=image.error)
    try:
        decoded = read_image(image.path)
    except ImageError as error:
        return PredictionRow(str(image.path), error=str(error))
    prediction = predictor.predict_decoded(decoded)
    p_covid, decision = prediction.p_covid, prediction.decision
    if heatmap:
        info = predictor.info
        title = f"{image.path.name}: p_covid {p_covid:.4f}, {decision} at threshold {info.threshold:.3g}"
        with atomic(heatmap) as temporary:
            heatmap.parent.mkdir(parents=True, exist_ok=True)
            draw_overlay(decoded.pixels, prediction.heatmap, info.heatmap_region, title).save(temporary, "PNG")
    return PredictionRow(str(image.path), p_covid, decision, str(heatmap) if heatmap else None, prediction.warnings)


@contextlib.contextmanager
def write_csv_rows(path: Path) -> Iterator[Callable[[PredictionRow], object]]:
    """Give a function that writes one row to a CSV file; the file gets its name when the block ends well.

    When the work is stopped, FILE.*.incomplete keeps the rows so far.

    Raises:
        UsageError: If the file can't be written.
    """
    target = Path(os.path.realpath(path))  # a link stays one
    partial = target.with_name(f"{target.name}.{os.getpid()}.incomplete")  # its own, where two processes write the same
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", newline="", encoding="utf-8", buffering=1) as file:  # written line by line
            file.write(format_csv_row(CSV_COLUMNS, dict(zip(CSV_COLUMNS, CSV_COLUMNS, strict=True))))
            yield lambda row: file.write(_format_row(row))
        partial.replace(target)
    except BrokenPipeError:  # of standard output
        raise
    except OSError as error:
        raise UsageError(f"--csv {path} can't be written: {error.strerror or error}") from error


def _format_row(row: PredictionRow) -> str:
    values = to_json(row) | {"warnings": "; ".join(row.warnings or [])}
    return format_csv_row(CSV_COLUMNS, {name: value for name, value in values.items() if name in CSV_COLUMNS})
