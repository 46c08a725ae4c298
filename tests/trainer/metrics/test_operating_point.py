import numpy as np
import pytest
from sklearn.metrics import roc_curve

from trainer.metrics import operating_point


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95, 1.0])
def test_the_threshold_is_the_highest_that_reaches_the_target(target):
    random = np.random.default_rng(1)
    labels, p_covid = random.integers(0, 2, 200), random.random(200)
    chosen = operating_point.threshold(labels, p_covid[None], target)
    false_alarms, sensitivity, thresholds = roc_curve(labels == 0, p_covid, drop_intermediate=False)
    best = np.argmax(sensitivity >= target - 1e-12)
    called = p_covid >= chosen
    assert called[labels == 0].mean() == pytest.approx(sensitivity[best])
    assert called[labels == 1].mean() == pytest.approx(false_alarms[best])
    assert chosen < thresholds[best]


def test_the_threshold_keeps_clear_of_the_scores():
    labels, p_covid = np.asarray([0, 0, 1, 1]), np.asarray([[0.9, 0.6, 0.4, 0.1]])
    assert operating_point.threshold(labels, p_covid, 1.0) == pytest.approx(0.5)
    assert operating_point.threshold(labels, p_covid, 0.5) == pytest.approx(0.75)


def test_repeats_are_pooled():
    labels = np.asarray([0, 0, 1])
    p_covid = np.asarray([[0.9, 0.8, 0.1], [0.7, 0.2, 0.1]])
    assert operating_point.threshold(labels, p_covid, 0.75) == pytest.approx((0.7 + 0.2) / 2)


def test_a_fold_has_no_say_in_its_own_threshold():
    random = np.random.default_rng(2)
    labels, p_covid = np.arange(60) % 2, random.random((2, 60))
    folds = np.stack([np.arange(60) // 12, (np.arange(60) // 2) % 5])
    before = operating_point.cross_fitted(labels, p_covid, folds, 0.9)
    changed = np.where(folds == 3, 0.001, p_covid)
    after = operating_point.cross_fitted(labels, changed, folds, 0.9)
    np.testing.assert_array_equal(before[folds == 3], after[folds == 3])
    assert np.all(before[folds != 3] > after[folds != 3])


def test_choose_reports_what_it_chose_on():
    labels, p_covid = np.repeat([0, 1], 20), np.linspace(1, 0, 40)[None]
    found = operating_point.choose(labels, np.arange(40), p_covid, 0.95)
    assert found["target_sensitivity"] == 0.95
    assert found["out_of_fold"]["sensitivity"]["value"] == pytest.approx(0.95)
    assert found["out_of_fold"]["specificity"]["value"] == 1
    assert "0.95" in found["how"]


def test_predictive_values_of_a_worked_example():
    # 1000 people, 10 ill; 9 of them and 89.1 of the 990 others are called.
    ppv, npv = operating_point.predictive_values(0.9, 0.91, 0.01)
    assert ppv == pytest.approx(9 / (9 + 89.1))
    assert npv == pytest.approx(900.9 / (900.9 + 1))
    assert operating_point.predictive_values(0.0, 1.0, 0.1) == (None, pytest.approx(0.9))
    assert operating_point.predictive_values(1.0, 0.0, 0.1) == (pytest.approx(0.1), None)
