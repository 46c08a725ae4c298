"""Compare the typicality and distance of an artefact with those that NumPy gives for Keras's feature map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.parity.reference import ReferenceAnswer
from export.parity.stages import Stages


def drop_typicality(stages: Stages) -> None:
    """Remove the stages of an export that has neither output."""
    for name in stages.keys() & {"distance", "typicality", "int8_distance"}:
        del stages[name]


def compare_typicality(stages: Stages, expected: ReferenceAnswer, found: Mapping[str, Any], name: str) -> None:
    """Add to the stages `distance` and `typicality`; nothing where an export has neither output.

    Args:
        stages: The stages.
        expected: Keras's answer.
        found: The artefact's outputs by name.
        name: Of the artefact and the image.
    """
    if expected.distance is None or expected.typicality is None or "distance" not in stages:
        return
    low, high = expected.typicality
    stages.add("distance", abs(found["distance"] - expected.distance), name)
    stages.add("typicality", max(low - found["typicality"], found["typicality"] - high, 0), name)
