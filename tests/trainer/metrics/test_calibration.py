import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as scikit_learns_log_loss

from tests.fakes import two_classes as two_classes_of
from trainer.metrics import calibration


def overconfident(n: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """is_positive drawn from true log-odds, and log-odds that are `factor` times as large."""
    random = np.random.default_rng(5)
    true = random.normal(0, 2, n)
    return random.random(n) < expit(true), factor * true[None]


def two_classes(is_positive: np.ndarray, log_odds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return two_classes_of.truth(is_positive), two_classes_of.log_p(log_odds)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_known_factor(factor):
    is_positive, log_odds = overconfident(20_000, factor)
    assert calibration.fit_temperature(*two_classes(is_positive, log_odds)) == pytest.approx(factor, rel=0.05)


def test_perfect_separation_does_not_give_certainty():
    is_positive = np.arange(40) < 20
    temperature = calibration.fit_temperature(*two_classes(is_positive, np.where(is_positive, 1.0, -1.0)[None]))
    assert float(expit(1 / temperature)) == pytest.approx(21 / 22, abs=1e-4)  # Platt's target for 20 of 20


def test_metrics_are_scikit_learns():
    is_positive, log_odds = overconfident(500, 2.0)
    truth, log_p = two_classes(is_positive, log_odds)
    scores = calibration.probabilities(log_p)[..., 0]
    assert calibration.log_loss(truth, log_p) == pytest.approx(scikit_learns_log_loss(is_positive, scores[0]))
    assert calibration.brier_score(is_positive, scores) == pytest.approx(brier_score_loss(is_positive, scores[0]))
    fraction, mean_p = calibration_curve(is_positive, scores[0], n_bins=calibration.BINS)
    bins = calibration.reliability_bins(is_positive, scores)
    assert [one.fraction_positive for one in bins] == pytest.approx(fraction)
    assert [one.mean_p for one in bins] == pytest.approx(mean_p)
    assert sum(one.n for one in bins) == 500


def test_expected_calibration_error_of_a_worked_example():
    # Four predictions of 0.9, of which 3 came true, and one of 0.05 that did not: (4 * 0.15 + 1 * 0.05) / 5.
    is_positive = np.asarray([True, True, True, False, False])
    bins = calibration.reliability_bins(is_positive, np.asarray([[0.9, 0.9, 0.9, 0.9, 0.05]]))
    assert calibration.expected_calibration_error(bins) == pytest.approx(0.13)


def test_the_log_loss_of_a_confident_mistake_is_finite():
    assert calibration.log_loss(*two_classes(np.asarray([False]), np.asarray([[2000.0]]))) == pytest.approx(2000.0)


def test_it_is_applied_where_it_helps_on_folds_it_has_not_seen():
    is_positive, log_odds = overconfident(600, 4.0)
    found = calibration.calibrate(*two_classes(is_positive, log_odds), np.arange(600)[None] % 5)
    assert found.applied
    assert found.temperature == pytest.approx(4, rel=0.2)
    for name in ("log_loss", "brier", "ece"):
        assert getattr(found, f"{name}_after") < getattr(found, f"{name}_before")


def test_it_is_left_alone_where_it_does_not_help():
    # Folds that ask for opposite corrections: what the others suggest makes each of them worse.
    random = np.random.default_rng(0)
    is_positive = random.random(400) < 0.5
    folds = np.arange(400)[None] % 2
    right = np.where(is_positive, 2.0, -2.0)
    log_odds = np.where(folds == 0, right, np.where(random.random(400) < 0.6, right, -right))
    found = calibration.calibrate(*two_classes(is_positive, log_odds), folds)
    assert found.log_loss_after > found.log_loss_before
    assert (found.applied, found.temperature) == (False, 1.0)
    assert found.bins == found.bins_before


def test_a_fold_does_not_change_its_own_temperature():
    is_positive, log_odds = overconfident(200, 2.0)
    folds = np.arange(200)[None] % 5
    before = calibration.cross_fit_temperatures(*two_classes(is_positive, log_odds), folds)
    swapped = np.where(folds[0] == 3, ~is_positive, is_positive)
    after = calibration.cross_fit_temperatures(*two_classes(swapped, log_odds), folds)
    np.testing.assert_array_equal(before[folds == 3], after[folds == 3])
    assert not np.any(before[folds != 3] == after[folds != 3])


def test_the_temperature_fits_into_the_last_layer():
    random = np.random.default_rng(0)
    weights = [random.normal(size=shape) for shape in ((6, 4), (4,), (4, 2), (2,))]
    folded = calibration.divide_last_layer(weights, 2.5)
    hidden = np.maximum(random.normal(size=(7, 6)) @ weights[0] + weights[1], 0)
    logits, cooled = hidden @ weights[2] + weights[3], hidden @ folded[2] + folded[3]
    np.testing.assert_allclose(cooled, logits / 2.5)
    assert folded[0] is weights[0]


def test_four_classes_have_one_temperature():
    random = np.random.default_rng(7)
    logits = random.normal(0, 2, (8000, 4))
    labels = np.asarray([random.choice(4, p=row) for row in softmax(logits, axis=1)])
    truth, log_p = np.eye(4, dtype=bool)[labels], log_softmax(3 * logits, axis=1)[None]
    assert calibration.fit_temperature(truth, log_p) == pytest.approx(3, rel=0.05)
    p = calibration.probabilities(log_p, 3.0)
    np.testing.assert_allclose(p[0], softmax(logits, axis=1), atol=1e-9)
    loss = scikit_learns_log_loss(labels, softmax(3 * logits, axis=1))
    assert calibration.log_loss(truth, log_p) == pytest.approx(loss)


def test_with_two_classes_the_temperature_is_that_of_the_positive_class():
    is_positive, log_odds = overconfident(300, 3.0)
    positives, negatives = is_positive.sum(), (~is_positive).sum()
    targets = np.where(is_positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(temperature):
        return np.mean(np.logaddexp(0, log_odds / temperature) - targets * log_odds / temperature)

    wanted = minimize_scalar(loss, bounds=(0.1, 10), method="bounded").x
    assert calibration.fit_temperature(*two_classes(is_positive, log_odds)) == pytest.approx(wanted, rel=1e-3)
