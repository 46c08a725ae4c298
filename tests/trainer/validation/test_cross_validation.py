import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.fakes.examples import make_examples
from trainer import recipes
from trainer.config import Config
from trainer.models.heads import one_hot
from trainer.validation import cross_validation, file_facts, validate
from trainer.validation.cross_validation import Plan

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


def test_heads_judge_only_what_they_never_saw(examples, pooled):
    """Labels of one fold turned around: its own heads learn nothing of it, all others do."""
    plan = Plan.of(examples, np.arange(N), seed=1)
    (before,) = cross_validation.log_odds(RECIPE, pooled, one_hot(examples.labels, 2), [plan], seed=1)
    held_out = plan.fold[0] == 2
    turned = np.where(held_out, 1 - examples.labels, examples.labels)
    (after,) = cross_validation.log_odds(RECIPE, pooled, one_hot(turned, 2), [plan], seed=1)
    np.testing.assert_allclose(after[0, held_out], before[0, held_out], atol=1e-4)
    assert np.abs(after[0, ~held_out] - before[0, ~held_out]).mean() > 0.05


def test_log_odds_are_in_the_rows_order_of_each_plan(examples, pooled):
    plans = [Plan.of(examples, rows, seed=1) for rows in (np.arange(N), examples.rows("train"))]
    easy = pooled + 3 * (examples.labels == 0)[:, None, None].astype(np.float32)
    whole, train = cross_validation.log_odds(RECIPE, easy, one_hot(examples.labels, 2), plans, seed=1)
    assert (whole.shape, train.shape) == ((5, N), (5, 48))
    for plan, odds in zip(plans, (whole, train), strict=True):
        for repeat in odds:
            assert roc_auc_score(examples.labels[plan.rows] == 0, repeat) > 0.95


def test_a_batch_larger_than_a_fold_is_made_smaller(examples, pooled):
    plan = Plan.of(examples, examples.rows("train"), seed=1)
    recipe = dataclasses.replace(RECIPE, batch_size=45, epochs=1)
    (odds,) = cross_validation.log_odds(recipe, pooled, one_hot(examples.labels, 2), [plan], seed=1)
    assert np.isfinite(odds).all()


def test_figures_say_what_they_rest_on(examples, pooled):
    plan = Plan.of(examples, np.arange(N), seed=1)
    (odds,) = cross_validation.log_odds(RECIPE, pooled, one_hot(examples.labels, 2), [plan], seed=1)
    found = cross_validation.figures(examples, plan, odds, 0.9, calibrated=False)
    assert (found["folds"], found["repeats"], found["n"], found["patients"]) == (5, 5, N, 30)
    told = [roc_auc_score(examples.labels == 0, repeat) for repeat in odds]
    assert found["auroc"]["value"] == pytest.approx(np.mean(told))
    assert 0.75 <= found["sensitivity"]["value"] <= 1
    rows = cross_validation.rows(examples, plan, cross_validation.probabilities(examples.labels, plan, odds, False))
    assert len(rows) == 5 * N
    assert rows[N + 3] == {
        "image_id": "image-3",
        "patient_id": "patient-1",
        "label": "normal",
        "repeat": 1,
        "fold": int(plan.fold[1, 3]),
        "p_covid": pytest.approx(1 / (1 + np.exp(-odds[1, 3]))),
    }


class Cached(SimpleNamespace):
    """What `judgement.judge` asks of cached features."""

    def pooled(self, rows, variants):
        return self.array[rows][:, :variants]

    def thumbnails(self, rows):
        return np.random.default_rng(2).random((len(rows), 32, 32))


def test_the_test_split_has_no_say_in_threshold_and_temperature(examples, pooled, monkeypatch):
    random = np.random.default_rng(1)
    monkeypatch.setattr(file_facts, "file_facts", lambda _: random.random((N, 6)))

    def judge(labels, array):
        table = dataclasses.replace(examples, labels=labels)
        cached = Cached(examples=table, recipe=RECIPE, seed=3, array=array, targets=one_hot(labels, 2))
        return validate.judge(cached, Config(weights="random", target_sensitivity=0.9))

    test = np.isin(np.arange(N), examples.rows("test"))
    before = judge(examples.labels, pooled)
    after = judge(np.where(test, 1 - examples.labels, examples.labels), np.where(test[:, None, None], -pooled, pooled))
    assert after.temperature == pytest.approx(before.temperature, rel=1e-4)
    assert after.threshold == pytest.approx(before.threshold, abs=1e-5)
    assert after.sections["cross_validation"]["auroc"] != before.sections["cross_validation"]["auroc"]
    assert before.threshold == before.sections["operating_point"]["threshold"]
    assert before.sections["operating_point"]["out_of_fold"]["sensitivity"]["value"] >= 0.9 - 1e-9
