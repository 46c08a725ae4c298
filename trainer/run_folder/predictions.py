"""The rows of a run's prediction tables. Fields are named as the columns; `probabilities` is one column p_<class> each.

There are two rules of decision. At the operating point an image is decided for the positive class, class 0, when its
probability reaches the threshold, else for the most probable of the other classes. By argmax it is decided for the most
probable of all classes. The first of equals counts.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        probabilities: Probability in [0, 1] by class, in class order.
        decision: Class at the operating point.
        decision_argmax: Class with the highest probability.
        sha256: SHA-256 of the encoded image.
    """

    image_id: str
    patient_id: str
    split: str
    label: str
    probabilities: dict[str, float]
    decision: str
    decision_argmax: str
    sha256: str

    @property
    def p_positive(self) -> float:
        """Probability of the positive class."""
        return next(iter(self.probabilities.values()))


@dataclass(frozen=True)
class OutOfFoldPrediction:
    """A row of out_of_fold.csv: one image in one repeat of the cross-validation, by a head trained without its patient.

    out_of_fold_train.csv has the same columns for the cross-validation of the training split alone, on which the run's
    temperature and threshold rest. Log-odds times `temperature` are those before scaling.

    Attributes:
        image_id: Key of the image in the dataset.
        patient_id: The patient, or the image itself where patients are unknown.
        label: Name of the class.
        repeat: Repeat of the cross-validation, from 0.
        fold: The fold that held the image out, from 0.
        probabilities: Probability in [0, 1] by class, in class order.
        threshold: Of the positive class; out_of_fold.csv: chosen on the other folds.
        decision: Class at that threshold.
        decision_argmax: Class with the highest probability.
        temperature: What the log-odds were divided by; out_of_fold.csv: fitted on the other folds.
    """

    image_id: str
    patient_id: str
    label: str
    repeat: int
    fold: int
    probabilities: dict[str, float]
    threshold: float
    decision: str
    decision_argmax: str
    temperature: float

    @property
    def p_positive(self) -> float:
        """Probability of the positive class."""
        return next(iter(self.probabilities.values()))


def decide(probabilities: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    """Returns the decided class of each image at the operating point, int64 [...].

    Args:
        probabilities: float [..., classes] in [0, 1].
        threshold: In [0, 1]; one for all images, or float [...].

    Example:
        >>> decide(np.array([[0.4, 0.5, 0.1], [0.2, 0.3, 0.5]]), threshold=0.3)
        array([0, 2])
    """
    return np.where(probabilities[..., 0] >= threshold, 0, 1 + probabilities[..., 1:].argmax(-1))


def list_predictions(
    examples: Examples, probabilities: np.ndarray, threshold: float, labels: Sequence[str] | None = None
) -> tuple[Prediction, ...]:
    """Returns one row for each image, in the dataset's order.

    Args:
        examples: The images; their class names are the model's.
        probabilities: float [n, classes] in [0, 1].
        threshold: Of the operating point.
        labels: Name of each image's class where that is not the model's.
    """
    names = examples.class_names
    decided, most_probable = decide(probabilities, threshold), probabilities.argmax(-1)
    return tuple(
        Prediction(
            image_id=str(examples.image_id[row]),
            patient_id=str(examples.groups[row]),
            split=str(examples.split[row]),
            label=names[examples.labels[row]] if labels is None else labels[row],
            probabilities=dict(zip(names, probabilities[row].tolist(), strict=True)),
            decision=names[decided[row]],
            decision_argmax=names[most_probable[row]],
            sha256=str(examples.sha256[row]),
        )
        for row in range(len(examples))
    )
