import argparse
import dataclasses

import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.common.flags import from_namespace
from covid_tfds.examples import UNKNOWN, DatasetRequest, add_dataset_flags
from tests.fakes.examples import make_examples


def parsed(*argv, **options):
    parser = argparse.ArgumentParser()
    add_dataset_flags(parser, **options)
    return from_namespace(DatasetRequest, parser.parse_args(argv))


def test_flags_fill_the_request():
    assert parsed() == DatasetRequest(config="curated")
    flags = ["--config", "phantom", "--num_examples", "12", "--data_dir", "d"]
    assert parsed(*flags) == DatasetRequest(config="phantom", num_examples=12, data_dir="d")


@pytest.mark.parametrize(
    ("argv", "options"),
    [
        (["--config", "no_such"], {}),
        (["--config", "phantom", "--dataset", "d"], {}),
        (["--num_examples", "many"], {}),
        ([], {"required": True}),
    ],
)
def test_bad_flags_end_with_exit_code_2(argv, options):
    with pytest.raises(SystemExit) as stop:
        parsed(*argv, **options)
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"num_examples": 100}, "--num_examples"),
        ({"config": "phantom", "num_examples": 9}, "--num_examples"),
        ({"dataset": "no/such"}, "--dataset no/such"),
        ({"manual_dir": "no/such"}, "--manual_dir no/such"),
    ],
)
def test_what_can_be_seen_to_be_wrong_is_refused(changes, named):
    with pytest.raises(UsageError, match=named):
        DatasetRequest(**changes).validate()


def test_its_name_is_the_configs_or_the_folders(tmp_path, monkeypatch):
    assert DatasetRequest(config="phantom").name == "phantom"
    monkeypatch.chdir(tmp_path)
    assert DatasetRequest(dataset=".").name == tmp_path.name


def test_the_configs_are_the_builders():
    import covid_tfds
    from covid_tfds.examples import BUILDER_CONFIGS, FULL_CONFIG

    assert [*covid_tfds.Builder.builder_configs, FULL_CONFIG] == list(BUILDER_CONFIGS)
    assert DatasetRequest().config == covid_tfds.Builder.DEFAULT_BUILDER_CONFIG_NAME


def test_a_class_is_found_by_its_name():
    examples = make_examples([0, 1, 2, 0], class_names=("covid", "normal", "pneumonia"))
    assert examples.is_class("covid").tolist() == [True, False, False, True]
    assert examples.is_class("pneumonia").tolist() == [False, False, True, False]


def test_an_image_of_an_unknown_patient_is_a_group_of_its_own():
    examples = make_examples([0, 0, 1], patient_id=np.asarray(["p", UNKNOWN, UNKNOWN]))
    assert examples.groups.tolist() == ["p", "image-1", "image-2"]
    assert not examples.patients_known
    assert examples.known_patients is None
    assert make_examples([0, 1]).patients_known


def test_a_subset_holds_nothing_of_the_others():
    examples = make_examples([0, 1, 0, 1])
    part = examples.subset(np.array([3, 1])).subset(np.array([1, 0]))
    assert part.image_id.tolist() == ["image-1", "image-3"]
    assert list(part.read(np.array([1, 0, 1]))) == [b"image 3", b"image 1", b"image 3"]
    assert all(len(values) == 2 for values in part.facts.values())
    with pytest.raises(IndexError):
        list(part.read(np.array([2])))


def test_fingerprint_ignores_order_and_sees_every_fact():
    examples = make_examples([0, 1, 0, 1], split=np.asarray(["train", "train", "test", "test"]))
    assert examples.subset(np.array([2, 0, 3, 1])).fingerprint == examples.fingerprint
    for name in ("image_id", "patient_id", "labels", "split", "sha256"):
        changed = getattr(examples, name).copy()
        changed[0] = changed[-1]
        assert dataclasses.replace(examples, **{name: changed}).fingerprint != examples.fingerprint


def test_groups_are_patients_and_files_with_the_same_bytes():
    encoded = [b"1", b"2", b"2", b"3", b"4", b"1"]
    patients = np.asarray(["p2", "p2", "p1", "p3", "", ""])
    examples = make_examples([0] * 6, encoded, patient_id=patients)
    assert examples.groups.tolist() == ["image-5", "image-5", "image-5", "p3", "image-4", "image-5"]
    assert make_examples([0, 1]).groups.tolist() == ["patient-0", "patient-1"]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"patient_pattern": "("}, "regular expression"),
        ({"patient_pattern": "person"}, "one group.*got 0"),
        ({"exclude": "no-such.csv"}, r"no-such\.csv"),
    ],
)
def test_flags_of_folders(tmp_path, flags, named):
    with pytest.raises(UsageError, match=named):
        DatasetRequest(dataset=str(tmp_path), **flags).validate()
    with pytest.raises(UsageError, match="--dataset only"):
        DatasetRequest(**flags).validate()
