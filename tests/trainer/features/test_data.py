import dataclasses
import shutil

import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.examples import DatasetRequest
from trainer.config import Config
from trainer.features import data


@pytest.fixture(scope="module")
def examples(phantom_folder):
    return data.load(Config(data=DatasetRequest(dataset=str(phantom_folder))))


@pytest.fixture
def copied(phantom_folder, tmp_path):
    return shutil.copytree(phantom_folder, tmp_path / "copied")


def test_a_folder_in_the_tutorials_layout(examples):
    assert examples.class_names == ("covid", "normal")
    assert len(examples) == 20
    assert [len(examples.rows(split)) for split in data.SPLITS] == [16, 4]
    assert sorted(examples.labels[examples.rows("test")]) == [0, 0, 1, 1]
    assert not examples.grouped


def test_the_positive_class_is_index_zero(examples):
    for image_id, label in zip(examples.image_id, examples.labels, strict=True):
        assert (label == 0) == image_id.startswith("covid/")


def test_the_seed_decides_the_split(phantom_folder):
    splits = [
        data.load(Config(data=DatasetRequest(dataset=str(phantom_folder)), seed=seed)).split.tolist()
        for seed in (1, 1, 2)
    ]
    assert splits[0] == splits[1] != splits[2]


def test_patients_csv_keeps_a_patient_on_one_side(copied):
    names = [path.relative_to(copied).as_posix() for path in sorted(copied.glob("*/*.png"))]
    lines = [f"{name},{name.split('/')[0]}-{index // 2}" for index, name in enumerate(names)]
    (copied / "patients.csv").write_text("\n".join(["path,patient_id", *lines]))
    examples = data.load(Config(data=DatasetRequest(dataset=str(copied))))
    assert examples.grouped
    sides = [set(examples.patient_id[examples.rows(split)]) for split in data.SPLITS]
    assert not sides[0] & sides[1]


def test_patients_csv_must_name_every_image(copied):
    (copied / "patients.csv").write_text("path,patient_id\n")
    with pytest.raises(UsageError, match="20 image"):
        data.load(Config(data=DatasetRequest(dataset=str(copied))))


def test_patients_csv_must_have_its_columns(copied):
    (copied / "patients.csv").write_text("file,who\n")
    with pytest.raises(UsageError, match="path,patient_id"):
        data.load(Config(data=DatasetRequest(dataset=str(copied))))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: [shutil.rmtree(path) for path in folder.iterdir()], "no images found"),
        (lambda folder: shutil.rmtree(folder / "normal"), r"got the class folder\(s\) covid"),
        (lambda folder: (folder / "covid").rename(folder / "ill"), r"got the class folder\(s\) ill, normal"),
        (lambda folder: [path.unlink() for path in (folder / "normal").iterdir()], "'normal' holds no images"),
        (lambda folder: [path.unlink() for path in sorted((folder / "covid").iterdir())[4:]], "fewer than 5"),
    ],
)
def test_folders_that_cannot_be_trained_on(copied, spoil, message):
    spoil(copied)
    with pytest.raises(UsageError, match=message):
        data.load(Config(data=DatasetRequest(dataset=str(copied))))


def test_a_batch_larger_than_the_data(phantom_folder):
    with pytest.raises(UsageError, match="larger than the training split"):
        data.load(Config(data=DatasetRequest(dataset=str(phantom_folder)), batch_size=17))


def test_fingerprint_ignores_order_and_sees_every_fact(examples):
    order = np.random.default_rng(0).permutation(len(examples))
    names = ("image_id", "patient_id", "labels", "split", "sha256")
    shuffled = dataclasses.replace(examples, **{name: getattr(examples, name)[order] for name in names})
    assert shuffled.fingerprint == examples.fingerprint
    for name in names:
        changed = getattr(examples, name).copy()
        changed[3] = changed[-1]
        if not np.array_equal(changed, getattr(examples, name)):
            assert dataclasses.replace(examples, **{name: changed}).fingerprint != examples.fingerprint


def test_phantom_config_is_prepared_when_it_is_not_there(tmp_path):
    examples = data.load(Config(data=DatasetRequest(config="phantom", data_dir=str(tmp_path))))
    assert [len(examples.rows(split)) for split in data.SPLITS] == [40, 10]
    assert examples.grouped
    assert examples.facts["view"].tolist() == ["PA"] * 50


def test_images_that_cannot_be_had_give_one_line(tmp_path, monkeypatch):
    import covid_tfds
    from covid_tfds.common.errors import SourceError

    def refuse(*args, **kwargs):
        raise SourceError("50 of 50 images cannot be had:\n- all of them\nRun it again with --manual_dir DIR")

    monkeypatch.setattr(covid_tfds.covid_tfds_dataset_builder.sources, "locate", refuse)
    with pytest.raises(UsageError, match="cannot be had: - all of them Run it again with --manual_dir DIR"):
        data.load(Config(data=DatasetRequest(config="curated", data_dir=str(tmp_path))))


def test_curated_keeps_patients_apart(manual_dir, tmp_path):
    examples = data.load(
        Config(data=DatasetRequest(config="curated", data_dir=str(tmp_path), manual_dir=str(manual_dir)))
    )
    sides = [set(examples.patient_id[examples.rows(split)]) for split in data.SPLITS]
    assert [len(examples.rows(split)) for split in data.SPLITS] == [40, 10]
    assert not sides[0] & sides[1]


def test_a_subset_holds_nothing_of_the_others(examples):
    rows = examples.rows("test")
    part = examples.subset(rows)
    assert list(part.image_id) == list(examples.image_id[rows])
    assert list(part.split) == ["test"] * len(rows)
    everything = list(examples.encoded().as_numpy_iterator())
    assert list(part.encoded().as_numpy_iterator()) == [everything[row] for row in rows]
    assert all(len(values) == len(rows) for values in part.facts.values())
