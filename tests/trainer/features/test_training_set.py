import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.examples import DatasetRequest
from tests.fakes.examples import make_examples
from trainer.config import Config
from trainer.features import training_set
from trainer.features.training_set import load_training_set

SPLITS = ("train", "test")


def wanted(folder, **flags):
    return Config(data=DatasetRequest(dataset=str(folder)), **flags)


def test_a_folder_is_split_80_to_20_by_class(phantom_folder):
    examples = load_training_set(wanted(phantom_folder))
    assert [len(examples.rows(split)) for split in SPLITS] == [16, 4]
    assert sorted(examples.labels[examples.rows("test")]) == [0, 0, 1, 1]


def test_the_seed_decides_the_split(phantom_folder):
    splits = [load_training_set(wanted(phantom_folder, seed=seed)).split.tolist() for seed in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]


def test_a_patient_is_kept_on_one_side():
    patients = [f"{'covid' if row < 10 else 'normal'}-{row // 2}" for row in range(20)]
    examples = training_set.draw_split(make_examples([0] * 10 + [1] * 10, patient_id=np.asarray(patients)), seed=42)
    sides = [set(examples.patient_id[examples.rows(split)]) for split in SPLITS]
    assert all(sides)
    assert not sides[0] & sides[1]


def test_a_class_of_four_patients_cannot_be_split():
    examples = make_examples([0] * 5 + [1] * 5, patient_id=np.asarray(list("aabcdefghi")))
    with pytest.raises(UsageError, match="'covid' has fewer than 5 patients"):
        training_set.draw_split(examples, seed=42)


def test_a_class_that_a_split_lacks_is_named(monkeypatch):
    examples = make_examples([0, 1, 0], split=np.asarray(["train", "train", "test"]))
    monkeypatch.setattr(training_set, "load_examples", lambda _: examples)
    with pytest.raises(UsageError, match="'normal' image in the test split"):
        load_training_set(Config())


def test_a_batch_larger_than_the_training_split(phantom_folder):
    with pytest.raises(UsageError, match=r"--batch_size 17 .*16 images"):
        load_training_set(wanted(phantom_folder, batch_size=17))
