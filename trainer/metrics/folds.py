"""Repeated stratified group k-fold assignment: a patient's images are always in one fold."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from covid_tfds.common.errors import UsageError

FOLDS = 5
REPEATS = 5


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
    result = np.empty((repeats, len(labels)), dtype=np.int64)
    for repeat in range(repeats):
        splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed + repeat)
        for fold, (_, test) in enumerate(splitter.split(labels, labels, patients)):
            result[repeat, test] = fold
    return result
