import numpy as np
import pytest

from covid_tfds.examples import DatasetRequest
from trainer.config import Config
from trainer.features import pipelines
from trainer.features.training_set import load_training_set
from trainer.recipes import Augmentation

ROTATION = Augmentation(rotation=15.0)


@pytest.fixture(scope="module")
def examples(phantom_folder):
    return load_training_set(Config(data=DatasetRequest(dataset=str(phantom_folder))))


def test_eval_pipeline_keeps_order_and_every_image(examples):
    rows = np.array([1, 4, 19])
    images = np.concatenate([batch.numpy() for batch in pipelines.eval_pipeline(examples, rows, 2)])
    assert images.shape == (3, 224, 224, 3)
    assert images.dtype == np.float32
    single = [next(iter(pipelines.eval_pipeline(examples, np.array([row]), 1)))[0].numpy() for row in rows]
    np.testing.assert_array_equal(images, single)


def test_train_pipeline_augments_anew_each_epoch(examples):
    rows = examples.rows("train")
    dataset = pipelines.train_pipeline(examples, rows, ROTATION, 4, seed=1)
    first, second = (sorted(float(image.numpy().sum()) for image, _ in dataset.unbatch()) for _ in range(2))
    assert len(first) == len(rows)
    assert first != second


def test_train_pipeline_pairs_images_with_their_labels(examples):
    rows = examples.rows("train")
    plain = np.concatenate([batch.numpy() for batch in pipelines.eval_pipeline(examples, rows, 8)])
    label_of = {image.sum(): label for image, label in zip(plain, examples.labels[rows], strict=True)}
    for images, labels in pipelines.train_pipeline(examples, rows, Augmentation(), 4, seed=1):
        for image, label in zip(images.numpy(), labels.numpy(), strict=True):
            assert label[label_of[image.sum()]] == 1


def test_train_pipeline_is_seeded(examples):
    rows = examples.rows("train")
    runs = [
        np.concatenate([image.numpy() for image, _ in pipelines.train_pipeline(examples, rows, ROTATION, 4, seed=seed)])
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_images_to_show_are_those_of_the_eval_pipeline_and_decoded_once(examples, monkeypatch):
    rows = np.array([3, 1, 3])
    monkeypatch.setattr(pipelines, "_shown", {})
    monkeypatch.setattr(pipelines, "MOST_SHOWN", 2)
    wanted = np.concatenate([batch.numpy() for batch in pipelines.eval_pipeline(examples, rows, 2)])
    np.testing.assert_array_equal(pipelines.read_images(examples, rows), wanted)
    read = []
    real = pipelines.read_checked
    monkeypatch.setattr(pipelines, "read_checked", lambda data, rows: read.append(len(rows)) or real(data, rows))
    np.testing.assert_array_equal(pipelines.read_images(examples, rows[::-1]), wanted[::-1])
    pipelines.read_images(examples, np.array([0]))
    pipelines.read_images(examples, np.array([3]))
    assert read == [1, 1]
