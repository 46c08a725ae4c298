import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from covid_tfds.common.errors import UsageError
from trainer.models import heads
from trainer.models.head_fitting import DivergedError
from trainer.models.tutorial_fit import fit_tutorial
from trainer.recipes import Recipe

N = 16
RECIPE = Recipe(pooling="average", units=4, epochs=4)
LABELS = np.arange(N) % 2
MAPS = np.random.default_rng(0).normal(size=(N, 2, 2, 3)).astype(np.float32) + LABELS[:, None, None, None]


@pytest.fixture(autouse=True)
def deterministic():
    keras.utils.set_random_seed(1)


def fit(path, recipe=RECIPE, about=None, maps=MAPS):
    """A head trained with dropout and shuffled batches, and its history."""
    head = heads.build_head(recipe, maps.shape[1:], classes=2, seed=1)
    pairs = tf.data.Dataset.from_tensor_slices((maps, heads.one_hot(LABELS, 2)))
    train = pairs.shuffle(N, seed=1).batch(recipe.batch_size)
    history = fit_tutorial(head, head, recipe, train, 2, pairs.batch(8), path, about or {"images": 1})
    return head.get_weights(), history


def test_a_resumed_training_ends_as_an_undisturbed_one(tmp_path, capsys):
    constant = dataclasses.replace(RECIPE, decay="constant")
    whole, history = fit(tmp_path / "constant.npz", constant)
    fit(tmp_path / "half.npz", dataclasses.replace(constant, epochs=2))
    resumed, resumed_history = fit(tmp_path / "half.npz", constant)
    assert "after epoch 2" in capsys.readouterr().err
    assert resumed_history == history
    for one, other in zip(resumed, whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_checkpoint_of_another_training_is_refused(tmp_path):
    fit(tmp_path / "epochs.npz")
    with pytest.raises(UsageError, match="4 epochs"):
        fit(tmp_path / "epochs.npz", about={"images": 2})


def test_a_damaged_checkpoint_is_not_used(tmp_path, capsys):
    path = tmp_path / "epochs.npz"
    whole, _ = fit(path)
    path.write_bytes(path.read_bytes()[:-100])
    again, history = fit(path)
    assert "damaged" in capsys.readouterr().err
    assert len(history) == 4
    for one, other in zip(again, whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_training_that_diverges_has_the_weights_of_the_epoch_before(tmp_path):
    constant = dataclasses.replace(RECIPE, decay="constant", epochs=2)
    before, _ = fit(tmp_path / "epochs.npz", constant)
    with pytest.raises(DivergedError, match="epoch 3 of 4") as caught:
        fit(tmp_path / "epochs.npz", dataclasses.replace(constant, epochs=4), maps=MAPS * np.nan)
    (kept,) = caught.value.weights
    for one, other in zip(kept, before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_training_that_diverges_at_once_has_no_weights(tmp_path):
    with pytest.raises(DivergedError, match="epoch 1 of 4") as caught:
        fit(tmp_path / "epochs.npz", maps=MAPS * np.nan)
    assert caught.value.weights is None
    assert not (tmp_path / "epochs.npz").exists()
