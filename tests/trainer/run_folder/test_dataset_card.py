import dataclasses

import numpy as np
import pytest

from covid_tfds.examples import UNKNOWN
from tests.fakes.examples import make_examples
from trainer.run_folder.dataset_card import Ages, describe_dataset


@pytest.fixture
def examples():
    sex, age = np.asarray(["F", "M", "F", "", "", ""]), np.asarray([30, 50, np.nan, 4, np.nan, np.nan])
    return make_examples(
        [0, 0, 0, 1, 1, 1],
        patient_id=np.asarray(["p1", "p1", "p2", "p3", "p4", "p5"]),
        split=np.asarray(["train", "train", "test", "train", "train", "test"]),
        facts={"sex": sex, "age": age},
        description="Made by hand.",
    )


def test_groups_are_counted(examples):
    card = describe_dataset(examples)
    assert (card.images, card.patients, card.patients_in_both_splits) == (6, 5, 0)
    group = card.groups[0]
    assert (group.split, group.class_name, group.images, group.patients) == ("train", "covid", 2, 1)
    assert group.age == Ages(2, 30.0, 40.0, 50.0)
    assert group.sex == {"F": 1, "M": 1}
    assert card.groups[3].age == Ages(0, None, None, None)
    assert card.groups[3].sex == {"not stated": 1}
    assert card.description == "Made by hand."


def test_a_patient_in_both_splits_is_counted(examples):
    both = dataclasses.replace(examples, patient_id=np.asarray(["p1", "p1", "p1", "p3", "p4", "p4"]))
    assert describe_dataset(both).patients_in_both_splits == 2


def test_unknown_patients_are_not_counted(examples):
    card = describe_dataset(dataclasses.replace(examples, patient_id=np.full(6, UNKNOWN)))
    assert card.patients is None
    assert card.patients_in_both_splits is None
    assert card.groups[0].patients is None
