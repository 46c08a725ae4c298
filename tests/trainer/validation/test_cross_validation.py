import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from tests.fakes.examples import make_examples
from trainer import recipes
from trainer.config import Config
from trainer.models.heads import one_hot
from trainer.validation import controls, validate
from trainer.validation.cross_validation import (
    FoldPlan,
    OutOfFold,
    compute_cross_validation,
    list_out_of_fold,
    plan_folds,
    predict_out_of_fold,
)

RECIPE = dataclasses.replace(recipes.DEFAULT, epochs=12, units=8, learning_rate=1e-2)
N = 60


@pytest.fixture(scope="module")
def examples():
    """Sixty images of thirty patients, a fifth of them in the test split."""
    patients = np.repeat(np.arange(30), 2)
    return make_examples(
        patients % 2,
        patient_id=np.asarray([f"patient-{patient}" for patient in patients]),
        split=np.where(patients >= 24, "test", "train"),
    )


@pytest.fixture(scope="module")
def pooled(examples):
    """Features that tell the classes apart well but not perfectly, float32 [60, 3, 10]."""
    random = np.random.default_rng(0)
    centre = 1.0 * (examples.labels == 0)[:, None] + random.normal(size=(N, 10))
    return (centre[:, None] + random.normal(0, 0.1, (N, 3, 10))).astype(np.float32)


def test_heads_predict_only_what_they_did_not_train_on(examples, pooled):
    """The labels of one fold are inverted: its own heads do not change, all others do."""
    plan = plan_folds(examples, np.arange(N), seed=1)
    (before,), _ = predict_out_of_fold(RECIPE, pooled, one_hot(examples.labels, 2), [plan], seed=1)
    held_out = plan.folds[0] == 2
    turned = np.where(held_out, 1 - examples.labels, examples.labels)
    (after,), _ = predict_out_of_fold(RECIPE, pooled, one_hot(turned, 2), [plan], seed=1)
    np.testing.assert_allclose(after[0, held_out], before[0, held_out], atol=1e-4)
    assert np.abs(after[0, ~held_out] - before[0, ~held_out]).mean() > 0.05


def test_predictions_are_in_the_rows_order_of_each_plan(examples, pooled):
    plans = [plan_folds(examples, rows, seed=1) for rows in (np.arange(N), examples.rows("train"))]
    easy = pooled + 3 * (examples.labels == 0)[:, None, None].astype(np.float32)
    (whole, train), _ = predict_out_of_fold(RECIPE, easy, one_hot(examples.labels, 2), plans, seed=1)
    assert (whole.shape, train.shape) == ((5, N, 2), (5, 48, 2))
    for plan, log_p in zip(plans, (whole, train), strict=True):
        for repeat in log_p[..., 0]:
            assert roc_auc_score(examples.labels[plan.rows] == 0, repeat) > 0.95


def test_a_batch_larger_than_a_fold_is_made_smaller(examples, pooled):
    plan = plan_folds(examples, examples.rows("train"), seed=1)
    recipe = dataclasses.replace(RECIPE, batch_size=45, epochs=1)
    (log_p,), _ = predict_out_of_fold(recipe, pooled, one_hot(examples.labels, 2), [plan], seed=1)
    assert np.isfinite(log_p).all()


def test_metrics_are_means_over_repeats(examples, pooled):
    plan = plan_folds(examples, np.arange(N), seed=1)
    (log_p,), _ = predict_out_of_fold(RECIPE, pooled, one_hot(examples.labels, 2), [plan], seed=1)
    result = compute_cross_validation(examples, OutOfFold(plan, np.exp(log_p), *np.full((2, 5, N), 0.5)))
    assert (result.folds, result.repeats, result.n, result.patients) == (5, 5, N, 30)
    aurocs = [roc_auc_score(examples.labels == 0, repeat) for repeat in log_p[..., 0]]
    assert result.auroc.value == pytest.approx(np.mean(aurocs))
    assert result.sensitivity == result.argmax.sensitivity
    matrices = [confusion_matrix(examples.labels, repeat.argmax(-1)) for repeat in log_p]
    np.testing.assert_allclose(result.argmax.confusion_matrix, np.mean(matrices, axis=0))


def test_a_row_for_every_repeat_and_image(examples):
    folds, p = np.arange(2 * N).reshape(2, N) % 5, np.linspace(0, 1, 2 * N).reshape(2, N)
    predicted = OutOfFold(FoldPlan(np.arange(N), folds), np.stack([p, 1 - p], -1), *np.full((2, 2, N), 0.9))
    rows = list_out_of_fold(examples, predicted)
    assert len(rows) == 2 * N
    row = rows[N + 3]
    assert (row.image_id, row.patient_id, row.label, row.repeat, row.fold) == (
        *("image-3", "patient-1", "normal"),
        *(1, folds[1, 3]),
    )
    assert row.probabilities == {"covid": p[1, 3], "normal": 1 - p[1, 3]}
    assert (row.decision, row.decision_argmax, row.threshold) == ("normal", "covid", 0.9)


class FakeFeatures(SimpleNamespace):
    """What `validate_recipe` reads of features."""

    def pooled(self, rows, variants):
        return self.array[rows][:, :variants]

    def thumbnails(self, rows):
        return np.random.default_rng(2).random((len(rows), 32, 32))


def test_the_test_split_does_not_change_threshold_and_temperature(examples, pooled, monkeypatch):
    random = np.random.default_rng(1)
    monkeypatch.setattr(controls, "file_facts", lambda _: random.random((N, 6)))

    def validated(labels, array):
        table = dataclasses.replace(examples, labels=labels)
        features = FakeFeatures(examples=table, recipe=RECIPE, seed=3, array=array, targets=one_hot(labels, 2))
        return validate.validate_recipe(features, Config(weights="random", target_sensitivity=0.9))

    test = np.isin(np.arange(N), examples.rows("test"))
    before = validated(examples.labels, pooled)
    inverted = np.where(test, 1 - examples.labels, examples.labels)
    after = validated(inverted, np.where(test[:, None, None], -pooled, pooled))
    assert after.calibration.temperature == pytest.approx(before.calibration.temperature, rel=1e-4)
    assert after.operating_point.threshold == pytest.approx(before.operating_point.threshold, abs=1e-5)
    assert after.cross_validation.auroc != before.cross_validation.auroc
    assert before.operating_point.out_of_fold.sensitivity.value >= 0.9 - 1e-9
