import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from trainer.metrics.effort import REPEATS
from trainer.metrics.folds import FOLDS, assign_folds, check_patients

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


def test_a_rare_class_is_trained_on_in_every_fold():
    """Two patients of the rare class, who have images of a frequent class, too."""
    labels = np.concatenate([np.repeat([0, 1, 2], 20), [3, 3, 3]])
    patients = np.concatenate([np.arange(60) // 2, [0, 0, 12]])
    for repeat in assign_folds(labels, patients, seed=0, repeats=20):
        for fold in range(repeat.max() + 1):
            assert set(labels[repeat != fold]) == {0, 1, 2, 3}


def test_a_class_with_too_few_patients_is_named():
    with pytest.raises(UsageError, match=r"'rare' has 1") as refusal:
        check_patients(np.asarray([0, 0, 1, 1, 2, 2]), np.asarray([1, 2, 3, 4, 5, 5]), ("a", "b", "rare"))
    assert "--classes a,b" in str(refusal.value)
    with pytest.raises(UsageError, match="'b' has 0") as refusal:
        check_patients(np.asarray([0, 0]), np.asarray([1, 2]), ("a", "b"))
    assert "--classes" not in str(refusal.value)
