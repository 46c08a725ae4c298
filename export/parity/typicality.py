"""Compare the typicality and distance of an artefact with those that NumPy gives for Keras's feature map."""

from __future__ import annotations

from export.parity.reference import ReferenceAnswer
from export.parity.stages import Stages


def compare_typicality(
    stages: Stages, expected: ReferenceAnswer, distance: float | None, typicality: float | None, name: str
) -> None:
    """Add to the stages `distance` and `typicality`; nothing where an export has neither output.

    Args:
        stages: The stages.
        expected: Keras's answer.
        distance: The artefact's.
        typicality: The artefact's.
        name: Of the artefact and the image.
    """
    if expected.distance is None or expected.typicality is None or distance is None or typicality is None:
        return
    low, high = expected.typicality
    stages.add("distance", abs(distance - expected.distance), name)
    stages.add("typicality", max(low - typicality, typicality - high, 0), name)
