import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from trainer.metrics.folds import FOLDS, REPEATS, assign_folds

PATIENTS = np.repeat(np.arange(24), 2)
LABELS = (PATIENTS % 2).astype(int)


def test_every_image_is_held_out_once_a_repeat_with_its_patient():
    found = assign_folds(LABELS, PATIENTS, seed=3)
    assert found.shape == (REPEATS, 48)
    for repeat in found:
        assert set(repeat) == set(range(FOLDS))
        for patient in range(24):
            assert len(set(repeat[2 * patient : 2 * patient + 2])) == 1


def test_both_classes_are_in_every_fold_and_repeats_differ():
    found = assign_folds(LABELS, PATIENTS, seed=3)
    for repeat in found:
        for fold in range(FOLDS):
            assert set(LABELS[repeat == fold]) == {0, 1}
    assert not np.array_equal(found[0], found[1])
    np.testing.assert_array_equal(found, assign_folds(LABELS, PATIENTS, seed=3))


def test_few_patients_give_fewer_folds():
    patients = np.asarray([0, 0, 0, 1, 1, 2, 3, 4, 5, 6])
    labels = np.asarray([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    assert assign_folds(labels, patients, seed=0).max() == 1
    with pytest.raises(UsageError, match="two patients"):
        assign_folds(labels[2:], np.where(patients < 2, 0, patients)[2:], seed=0)
    with pytest.raises(UsageError, match="two patients"):
        assign_folds(np.zeros(10, dtype=int), patients, seed=0)
