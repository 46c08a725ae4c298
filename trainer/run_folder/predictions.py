"""The rows of a run's prediction tables, named as their columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from covid_tfds.examples import Examples


@dataclass(frozen=True)
class Prediction:
    """A row of predictions.csv: one image of the run's dataset, or of another one, by the final model.

    Attributes:
        image_id: Key of the image in the dataset.
        patient_id: The patient, or the image itself where patients are unknown.
        split: "train" or "test"; empty for a folder that is not split.
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


@dataclass(frozen=True)
class OutOfFoldPrediction:
    """A row of out_of_fold.csv: one image in one repeat of the cross-validation, by a head trained without its patient.

    Attributes:
        image_id: Key of the image in the dataset.
        patient_id: The patient, or the image itself where patients are unknown.
        label: Name of the class.
        repeat: Repeat of the cross-validation, from 0.
        fold: The fold that held the image out, from 0.
        p_covid: Probability of covid in [0, 1].
    """

    image_id: str
    patient_id: str
    label: str
    repeat: int
    fold: int
    p_covid: float


def list_predictions(examples: Examples, p_covid: np.ndarray) -> tuple[Prediction, ...]:
    """Returns one row for each image, in the dataset's order. p_covid: float [n] in [0, 1]."""
    return tuple(
        Prediction(
            image_id=str(examples.image_id[row]),
            patient_id=str(examples.groups[row]),
            split=str(examples.split[row]),
            label=examples.class_names[examples.labels[row]],
            p_covid=float(p_covid[row]),
            sha256=str(examples.sha256[row]),
        )
        for row in range(len(examples))
    )
