"""The stages of the parity check: what each compares, how far it may differ, and where to look when it does."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Stage:
    """One comparison and the largest difference it has seen.

    compares: what with what, and in which unit. difference: the largest; where: the image it was seen on. flipped: how
    many decisions came out differently, where they are counted.
    """

    compares: str
    tolerance: float
    advice: str
    difference: float = 0.0
    where: str = ""
    compared: int = 0
    flipped: int | None = None

    def add(self, difference: float, where: str) -> None:
        """Take in one more difference; what is not a number counts as infinite."""
        difference = float(difference) if math.isfinite(difference) else math.inf
        self.compared += 1
        if difference > self.difference or not self.where:
            self.difference, self.where = difference, where

    @property
    def passed(self) -> bool:
        """Whether something was compared, and all of it lay within the tolerance."""
        return self.compared > 0 and self.difference <= self.tolerance

    def __str__(self) -> str:
        if not self.compared:
            return f"{self.compares}: nothing was compared"
        sign = "<=" if self.passed else ">"
        flipped = "" if self.flipped is None else f", {self.flipped} decisions flipped"
        return f"{self.compares}: {self.difference:.2g} {sign} {self.tolerance:g} ({self.compared} compared{flipped})"


def stages() -> dict[str, Stage]:
    """All stages, by name, in the order in which a fault is best looked for; nothing compared yet."""
    return {
        "interface": Stage(
            "names, data types and axes of inputs and outputs, how many are wrong",
            0,
            "A signature is not what README.md promises: mend that before all else.",
        ),
        "shapes": Stage(
            "shapes of outputs, how many are wrong", 0, "An axis was fixed in conversion, or two were swapped."
        ),
        "resized": Stage(
            "resized image, Keras / ONNX Runtime, grey levels",
            0.1,
            "Look at the resize: its mode, its sampling positions, height and width.",
        ),
        "saved_model": Stage(
            "probability, Keras / SavedModel", 1e-5, "Is something random left on (training=True)? See repeated."
        ),
        "onnx": Stage(
            "probability, Keras / ONNX Runtime",
            1e-5,
            "If the resized images agree: look at scaling, channel order and weights.",
        ),
        "log_odds": Stage(
            "log-odds, Keras / SavedModel and ONNX Runtime", 1e-3, "A probability near 0 or 1 would hide it: see onnx."
        ),
        "repeated": Stage("log-odds, a call / the same call again", 1e-4, "Dropout or augmentation is left on."),
        "batch": Stage("log-odds, in a batch / alone", 1e-3, "The images of a batch influence each other."),
        "decoders": Stage(
            "decoded image, TensorFlow / Pillow, grey levels",
            0,
            "covid_tfds/decoding.py and export/reading.py read a kind of file differently.",
        ),
        "file": Stage(
            "file to probability, TensorFlow and SavedModel / Pillow and ONNX Runtime",
            1e-5,
            "If the decoders agree: see the stages before.",
        ),
        "heatmap": Stage(
            "heat map, GradientTape / ONNX Runtime, relative", 1e-3, "The closed form does not hold for this head."
        ),
        "training": Stage(
            "file to probability, predictions.csv / ONNX Runtime",
            1e-5,
            "The dataset or model.keras is not what it was in training: train again.",
        ),
        "int8": Stage(
            "file to probability, float / int8", 0.03, "Leave out --int8, or train on more images to calibrate on."
        ),
    }
