"""The stages of the parity check: what each compares, its tolerance, and where to look when it fails."""

from __future__ import annotations

import dataclasses
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from export.file_names import ONNX, ONNX_INT8


@dataclass(frozen=True)
class Stage:
    """One comparison and its result so far.

    Attributes:
        stage: Its name.
        compares: What with what, and the unit of the difference.
        tolerance: The largest difference that passes.
        advice: Where to look when it fails.
        difference: The largest difference; the largest float for one that is not a finite number.
        where: The image it was found on.
        compared: Number of comparisons.
        verdict: "pass" if something was compared and all of it was within the tolerance, else "fail".
    """

    stage: str
    compares: str
    tolerance: float
    advice: str
    difference: float = 0.0
    where: str = ""
    compared: int = 0
    verdict: str = "fail"

    @property
    def passed(self) -> bool:
        """Whether the verdict is "pass"."""
        return self.verdict == "pass"

    def add(self, difference: float, where: str) -> Stage:
        """Returns the stage with one more comparison.

        Example:
            >>> stage = Stage("onnx", "probability, Keras / ONNX Runtime", 1e-5, "Look at the weights.")
            >>> stage = stage.add(2e-6, "a.png").add(1e-6, "b.png")
            >>> stage.difference, stage.where, stage.compared, stage.verdict
            (2e-06, 'a.png', 2, 'pass')
        """
        difference = float(difference) if math.isfinite(difference) else sys.float_info.max
        if self.compared and difference <= self.difference:
            difference, where = self.difference, self.where
        verdict = "pass" if difference <= self.tolerance else "fail"
        compared = self.compared + 1
        return dataclasses.replace(self, difference=difference, where=where, compared=compared, verdict=verdict)

    def __str__(self) -> str:
        if not self.compared:
            return f"{self.compares}: nothing was compared"
        sign = "<=" if self.passed else ">"
        return f"{self.compares}: {self.difference:.2g} {sign} {self.tolerance:g} ({self.compared} compared)"


# In the order in which a fault is best looked for.
STAGES = (
    Stage(
        "interface", "names, types and axes of inputs and outputs, how many are wrong", 0, "README.md describes others."
    ),
    Stage("metadata", "metadata of the model files and model.json, how many entries are wrong", 0, "See metadata.py."),
    Stage("shapes", "shapes of outputs, how many are wrong", 0, "Conversion fixed an axis, or two are swapped."),
    Stage(
        "resized",
        "resized image, Keras / ONNX Runtime, grey levels",
        0.1,
        "See onnx_resize.py: mode, positions, sides.",
    ),
    Stage("saved_model", "probability, Keras / SavedModel", 1e-5, "Is training=True left on somewhere? See repeated."),
    Stage("onnx", "probability, Keras / ONNX Runtime", 1e-5, "If resized passes: see scaling, channel order, weights."),
    Stage("log_odds", "log-odds, Keras / SavedModel and ONNX Runtime", 1e-3, "Near 0 or 1, only this shows: see onnx."),
    Stage("repeated", "log-odds, a call / the same call again", 1e-4, "Dropout or augmentation is left on."),
    Stage("batch", "log-odds, in a batch / alone", 1e-3, "The images of a batch influence each other."),
    Stage("decoders", "decoded image, training / predictor, grey levels", 0, "See the decoders in covid_tfds/imaging."),
    Stage("file", "file to probability, TensorFlow / Pillow and ONNX Runtime", 1e-5, "See decoders, saved_model, onnx"),
    Stage("heatmap", "heat map, GradientTape / ONNX Runtime, relative", 1e-3, "Closed form wrong for this head?"),
    Stage(
        "distance",
        "distance to the training images, NumPy / SavedModel and ONNX Runtime",
        1e-5,
        "See graph/typicality.py.",
    ),
    Stage("typicality", "typicality, as above, beyond what that tolerance explains", 1e-5, "See graph/typicality.py."),
    Stage("training", "file to probability, predictions.csv / ONNX Runtime", 1e-5, "Images or model changed: retrain."),
)
INT8_ADVICE = "8 bits are too few for this run's head: train on more images, or use the float model."
# What was measured on images that int8 was not calibrated on is in export/README.md. A logit that is 1 too high shifts
# the median by 1; transposed heat maps of the small network move theirs by more than 0.25.
INT8_STAGES = (
    Stage("int8_resized", "resized image, Keras / int8, grey levels", 0.1, "The resize is to stay in float."),
    Stage(
        "int8_batch",
        "log-odds, int8, in a batch / alone and again",
        1e-3,
        "The images of a batch influence each other.",
    ),
    Stage("int8", "probability, Keras / int8", 0.03, INT8_ADVICE),
    Stage("int8_log_odds", "log-odds, Keras / int8, relative above 1", 0.3, INT8_ADVICE),
    Stage("int8_heatmap", "heat map, GradientTape / int8, relative", 0.6, INT8_ADVICE),
    Stage("int8_shift", "log-odds, Keras / int8, median over images", 0.25, "Not rounding: see its head."),
    Stage("int8_heatmaps", "heat map, relative, median over images", 0.2, "Not rounding: see the heat map's axes."),
    Stage("int8_decisions", "share of the run's images with another decision, after the first", 0.02, INT8_ADVICE),
    Stage("int8_distance", "distance to the training images, NumPy / int8", 0.02, INT8_ADVICE),
)
STAGE_TOLERANCES = {stage.stage: stage.tolerance for stage in (*STAGES, *INT8_STAGES)}


@dataclass(frozen=True)
class Tolerance:
    """By how much the answers of a model file may differ from the trained model's.

    Attributes:
        probabilities: Largest difference of a probability.
        heatmap_relative_to_its_maximum: Largest difference of a heat map's cell.
        distance: Largest difference of the distance to the training images.
    """

    probabilities: float
    heatmap_relative_to_its_maximum: float
    distance: float


def list_tolerances(folder: Path) -> dict[str, Tolerance]:
    """Returns the tolerance of each model file that is in an export, by its name."""
    of = STAGE_TOLERANCES
    every = {
        ONNX: Tolerance(of["onnx"], of["heatmap"], of["distance"]),
        ONNX_INT8: Tolerance(of["int8"], of["int8_heatmap"], of["int8_distance"]),
    }
    return {name: value for name, value in every.items() if (folder / name).is_file()}


class Stages(dict[str, Stage]):
    """The stages of one parity check, by name."""

    def add(self, stage: str, difference: float, where: str) -> None:
        """Add one comparison to a stage."""
        self[stage] = self[stage].add(difference, where)
