"""The real three-class set trains in every layout to the same metrics."""

import os

import pytest

from covid_tfds.common.files import read_json
from covid_tfds.examples import DatasetRequest
from tests.fakes.three_classes import LAYOUTS, list_images, write_layout
from trainer.__main__ import main
from trainer.config import Config
from trainer.features.training_set import load_training_set


@pytest.fixture(scope="module")
def images(manual_dir):
    return list_images(manual_dir)


@pytest.fixture(scope="module")
def splits(images, tmp_path_factory):
    """The split that is drawn for the flat layout, which the others state."""
    drawn_of = {image.name: "train" for image in images}
    folder = write_layout(images, drawn_of, tmp_path_factory.mktemp("drawn") / "flat", "flat")
    examples = load_training_set(Config(data=DatasetRequest(dataset=str(folder))))
    return {name.rpartition("/")[2]: split for name, split in zip(examples.image_id, examples.split, strict=True)}


def test_every_layout_gives_the_same_examples(images, splits, tmp_path):
    found = {}
    for layout in LAYOUTS:
        dataset = write_layout(images, splits, tmp_path / layout, layout)
        examples = load_training_set(Config(data=DatasetRequest(dataset=str(dataset))))
        assert examples.class_names == ("covid", "normal", "pneumonia")
        columns = (examples.sha256, examples.labels, examples.groups, examples.split)
        found[layout] = [column.tolist() for column in columns]
    assert len(found["flat"][0]) == 68
    assert all(columns == found["flat"] for columns in found.values())


@pytest.mark.slow
def test_every_layout_trains_to_the_same_metrics(images, splits, tmp_path):
    weights = os.environ.get("COVID_TFDS_WEIGHTS")
    if not weights:
        pytest.skip("COVID_TFDS_WEIGHTS is not set")
    metrics = {}
    for layout in LAYOUTS:
        dataset = write_layout(images, splits, tmp_path / layout, layout)
        output = tmp_path / "runs" / layout
        assert main(["--dataset", str(dataset), "--weights", weights, "--epochs", "5", "--output", str(output)]) == 0
        metrics[layout] = {name: read_json(output / "metrics.json")[name] for name in ("test", "cross_validation")}
    assert all(found == metrics["flat"] for found in metrics.values())
