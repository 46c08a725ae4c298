"""Write golden/: drawn radiographs with the right answers, to check a port of the preprocessing to another language."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from covid_tfds.common.files import to_json, write_json
from covid_tfds.imaging import reader
from export.file_names import GOLDEN_ANSWERS
from export.parity.drawn_images import draw_images
from export.parity.reference import Reference

CASES = ("grey-wide.png", "colour-tall.png", "colour-420.jpg", "colour-small.png", "16-bit.png", "alpha.png")
SAMPLES = ((0, 0), (0, 223), (57, 113), (112, 40), (223, 0), (223, 223))  # row, column
TOLERANCES = {"resized": 0.1, "probabilities": 1e-5, "heatmap_relative_to_its_maximum": 1e-3}
ABOUT = (
    "What a port must reproduce, step by step: decoded RGB bytes (rgb_sha256 over height x width x 3, row by row), the "
    "image resized inside the model at some places (resized: row, column, then R, G, B in 0..255), probabilities in "
    "the order of labels, and the heat map. JPEG decoders other than libjpeg's slow integer one may differ by a few "
    "grey levels."
)


@dataclass(frozen=True)
class GoldenCase:
    """One image and the right answers.

    Attributes:
        file: Name of the image file.
        width: In pixels.
        height: In pixels.
        rgb_sha256: SHA-256 of the decoded pixels.
        resized: Row, column, R, G, B of the resized image at `SAMPLES`.
        probabilities: In the order of the labels.
        heatmap: The heat map, row by row.
    """

    file: str
    width: int
    height: int
    rgb_sha256: str
    resized: list[list[float]]
    probabilities: list[float]
    heatmap: list[list[float]]


def write_golden(folder: Path, reference: Reference, labels: list[str]) -> list[GoldenCase]:
    """Write the images and golden.json into `folder`, and return the cases. The answers are Keras's."""
    folder.mkdir()
    cases = []
    for image in draw_images():
        if image.name in CASES:
            (folder / image.name).write_bytes(image.encoded)
            cases.append(_make_case(image.name, reader.decode_raster(image.encoded), reference))
    answers = {"about": ABOUT, "labels": labels, "tolerances": TOLERANCES, "cases": cases}
    write_json(folder / GOLDEN_ANSWERS, to_json(answers))
    return cases


def _make_case(name: str, pixels: np.ndarray, reference: Reference) -> GoldenCase:
    answer = reference.predict(pixels)
    return GoldenCase(
        file=name,
        width=pixels.shape[1],
        height=pixels.shape[0],
        rgb_sha256=hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest(),
        resized=[[*place, *_round(answer.resized[place])] for place in SAMPLES],
        probabilities=_round(answer.probabilities),
        heatmap=[_round(row) for row in answer.heatmap],
    )


def _round(values: np.ndarray) -> list[float]:
    """To eight significant digits."""
    return [float(f"{value:.8g}") for value in values]
