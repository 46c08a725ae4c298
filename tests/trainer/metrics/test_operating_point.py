import numpy as np
import pytest
from sklearn.metrics import roc_curve

from trainer.metrics import bootstrap, effort, operating_point
from trainer.metrics.calibration import probabilities
from trainer.metrics.operating_point import (
    choose_operating_point,
    choose_threshold,
    cross_fit_thresholds,
    measure_uncertainty,
)


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95, 1.0])
def test_the_threshold_is_the_highest_that_reaches_the_target(target):
    random = np.random.default_rng(1)
    is_positive, scores = random.random(200) < 0.5, random.random(200)
    chosen = choose_threshold(is_positive, scores[None], target)
    false_alarms, sensitivity, thresholds = roc_curve(is_positive, scores, drop_intermediate=False)
    best = np.argmax(sensitivity >= target - 1e-12)
    called = scores >= chosen
    assert called[is_positive].mean() == pytest.approx(sensitivity[best])
    assert called[~is_positive].mean() == pytest.approx(false_alarms[best])
    assert chosen < thresholds[best]


def test_the_threshold_lies_between_two_scores():
    is_positive, scores = np.asarray([True, True, False, False]), np.asarray([[0.9, 0.6, 0.4, 0.1]])
    assert choose_threshold(is_positive, scores, 1.0) == pytest.approx(0.5)
    assert choose_threshold(is_positive, scores, 0.5) == pytest.approx(0.75)


@pytest.mark.parametrize(("is_positive", "target"), [([False, False], 0.9), ([True, False], 0.0), ([True, False], 1.1)])
def test_a_target_that_cannot_be_reached_is_refused(is_positive, target):
    with pytest.raises(ValueError, match=r"positive|target_sensitivity"):
        choose_threshold(np.asarray(is_positive), np.asarray([[0.6, 0.4]]), target)


def test_repeats_are_pooled():
    scores = np.asarray([[0.9, 0.8, 0.1], [0.7, 0.2, 0.1]])
    assert choose_threshold(np.asarray([True, True, False]), scores, 0.75) == pytest.approx((0.7 + 0.2) / 2)


def log_probabilities(scores):
    return np.log(np.stack([scores, 1 - scores], -1))


def test_a_fold_does_not_change_its_own_threshold():
    is_positive, scores = np.arange(60) % 2 == 0, np.random.default_rng(2).random((2, 60))
    folds = np.stack([np.arange(60) // 12, (np.arange(60) // 2) % 5])
    one = np.ones(folds.shape)
    before = cross_fit_thresholds(is_positive, log_probabilities(scores), one, folds, 0.9)
    changed = np.where(folds == 3, 0.001, scores)
    after = cross_fit_thresholds(is_positive, log_probabilities(changed), one, folds, 0.9)
    np.testing.assert_array_equal(before[folds == 3], after[folds == 3])
    assert np.all(before[folds != 3] > after[folds != 3])


def test_with_two_classes_a_temperature_changes_no_decision():
    is_positive, scores = np.arange(60) % 2 == 0, np.random.default_rng(2).random((1, 60)) ** 3
    folds = np.arange(60)[None] // 12
    decisions = []
    for temperatures in (np.ones((1, 60)), 0.5 + folds / 2):
        log_p = log_probabilities(scores)
        thresholds = cross_fit_thresholds(is_positive, log_p, temperatures, folds, 0.9)
        decisions.append(probabilities(log_p, temperatures)[..., 0] >= thresholds)
    np.testing.assert_array_equal(*decisions)


def test_the_thresholds_uncertainty_is_that_of_drawing_patients_and_choosing_again(monkeypatch):
    monkeypatch.setattr(effort, "REPLICATES", 300)
    random = np.random.default_rng(3)
    is_positive, patients = np.arange(40) < 18, np.arange(40) // 2
    scores = np.clip(random.normal(np.where(is_positive, 0.6, 0.4), 0.2, (2, 40)), 0, 1).round(2)
    found = measure_uncertainty(is_positive, patients, scores, 0.9)
    chosen = []
    for weights in bootstrap.draw_replicates(~is_positive, patients):
        for drawn in weights.astype(int):
            rows = np.repeat(np.arange(40), drawn)
            chosen.append(choose_threshold(is_positive[rows], scores[:, rows], 0.9))
    assert found.ci95 == pytest.approx(np.quantile(chosen, (0.025, 0.975)))
    called = scores >= found.ci95[1]
    assert found.sensitivity[1] == pytest.approx(called[:, is_positive].mean())
    assert found.specificity[1] == pytest.approx((~called)[:, ~is_positive].mean())
    assert found.positives == 18


def test_the_operating_point_has_the_rates_it_was_chosen_on():
    is_positive, scores = np.arange(40) < 20, np.linspace(1, 0, 40)[None]
    point = choose_operating_point(is_positive, np.arange(40), scores, 0.95)
    assert point.target_sensitivity == 0.95
    assert point.threshold == choose_threshold(is_positive, scores, 0.95)
    assert point.out_of_fold.sensitivity.value == pytest.approx(0.95)
    assert point.out_of_fold.specificity.value == 1


def test_predictive_values_of_a_worked_example():
    # 1000 people, 10 ill; 9 of them and 89.1 of the 990 others are called.
    ppv, npv = operating_point.predictive_values(0.9, 0.91, 0.01)
    assert ppv == pytest.approx(9 / (9 + 89.1))
    assert npv == pytest.approx(900.9 / (900.9 + 1))
    assert operating_point.predictive_values(0.0, 1.0, 0.1) == (None, pytest.approx(0.9))
    assert operating_point.predictive_values(1.0, 0.0, 0.1) == (pytest.approx(0.1), None)
