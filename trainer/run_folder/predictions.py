"""The rows of a run's prediction tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """A row of predictions.csv: one image of the run's dataset, by the final model.

    Attributes:
        image_id: Key of the image in the dataset.
        patient_id: The patient, or the image itself where patients are unknown.
        split: "train" or "test".
        label: Name of the class.
        p_covid: Probability of covid in [0, 1].
        sha256: SHA-256 of the encoded image.
    """

    image_id: str
    patient_id: str
    split: str
    label: str
    p_covid: float
    sha256: str
