"""Who is judged by a head that never saw them: repeated, stratified, patient-grouped folds. Never TensorFlow."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from covid_tfds.common.errors import UsageError

FOLDS = 5
REPEATS = 5


def assign(
    labels: np.ndarray, patients: np.ndarray, seed: int, repeats: int = REPEATS, count: int = FOLDS
) -> np.ndarray:
    """The fold each image is tested in, int64 [repeats, n]; a patient's images share one, classes are spread evenly.

    labels: int [n], two classes. patients: ids [n]. There are `count` folds, or one a patient of the rarer class.
    Raises UsageError when a class has one patient only, or none.
    """
    count = min(count, *(len(np.unique(patients[labels == label])) for label in (0, 1)))
    if count < 2:
        raise UsageError("Cross-validation needs at least two patients of each class in the training split.")
    result = np.empty((repeats, len(labels)), dtype=np.int64)
    for repeat in range(repeats):
        splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed + repeat)
        for fold, (_, test) in enumerate(splitter.split(labels, labels, patients)):
            result[repeat, test] = fold
    return result
