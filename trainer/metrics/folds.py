"""Repeated stratified group k-fold assignment: a patient's images are always in one fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from covid_tfds.common.errors import UsageError
from trainer.metrics.effort import REPEATS

FOLDS = 5
ATTEMPTS, ANOTHER = 20, 10_000  # tries of an assignment, and what the next one adds to its seed


def assign_folds(
    labels: np.ndarray, patients: np.ndarray, seed: int, repeats: int = REPEATS, most_folds: int = FOLDS
) -> np.ndarray:
    """Returns the fold each image is held out in, int64 [repeats, n], from 0.

    There are `most_folds` folds, or fewer: one for each patient of the rarest class.

    Args:
        labels: int or bool [n]; classes are spread evenly over the folds.
        patients: ids [n]; images of one patient get the same fold.
        seed: Of the first repeat; the next one has seed + 1.
        repeats: Number of assignments.
        most_folds: At least 2.

    Raises:
        UsageError: If there is only one class, or a class has only one patient.

    Example:
        >>> folds = assign_folds(np.array([0, 0, 0, 1, 1]), np.array(["a", "a", "b", "c", "d"]), seed=0, repeats=1)
        >>> bool(folds[0, 0] == folds[0, 1]), len(set(folds[0]))
        (True, 2)
    """
    patients_per_class = [len(np.unique(patients[labels == label])) for label in np.unique(labels)]
    if len(patients_per_class) < 2 or min(patients_per_class) < 2:
        raise UsageError("Cross-validation needs at least two patients of each class in the training split.")
    count = min(most_folds, *patients_per_class)
    return np.stack([_draw_folds(labels, patients, count, seed + repeat) for repeat in range(repeats)])


def _draw_folds(labels: np.ndarray, patients: np.ndarray, count: int, seed: int) -> np.ndarray:
    """One assignment, int64 [n]. It is drawn again where a fold would hold out all images of a class."""
    for attempt in range(ATTEMPTS):
        splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed + attempt * ANOTHER)
        result = np.empty(len(labels), dtype=np.int64)
        for fold, (_, test) in enumerate(splitter.split(labels, labels, patients)):
            result[test] = fold
        if all(len(np.unique(result[labels == label])) > 1 for label in np.unique(labels)):
            return result
    raise UsageError(
        "Cross-validation can't leave images of each class to train on: patients with images of several classes have "
        "nearly all images of one. Leave a class out with --classes, or add patients."
    )


def check_patients(labels: np.ndarray, patients: np.ndarray, class_names: Sequence[str]) -> None:
    """Raises UsageError that names the first class with fewer than two patients among these images.

    Args:
        labels: int [n].
        patients: ids [n].
        class_names: In class order.
    """
    for index, name in enumerate(class_names):
        if (count := len(np.unique(patients[labels == index]))) < 2:
            others = ",".join(other for other in class_names if other != name)
            raise UsageError(
                f"Cross-validation needs at least two patients of each class in the training split, and '{name}' has "
                f"{count}. Add patients{f', or leave the class out with --classes {others}' if ',' in others else ''}."
            )
