import dataclasses

import keras
import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from trainer.models import head_fitting, heads
from trainer.recipes import DEFAULT, TUTORIAL, Augmentation, Recipe

N, WIDTH = 24, 12


@pytest.fixture(scope="module")
def problem():
    random = np.random.default_rng(0)
    labels = np.arange(N) % 2
    targets = heads.one_hot(labels, 2)
    features = random.normal(0, 3, (N, 3, WIDTH)).astype(np.float32) + 40
    features[labels == 0, :, :3] += 12
    return features, targets


def folds(count):
    rows = np.arange(N)
    return [head_fitting.Fold(rows[rows % count != k], rows[rows % count == k]) for k in range(count)]


def build_plain_head(recipe, seed):
    """A Keras head for maps of one cell, which pooling leaves as they are."""
    return heads.build_head(dataclasses.replace(recipe, pooling="average"), (1, 1, WIDTH), classes=2, seed=seed)


def test_a_head_learns_to_tell_the_classes_apart(problem):
    features, targets = problem
    fold = folds(3)[0]
    fitted = head_fitting.fit_heads(
        dataclasses.replace(DEFAULT, epochs=40, learning_rate=1e-2), features, targets, [fold], seed=1
    )
    p = heads.predict_probabilities(fitted.weights[0], features[fold.test, 0])[:, 0]
    assert ((p > 0.5) == (targets[fold.test, 0] == 1)).all()
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"] / 2


def test_one_keras_fit_gives_the_same_head(problem):
    """The stacked loop against keras's own: same batches, no dropout, so the same weights to rounding."""
    features, targets = problem
    recipe = Recipe(
        depth=1, units=5, dropout=0.0, l2=0.01, standardize=False, epochs=3, batch_size=6, augmentation=Augmentation()
    )
    features = features[:, :1] / 40
    fold = head_fitting.Fold(np.arange(18), np.arange(18, N))
    fitted = head_fitting.fit_heads(recipe, features, targets, [fold], seed=5)
    plain = build_plain_head(recipe, seed=5)
    for layer in plain.layers:
        if isinstance(layer, keras.layers.Dense):
            layer.kernel.regularizer = keras.regularizers.L2(recipe.l2)
    plain.compile(keras.optimizers.Adam(head_fitting.learning_rate_schedule(recipe, 3)), "categorical_crossentropy")
    for epoch in range(recipe.epochs):
        rows, _ = head_fitting._draw_batches(recipe, [fold], 3, 5, epoch)
        for batch in rows[:, :, 0]:
            plain.train_on_batch(features[batch, 0][:, None, None], targets[batch])
    for ours, keras_own in zip(fitted.weights[0], plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, keras_own, atol=1e-5)


def test_folds_do_not_disturb_each_other(problem):
    features, targets = problem
    recipe = dataclasses.replace(DEFAULT, dropout=0.0, epochs=5)
    together = head_fitting.fit_heads(recipe, features, targets, folds(3), seed=1)
    alone = head_fitting.fit_heads(recipe, features, targets, folds(3)[:1], seed=1)
    for one, other in zip(together.weights[0], alone.weights[0], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_the_same_seed_gives_the_same_bits(problem):
    features, targets = problem
    runs = [
        head_fitting.fit_heads(dataclasses.replace(DEFAULT, epochs=4), features, targets, folds(2), seed=s)
        for s in (1, 1, 2)
    ]
    assert np.array_equal(runs[0].weights[1][0], runs[1].weights[1][0])
    assert not np.array_equal(runs[0].weights[1][0], runs[2].weights[1][0])


@pytest.mark.parametrize("recipe", [DEFAULT, TUTORIAL, Recipe(depth=0), Recipe(depth=2)])
def test_standardization_is_folded_into_a_plain_keras_head(problem, recipe):
    features, targets = problem
    fitted = head_fitting.fit_heads(dataclasses.replace(recipe, epochs=2), features, targets, folds(2), seed=1)
    plain = build_plain_head(recipe, seed=0)
    plain.set_weights(fitted.weights[0])
    np.testing.assert_allclose(
        plain.predict(features[:, 0][:, None, None], verbose=0),
        heads.predict_probabilities(fitted.weights[0], features[:, 0]),
        atol=1e-5,
    )


def test_test_rows_do_not_influence_the_head(problem):
    features, targets = problem
    fold = folds(3)[0]
    spoiled, wrong = features.copy(), targets.copy()
    spoiled[fold.test] = np.nan
    wrong[fold.test] = 1 - wrong[fold.test]
    recipe = dataclasses.replace(DEFAULT, epochs=3)
    clean = head_fitting.fit_heads(recipe, features, targets, [fold], seed=1)
    poisoned = head_fitting.fit_heads(recipe, spoiled, wrong, [fold], seed=1)
    for one, other in zip(clean.weights[0], poisoned.weights[0], strict=True):
        np.testing.assert_array_equal(one, other)


def test_history_is_of_the_unaugmented_test_rows(problem):
    features, targets = problem
    fold = folds(3)[0]
    fitted = head_fitting.fit_heads(dataclasses.replace(DEFAULT, epochs=2), features, targets, [fold], seed=1)
    logs = heads.predict_log_probabilities(fitted.weights[0], features[fold.test, 0])
    wanted = -(logs * targets[fold.test]).sum(1).mean()
    assert fitted.history[-1]["val_loss"][0] == pytest.approx(wanted, rel=1e-4)


def test_a_feature_constant_in_training_is_not_scaled_to_huge_values(problem):
    features, targets = problem
    silent = features.copy()
    fold = folds(3)[0]
    silent[:, :, 5] = 0
    silent[fold.test, :, 5] = 30
    fitted = head_fitting.fit_heads(dataclasses.replace(DEFAULT, epochs=2), silent, targets, [fold], seed=1)
    assert np.isfinite(heads.predict_log_probabilities(fitted.weights[0], silent[:, 0])).all()
    assert np.abs(fitted.weights[0][0][5]).max() < 1e3


def test_a_loss_that_is_not_finite_names_the_epoch_and_keeps_the_last_finite_weights(problem, monkeypatch):
    features, targets = problem
    huge = dataclasses.replace(DEFAULT, learning_rate=1e30, decay="none", epochs=8)
    with pytest.raises(head_fitting.DivergedError, match=r"epoch 1 of 8: .*learning rate 1e\+30") as caught:
        head_fitting.fit_heads(huge, features, targets, folds(3), seed=1)
    assert caught.value.weights is None

    # The third epoch diverges: the weights after the second one are kept, as an undisturbed fit has them.
    def spoil(epoch, entry):
        if epoch == 1:
            optimizers[0].learning_rate = float("inf")

    adam, optimizers, recipe = keras.optimizers.Adam, [], dataclasses.replace(DEFAULT, decay="none", epochs=8)
    monkeypatch.setattr(keras.optimizers, "Adam", lambda rate: optimizers.append(adam(rate)) or optimizers[-1])
    with pytest.raises(head_fitting.DivergedError, match="epoch 3 of 8") as caught:
        head_fitting.fit_heads(recipe, features, targets, folds(3), seed=1, on_epoch=spoil)
    undisturbed = head_fitting.fit_heads(dataclasses.replace(recipe, epochs=2), features, targets, folds(3), seed=1)
    for kept, expected in zip(caught.value.weights[2], undisturbed.weights[2], strict=True):
        np.testing.assert_array_equal(kept, expected)


def test_features_that_are_not_finite_are_named_as_the_cause(problem):
    features, targets = problem
    broken = features.copy()
    broken[0] = np.nan
    with pytest.raises(UsageError, match=r"epoch 1 of .*features are NaN"):
        head_fitting.fit_heads(DEFAULT, broken, targets, folds(3), seed=1)


def test_a_batch_larger_than_a_fold(problem):
    features, targets = problem
    with pytest.raises(UsageError, match="Batch size 100"):
        head_fitting.fit_heads(dataclasses.replace(DEFAULT, batch_size=100), features, targets, folds(3), seed=1)


def test_every_training_row_is_drawn_once_an_epoch():
    fold = head_fitting.Fold(np.arange(3, 19), np.arange(3))
    rows, variants = head_fitting._draw_batches(DEFAULT, [fold], 2, seed=1, epoch=0)
    assert sorted(rows.ravel()) == list(range(3, 19))
    assert set(variants.ravel()) <= {0, 1, 2}


@pytest.mark.parametrize("classes", [2, 4])
def test_class_weights_keep_the_probabilities_of_a_rare_class_true(classes):
    """One image in 41 is positive: the mean probability is its share, in place of about a half."""
    random = np.random.default_rng(0)
    labels = np.concatenate([np.zeros(60), 1 + np.arange(2400) % (classes - 1)]).astype(int)
    centre = np.eye(classes)[labels] @ random.normal(0, 1, (classes, 5))
    features = (centre + random.normal(size=(len(labels), 5))).astype(np.float32)[:, None]
    rows = random.permutation(len(labels))
    fold = head_fitting.Fold(rows[:1640], rows[1640:])
    recipe = Recipe(
        depth=0, l2=0.0, epochs=60, batch_size=64, learning_rate=1e-2, augmentation=Augmentation(), class_weights=True
    )
    fitted = head_fitting.fit_heads(recipe, features, heads.one_hot(labels, classes), [fold], seed=1)
    p = heads.predict_probabilities(fitted.weights[0], features[:, 0])
    assert p[fold.test, 0].mean() == pytest.approx(60 / 2460, rel=0.35)
    unweighted = head_fitting.fit_heads(
        dataclasses.replace(recipe, class_weights=False), features, heads.one_hot(labels, classes), [fold], seed=1
    )
    alone = heads.predict_probabilities(unweighted.weights[0], features[:, 0])
    assert np.corrcoef(p[fold.test, 0], alone[fold.test, 0])[0, 1] > 0.9
    assert np.abs(p - alone).max() > 0.01
