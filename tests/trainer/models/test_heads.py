import dataclasses

import keras
import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from trainer.features import data
from trainer.models import heads, vgg16
from trainer.recipes import DEFAULT, TUTORIAL, Augmentation, Recipe

N, WIDTH = 24, 12


@pytest.fixture(scope="module")
def problem():
    random = np.random.default_rng(0)
    labels = np.arange(N) % 2
    features = random.normal(0, 3, (N, 3, WIDTH)).astype(np.float32) + 40
    features[labels == 0, :, :3] += 12
    return features, labels


def folds(count):
    rows = np.arange(N)
    return [heads.Fold(rows[rows % count != k], rows[rows % count == k]) for k in range(count)]


def test_a_head_learns_to_tell_the_classes_apart(problem):
    features, labels = problem
    fold = folds(3)[0]
    fitted = heads.fit(dataclasses.replace(DEFAULT, epochs=40, learning_rate=1e-2), features, labels, [fold], seed=1)
    p = heads.p_covid(fitted.weights[0], features[fold.test, 0])
    assert ((p > 0.5) == (labels[fold.test] == 0)).all()
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"] / 2


def test_one_keras_fit_gives_the_same_head(problem):
    """The stacked loop against keras's own: same batches, no dropout, so the same weights to rounding."""
    features, labels = problem
    recipe = Recipe(
        depth=1, units=5, dropout=0.0, l2=0.01, standardize=False, epochs=3, batch_size=6, augmentation=Augmentation()
    )
    features = features[:, :1] / 40
    fold = heads.Fold(np.arange(18), np.arange(18, N))
    fitted = heads.fit(recipe, features, labels, [fold], seed=5)
    plain = vgg16.classifier(recipe, WIDTH, 5)
    for layer in plain.layers:
        if isinstance(layer, keras.layers.Dense):
            layer.kernel.regularizer = keras.regularizers.L2(recipe.l2)
    plain.compile(keras.optimizers.Adam(heads.schedule(recipe, 3)), "categorical_crossentropy")
    for epoch in range(recipe.epochs):
        rows, _ = heads._draws(recipe, [fold], 3, 5, epoch)
        for batch in rows[:, :, 0]:
            plain.train_on_batch(features[batch, 0], data.one_hot(labels[batch]))
    for ours, keras_own in zip(fitted.weights[0], plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, keras_own, atol=1e-5)


def test_folds_do_not_disturb_each_other(problem):
    features, labels = problem
    recipe = dataclasses.replace(DEFAULT, dropout=0.0, epochs=5)
    together = heads.fit(recipe, features, labels, folds(3), seed=1)
    alone = heads.fit(recipe, features, labels, folds(3)[:1], seed=1)
    for one, other in zip(together.weights[0], alone.weights[0], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_the_same_seed_gives_the_same_bits(problem):
    features, labels = problem
    runs = [heads.fit(dataclasses.replace(DEFAULT, epochs=4), features, labels, folds(2), seed=s) for s in (1, 1, 2)]
    assert np.array_equal(runs[0].weights[1][0], runs[1].weights[1][0])
    assert not np.array_equal(runs[0].weights[1][0], runs[2].weights[1][0])


@pytest.mark.parametrize("recipe", [DEFAULT, TUTORIAL, Recipe(depth=0), Recipe(depth=2)])
def test_standardization_is_folded_into_a_plain_keras_head(problem, recipe):
    features, labels = problem
    fitted = heads.fit(dataclasses.replace(recipe, epochs=2), features, labels, folds(2), seed=1)
    plain = heads.into_keras(vgg16.classifier(recipe, WIDTH, 0), fitted.weights[0])
    np.testing.assert_allclose(
        plain.predict(features[:, 0], verbose=0)[:, 0], heads.p_covid(fitted.weights[0], features[:, 0]), atol=1e-5
    )


def test_test_rows_do_not_influence_the_head(problem):
    features, labels = problem
    fold = folds(3)[0]
    spoiled, wrong = features.copy(), labels.copy()
    spoiled[fold.test] = np.nan
    wrong[fold.test] = 1 - wrong[fold.test]
    recipe = dataclasses.replace(DEFAULT, epochs=3)
    clean = heads.fit(recipe, features, labels, [fold], seed=1)
    poisoned = heads.fit(recipe, spoiled, wrong, [fold], seed=1)
    for one, other in zip(clean.weights[0], poisoned.weights[0], strict=True):
        np.testing.assert_array_equal(one, other)


def test_history_is_of_the_unaugmented_test_rows(problem):
    features, labels = problem
    fold = folds(3)[0]
    fitted = heads.fit(dataclasses.replace(DEFAULT, epochs=2), features, labels, [fold], seed=1)
    logs = heads.log_probabilities(fitted.weights[0], features[fold.test, 0])
    wanted = -logs[np.arange(len(fold.test)), labels[fold.test]].mean()
    assert fitted.history[-1]["val_loss"][0] == pytest.approx(wanted, rel=1e-4)


def test_a_channel_silent_in_training_does_not_explode(problem):
    features, labels = problem
    silent = features.copy()
    fold = folds(3)[0]
    silent[:, :, 5] = 0
    silent[fold.test, :, 5] = 30
    fitted = heads.fit(dataclasses.replace(DEFAULT, epochs=2), silent, labels, [fold], seed=1)
    assert np.isfinite(heads.log_probabilities(fitted.weights[0], silent[:, 0])).all()
    assert np.abs(fitted.weights[0][0][5]).max() < 1e3


def test_a_loss_that_is_not_finite_names_the_epoch_and_keeps_the_last_good_weights(problem, monkeypatch):
    features, labels = problem
    huge = dataclasses.replace(DEFAULT, learning_rate=1e30, decay="none", epochs=8)
    with pytest.raises(heads.DivergedError, match=r"not finite in epoch 1 of 8: the learning rate 1e\+30 is") as caught:
        heads.fit(huge, features, labels, folds(3), seed=1)
    assert caught.value.weights is None

    # The third epoch is spoilt: what the second one ended with is kept, finite and as an undisturbed fit has it.
    def spoil(epoch, entry):
        if epoch == 1:
            optimizers[0].learning_rate = float("inf")

    adam, optimizers, recipe = keras.optimizers.Adam, [], dataclasses.replace(DEFAULT, decay="none", epochs=8)
    monkeypatch.setattr(keras.optimizers, "Adam", lambda rate: optimizers.append(adam(rate)) or optimizers[-1])
    with pytest.raises(heads.DivergedError, match="epoch 3 of 8") as caught:
        heads.fit(recipe, features, labels, folds(3), seed=1, on_epoch=spoil)
    undisturbed = heads.fit(dataclasses.replace(recipe, epochs=2), features, labels, folds(3), seed=1)
    for kept, expected in zip(caught.value.weights[2], undisturbed.weights[2], strict=True):
        np.testing.assert_array_equal(kept, expected)


def test_features_that_are_not_finite_are_named_as_the_cause(problem):
    features, labels = problem
    broken = features.copy()
    broken[0] = np.nan
    with pytest.raises(UsageError, match=r"not finite in epoch 1 of .*: the backbone's features are NaN or infinite"):
        heads.fit(DEFAULT, broken, labels, folds(3), seed=1)


def test_a_batch_larger_than_a_fold(problem):
    features, labels = problem
    with pytest.raises(UsageError, match="larger than a fold"):
        heads.fit(dataclasses.replace(DEFAULT, batch_size=100), features, labels, folds(3), seed=1)


def test_every_training_row_is_drawn_once_an_epoch():
    fold = heads.Fold(np.arange(3, 19), np.arange(3))
    rows, variants = heads._draws(DEFAULT, [fold], 2, seed=1, epoch=0)
    assert sorted(rows.ravel()) == list(range(3, 19))
    assert set(variants.ravel()) <= {0, 1, 2}
