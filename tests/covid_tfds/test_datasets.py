import hashlib

import numpy as np
import pytest

import covid_tfds
from covid_tfds import datasets
from covid_tfds.common.errors import SourceError, UsageError
from covid_tfds.datasets import load_examples
from covid_tfds.examples import DatasetRequest
from covid_tfds.sources import locate


def hashes(images):
    return [hashlib.sha256(encoded).hexdigest() for encoded in images]


@pytest.fixture(scope="module")
def request_of_phantoms(tmp_path_factory):
    return DatasetRequest(config="phantom", num_examples=40, data_dir=str(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def examples(request_of_phantoms):
    return load_examples(request_of_phantoms)


def test_a_builder_config_is_prepared_when_it_is_not_there(examples):
    assert examples.name == "covid_tfds/phantom_40"
    assert [len(examples.rows(split)) for split in ("train", "validation", "test")] == [32, 0, 8]
    assert examples.class_names == ("covid", "normal")
    assert examples.patients_known
    assert examples.facts["view"].tolist() == ["PA"] * 40
    assert examples.facts["age"].dtype == np.float64
    assert "40 drawn" in examples.description


@pytest.mark.parametrize("rows", [np.arange(40), [39, 0, 31, 32, 33, 2, 2], [5], []])
def test_images_are_read_in_the_order_asked(examples, rows):
    rows = np.asarray(rows, dtype=np.int64)
    assert hashes(examples.read(rows)) == examples.sha256[rows].tolist()


def test_a_part_is_read_by_slices_of_its_split(examples, monkeypatch):
    opened = []
    stream = datasets._stream

    def watched(builder, split, start=None, stop=None):
        opened.append((str(split), int(start), int(stop)))
        return stream(builder, split, start, stop)

    monkeypatch.setattr(datasets, "_stream", watched)
    rows = np.array([3, 4, 6, 33, 34])
    assert hashes(examples.read(rows)) == examples.sha256[rows].tolist()
    assert opened == [("train", 3, 7), ("test", 1, 3)]


def test_slices_are_those_of_the_whole_when_there_are_several_files(tmp_path):
    import tensorflow_datasets as tfds

    builder = covid_tfds.Builder(config=covid_tfds.phantom_config(40), data_dir=tmp_path)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=4))
    examples = load_examples(DatasetRequest(config="phantom", num_examples=40, data_dir=str(tmp_path)))
    assert builder.info.splits["train"].num_shards == 4
    for rows in (np.arange(40), np.array([7, 8, 9, 30, 39])):
        assert hashes(examples.read(rows)) == examples.sha256[rows].tolist()


def test_images_that_cannot_be_had_give_one_line(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise SourceError("50 of 50 images cannot be had:\n- all of them\nRun it again with --manual_dir DIR")

    monkeypatch.setattr(locate, "locate_images", refuse)
    with pytest.raises(UsageError, match=r"50 of 50 .* --manual_dir DIR"):
        load_examples(DatasetRequest(config="curated", data_dir=str(tmp_path)))


def test_curated_keeps_patients_apart(manual_dir, data_dir):
    examples = load_examples(DatasetRequest(config="curated", data_dir=str(data_dir), manual_dir=str(manual_dir)))
    sides = [set(examples.patient_id[examples.rows(split)]) for split in ("train", "test")]
    assert [len(examples.rows(split)) for split in ("train", "test")] == [40, 10]
    assert not sides[0] & sides[1]
