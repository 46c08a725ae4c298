"""Write golden/: drawn radiographs with the right answers, to check a port of the preprocessing to another language."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from covid_tfds.common.files import to_json, write_json
from covid_tfds.imaging import reader
from covid_tfds.phantom.changes import CHANGES
from export.file_names import GOLDEN_ANSWERS
from export.parity.check import Answers
from export.parity.drawn_images import draw_images
from export.parity.stages import Tolerance
from export.runtime.predictor import Prediction

# Whether a port tries the image before its first answer.
CASES = {
    "grey-wide.png": True,
    "colour-tall.png": False,
    "colour-420.jpg": True,
    "colour-small.png": False,
    "16-bit.png": False,
    "alpha.png": True,
    "typical.png": False,
    **{f"{kind.replace(' ', '-')}.png": False for kind in CHANGES},
}
SAMPLES = ((0, 0), (0, 223), (57, 113), (112, 40), (223, 0), (223, 223))  # row, column
ABOUT = (
    "What a port must reproduce, step by step: decoded RGB bytes (rgb_sha256 over height x width x 3, row by row), the "
    "image resized inside the model at some places (resized: row, column, then R, G, B in 0..255), probabilities in "
    "the order of labels, and the heat map: of the trained model, and under `answers` of each model file, whose "
    "tolerances are its own. JPEG decoders other than libjpeg's slow integer one may differ by a few grey levels."
)


@dataclass(frozen=True)
class GoldenAnswer:
    """The answer of one model file.

    Attributes:
        probabilities: In the order of the labels.
        heatmap: The heat map, row by row.
        decision: At the operating point; "declined" where the image is declined.
        decision_argmax: The most probable label.
        typicality: How typical the image is of the training images; None without that output.
        distance: Its distance to them; None without that output.
        declined: Whether it is too unlike them.
    """

    probabilities: list[float]
    heatmap: list[list[float]]
    decision: str
    decision_argmax: str
    typicality: float | None
    distance: float | None
    declined: bool


@dataclass(frozen=True)
class GoldenCase:
    """One image and the right answers.

    Attributes:
        file: Name of the image file.
        width: In pixels.
        height: In pixels.
        rgb_sha256: SHA-256 of the decoded pixels.
        self_test: Whether a port tries this image before its first answer.
        resized: Row, column, R, G, B of the resized image at `SAMPLES`.
        probabilities: The trained model's, in the order of the labels.
        heatmap: The trained model's heat map, row by row.
        answers: Those of each model file, by its name.
    """

    file: str
    width: int
    height: int
    rgb_sha256: str
    self_test: bool
    resized: list[list[float]]
    probabilities: list[float]
    heatmap: list[list[float]]
    answers: dict[str, GoldenAnswer]


def write_golden(
    folder: Path, answers: Mapping[str, Answers], labels: list[str], tolerances: Mapping[str, Tolerance]
) -> None:
    """Write the images and golden.json into `folder`.

    Args:
        folder: Folder to make.
        answers: By the names of the drawn images.
        labels: In the order of the probabilities.
        tolerances: By the names of the model files whose answers are written.
    """
    folder.mkdir()
    cases = []
    for image in draw_images():
        if image.name in CASES:
            (folder / image.name).write_bytes(image.encoded)
            cases.append(_make_case(image.name, reader.decode_raster(image.encoded), answers[image.name], tolerances))
    content = {"about": ABOUT, "labels": labels, "tolerances": {"resized": 0.1, **tolerances}, "cases": cases}
    write_json(folder / GOLDEN_ANSWERS, to_json(content))


def _make_case(name: str, pixels: np.ndarray, answers: Answers, models: Mapping[str, Tolerance]) -> GoldenCase:
    reference = answers.reference
    return GoldenCase(
        file=name,
        width=pixels.shape[1],
        height=pixels.shape[0],
        rgb_sha256=hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest(),
        self_test=CASES[name],
        resized=[[*place, *_round(reference.resized[place])] for place in SAMPLES],
        probabilities=_round(reference.probabilities),
        heatmap=[_round(row) for row in reference.heatmap],
        answers={model: _make_answer(answers.predictions[model]) for model in models},
    )


def _make_answer(prediction: Prediction) -> GoldenAnswer:
    return GoldenAnswer(
        probabilities=_round(list(prediction.probabilities.values())),
        heatmap=[_round(row) for row in prediction.heatmap],
        decision=prediction.decision,
        decision_argmax=prediction.decision_argmax,
        typicality=prediction.typicality,
        distance=prediction.distance,
        declined=prediction.declined,
    )


def _round(values: Sequence[float] | np.ndarray) -> list[float]:
    """To eight significant digits."""
    return [float(f"{value:.8g}") for value in values]
