"""golden/: drawn radiographs and the right answers, for whoever ports the preprocessing to another language."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from covid_tfds.common.files import write_json
from covid_tfds.imaging import reader
from export.parity import images
from export.parity.reference import Reference

CASES = ("grey-wide.png", "colour-tall.png", "colour-420.jpg", "colour-small.png", "16-bit.png", "alpha.png")
FOLDER, ANSWERS = "golden", "golden.json"
SAMPLES = ((0, 0), (0, 223), (57, 113), (112, 40), (223, 0), (223, 223))  # row, column
ABOUT = (
    "What a port must reproduce, step by step: decoded RGB bytes (rgb_sha256 over height x width x 3, row by row), the "
    "image resized inside the model at some places (resized: row, column, then R, G, B in 0..255), probabilities in "
    "the order of labels, and the heat map. JPEG decoders other than libjpeg's slow integer one may differ by a few "
    "grey levels."
)


def write(folder: Path, reference: Reference, labels: list[str]) -> None:
    """Write the images and golden.json into `folder`. The answers are Keras's."""
    folder.mkdir()
    cases = []
    for picture in images.phantoms():
        if picture.name in CASES:
            (folder / picture.name).write_bytes(picture.encoded)
            cases.append(_case(picture, reference))
    tolerances = {"resized": 0.1, "probabilities": 1e-5, "heatmap_relative_to_its_maximum": 1e-3}
    answers = {"about": ABOUT, "labels": labels, "tolerances": tolerances, "cases": cases}
    write_json(folder / ANSWERS, answers)


def _case(picture: images.Picture, reference: Reference) -> dict:
    pixels = reader.decode(picture.encoded)
    expected = reference(pixels)
    return {
        "file": picture.name,
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "rgb_sha256": hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest(),
        "resized": [[*place, *_numbers(expected.resized[place])] for place in SAMPLES],
        "probabilities": _numbers(expected.probabilities),
        "heatmap": [_numbers(row) for row in expected.heatmap],
    }


def _numbers(values: np.ndarray) -> list[float]:
    return [float(f"{value:.8g}") for value in values]
