"""Compare the int8 model with the trained model, on images that it was not calibrated on.

Rounding moves each answer a little, this way and that; a fault moves all of them one way. So limits that a single
image's rounding needs are wide, and those of the medians over all images are narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.file_names import ONNX, ONNX_INT8
from export.parity.reference import ReferenceAnswer, compare_heat_maps, compare_log_odds, subtract_log_odds
from export.parity.stages import Stages
from export.run_images import EncodedImage
from export.runtime.predictor import Prediction


@dataclass(frozen=True)
class Int8Difference:
    """How int8's answer to an image differs from the trained model's.

    Attributes:
        name: Of the image.
        shift: Of the log-odds, float64 [K - 1].
        heat: Largest difference of a heat map's cell, relative; None where the heat map is empty.
        changed: Whether a decision is another one; None for a drawn image, whose decision means nothing.
    """

    name: str
    shift: np.ndarray
    heat: float | None
    changed: bool | None


def compare_int8(
    stages: Stages, answers: Mapping[str, Prediction], expected: ReferenceAnswer, image: EncodedImage
) -> Int8Difference:
    """Add one image to the stages of int8; of a drawn one only what `summarize_int8` adds.

    Drawn images are unlike those that int8 was calibrated on (negatives, two grey levels, noise), and each may be off
    by more than a radiograph is.

    Args:
        stages: The stages.
        answers: Of the model files, by name.
        expected: Keras's answer.
        image: The image.
    """
    float_answer, answer = answers[ONNX], answers[ONNX_INT8]
    found, right = np.asarray(list(answer.probabilities.values())), expected.probabilities
    heat = compare_heat_maps(answer.heatmap, expected)
    if image.probabilities is not None:
        stages.add("int8", float(np.abs(found - right).max()), image.name)
        scale = max(1.0, compare_log_odds(right, np.ones_like(right)))
        stages.add("int8_log_odds", compare_log_odds(found, right) / scale, image.name)
        stages.add("int8_heatmap", heat, image.name)
        if expected.distance is not None and answer.distance is not None:
            stages.add("int8_distance", abs(answer.distance - expected.distance), image.name)
    same = (answer.decision, answer.decision_argmax) == (float_answer.decision, float_answer.decision_argmax)
    return Int8Difference(
        image.name,
        subtract_log_odds(found, right),
        heat if expected.heatmap.any() else None,
        None if image.probabilities is None else not same,
    )


def summarize_int8(stages: Stages, differences: Sequence[Int8Difference]) -> None:
    """Add the share of other decisions and the medians over the images."""
    if not differences:
        return
    if decisions := [one.changed for one in differences if one.changed is not None]:
        # One may change whatever their number: among few images that is more than any small share.
        share = max(0, sum(decisions) - 1) / len(decisions)
        stages.add("int8_decisions", share, ", ".join(one.name for one in differences if one.changed))
    shifts = np.median([one.shift for one in differences], axis=0)
    stages.add("int8_shift", float(np.abs(shifts).max()), f"{len(differences)} images")
    heats = [one.heat for one in differences if one.heat is not None]
    stages.add("int8_heatmaps", float(np.median(heats)) if heats else 0.0, f"{len(heats)} images")
