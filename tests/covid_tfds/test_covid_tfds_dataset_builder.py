"""The builder: TFDS's own test case for every config, the real bytes, the command line and what a failure leaves."""

import subprocess
import sys
import tempfile
from collections import Counter
from hashlib import sha256
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import covid_tfds
from covid_tfds.sources import downloads, manifest, network
from tests.fakes.publisher import disguise, lay_out, write_manifest

ROOT = Path(__file__).parents[2]
FEATURES = {
    "image": tf.uint8,
    "label": tf.int64,
    "age": tf.float32,
    "offset_days": tf.float32,
    **dict.fromkeys(
        ["image_id", "patient_id", "source", "finding", "view", "sex", "license", "doi", "sha256"], tf.string
    ),
}


class PhantomTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = covid_tfds.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ("phantom",)
    SPLITS = {"train": 40, "test": 10}  # noqa: RUF012
    EXAMPLE_DIR = tempfile.gettempdir()  # nothing is read from it


class _WithMadeUpImages(tfds.testing.DatasetBuilderTestCase):
    """The manifest's rows over noise, laid out as a manual_dir."""

    DATASET_CLASS = covid_tfds.Builder

    @classmethod
    def setUpClass(cls):
        (config,) = cls.BUILDER_CONFIG_NAMES_TO_TEST
        rows, images = disguise(manifest.read_manifest(config))
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.EXAMPLE_DIR = folder.name
        lay_out(rows, images, Path(folder.name))
        write_manifest(rows, Path(folder.name) / f"{config}.csv")
        patch = mock.patch.object(manifest, "FOLDER", Path(folder.name))
        patch.start()
        cls.addClassCleanup(patch.stop)
        super().setUpClass()


class CuratedTest(_WithMadeUpImages):
    BUILDER_CONFIG_NAMES_TO_TEST = ("curated",)
    SPLITS = {"train": 40, "test": 10}  # noqa: RUF012


class SourceMatchedTest(_WithMadeUpImages):
    BUILDER_CONFIG_NAMES_TO_TEST = ("source_matched",)
    SPLITS = {"train": 70, "test": 18}  # noqa: RUF012


class AsPublishedTest(_WithMadeUpImages):
    BUILDER_CONFIG_NAMES_TO_TEST = ("as_published",)
    SPLITS = {"train": 40, "test": 10}  # noqa: RUF012


# A test case without a config is not one itself.
del _WithMadeUpImages


def prepared(config, data_dir, **download_config):
    builder = covid_tfds.Builder(config=config, data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(**download_config))
    return builder


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return prepared("phantom", tmp_path_factory.mktemp("phantom"))


def undecoded(builder, split):
    return tfds.as_numpy(builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()}))


@pytest.mark.parametrize("config", ["curated", "source_matched", "as_published"])
def test_real_bytes_arrive_untouched(config, manual_dir, tmp_path):
    builder = prepared(config, tmp_path, manual_dir=manual_dir)
    for split in ("train", "test"):
        expected = {row.image_id: row for row in manifest.read_manifest(config) if row.split == split}
        examples = {example["image_id"].decode(): example for example in undecoded(builder, split)}
        assert examples.keys() == expected.keys()
        for image_id, row in expected.items():
            example = examples[image_id]
            assert sha256(example["image"]).hexdigest() == row.sha256 == example["sha256"].decode()
            assert builder.info.features["label"].int2str(example["label"]) == row.label
            for name in ("patient_id", "source", "finding", "view", "sex", "license", "doi"):
                assert example[name].decode() == getattr(row, name)
            np.testing.assert_equal(example["age"], np.float32(row.age))
            np.testing.assert_equal(example["offset_days"], np.float32(row.offset_days))
    assert not list((tmp_path / "downloads" / "covid_tfds").glob("*")), "files of the user are not copied"


def test_configs_and_their_labels():
    others = {
        "phantom": ["normal"],
        "phantom_three_classes": ["normal", "pneumonia"],
        "curated": ["normal"],
        "source_matched": ["other"],
        "as_published": ["normal"],
    }
    assert list(covid_tfds.Builder.builder_configs) == list(others)
    assert covid_tfds.Builder.DEFAULT_BUILDER_CONFIG_NAME == "curated"
    for name in others:
        features = covid_tfds.Builder(config=name, data_dir="/nowhere").info.features
        assert features["label"].names == ["covid", *others[name]]
        assert {key: feature.tf_dtype for key, feature in features.items()} == FEATURES
        assert features["image"].shape == (None, None, 3)


def test_what_the_dataset_says_of_itself():
    info = covid_tfds.Builder(config="as_published", data_dir="/nowhere").info
    assert "18 of its 25" in " ".join(info.description.split())
    assert "18 of its 25 'normal' files" in info.config_description
    assert [info.citation.count(author) for author in ("Rosebrock", "Cohen", "Kermany")] == [1, 1, 1]
    assert info.supervised_keys == ("image", "label")
    assert info.homepage.startswith("https://")
    assert "own licence" in info.redistribution_info.license
    assert info.release_notes.keys() == {"1.0.0"}
    assert covid_tfds.Builder.get_metadata().tags == [
        "content.data-type.image",
        "content.subject.health",
        "ml.task.image-classification",
    ]


def test_phantom_is_balanced_and_its_hashes_are_true(phantom):
    examples = [example for split in ("train", "test") for example in undecoded(phantom, split)]
    assert Counter(example["label"] for example in examples) == {0: 25, 1: 25}
    assert len({example["image_id"] for example in examples}) == 50
    for example in examples:
        assert sha256(example["image"]).hexdigest() == example["sha256"].decode()
        assert np.isnan(example["offset_days"])


def test_phantom_of_another_size_lies_beside_the_usual_one(tmp_path):
    config = covid_tfds.phantom_config(10)
    builder = prepared(config, tmp_path)
    assert sum(split.num_examples for split in builder.info.splits.values()) == 10
    assert all(split.num_examples for split in builder.info.splits.values())
    assert builder.data_path.parent.name == "phantom_10"
    with pytest.raises(ValueError, match=r"num_examples\b.* 9\b.* 10\b"):
        covid_tfds.phantom_config(9)


def test_load_by_name_after_import(phantom):
    dataset = tfds.load("covid_tfds/phantom", split="train", data_dir=phantom.data_dir_root, as_supervised=True)
    image, label = next(iter(dataset))
    assert image.shape[-1] == 3
    assert label in (0, 1)


def test_figures_and_tables(phantom):
    import matplotlib

    matplotlib.use("Agg")
    dataset = phantom.as_dataset(split="test")
    assert tfds.show_examples(dataset, phantom.info).axes
    table = tfds.as_dataframe(dataset, phantom.info)
    assert len(table) == 10
    assert set(table.columns) == set(FEATURES)


def test_missing_manual_dir_is_refused_before_any_network(tmp_path, publisher):
    with pytest.raises(covid_tfds.SourceError, match=r"manual_dir .*typo"):
        prepared("curated", tmp_path, manual_dir=tmp_path / "typo")
    assert publisher.requests == []


def test_a_failed_build_leaves_nothing_half_prepared(tmp_path, publisher):
    with pytest.raises(covid_tfds.SourceError, match=r"covid_tfds/curated: 50\b.* 50\b"):
        prepared("curated", tmp_path)
    assert [path.name for path in (tmp_path / "covid_tfds" / "curated").iterdir()] == [".lock"]
    assert not covid_tfds.Builder(config="curated", data_dir=tmp_path).is_prepared()


def test_tfds_build_without_a_network_builds_phantom_then_ends_with_one_error(tmp_path, monkeypatch):
    from tensorflow_datasets.scripts.cli import main as cli

    nobody = "http://127.0.0.1:9"
    monkeypatch.setattr(network, "ALLOWED_ADDRESSES", (nobody,))
    for name in ("GITHUB", "KAGGLE", "MENDELEY"):
        monkeypatch.setattr(downloads, name, nobody)
    monkeypatch.chdir(ROOT)
    command = cli._parse_flags(["tfds", "build", "covid_tfds", "--data_dir", str(tmp_path)])
    with pytest.raises(covid_tfds.SourceError, match=r"covid_tfds/curated: 50\b.* 50\b"):
        command.execute()
    assert covid_tfds.Builder(config="phantom", data_dir=tmp_path).is_prepared()


def test_the_command_prints_the_error_without_a_traceback(tmp_path):
    missing = tmp_path / "typo"
    tfds_command = "import tensorflow_datasets.scripts.cli.main as cli; cli.launch_cli()"
    build = ["build", "covid_tfds", "--config", "curated", "--data_dir", tmp_path, "--manual_dir", missing]
    ended = subprocess.run(
        [sys.executable, "-c", tfds_command, *build], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert "SourceError" in ended.stderr.splitlines()[-1]
    assert str(missing) in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_building_and_reading_need_no_tensorflow(tmp_path):
    program = f"""
import sys
import covid_tfds
config = covid_tfds.phantom_config(10)
builder = covid_tfds.Builder(config=config, data_dir={str(tmp_path)!r}, file_format="array_record")
builder.download_and_prepare()
example = builder.as_data_source(split="test")[0]
assert example["image"].shape[2] == 3, example["image"].shape
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
