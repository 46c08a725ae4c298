import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, brier_score_loss, confusion_matrix, roc_auc_score

from trainer.metrics import evaluation
from trainer.metrics.intervals import newcombe_interval
from trainer.metrics.one_vs_rest import compute_auroc
from trainer.run_folder.estimate import Estimate


def evaluate(is_positive, scores, threshold, patients=None):
    p = np.stack([scores, 1 - scores], axis=1)
    return evaluation.evaluate(np.where(is_positive, 0, 1), p, threshold, ("covid", "normal"), patients)


def width(estimate):
    return estimate.ci95[1] - estimate.ci95[0]


def test_auroc_of_a_published_example():
    # Hanley and McNeil (1982), table I: 109 CT images rated 1 to 5; area 0.893.
    ratings = np.arange(1, 6)
    scores = np.concatenate([np.repeat(ratings, (3, 2, 2, 11, 33)), np.repeat(ratings, (33, 6, 6, 11, 2))])
    estimate = compute_auroc(np.arange(109) < 51, scores[None], np.arange(109))
    assert estimate.value == pytest.approx(0.893, abs=5e-4)


def test_newcombe_interval_covers_the_truth_in_simulation():
    random = np.random.default_rng(0)
    truth = stats.norm.cdf(1 / np.sqrt(2))
    is_positive = np.arange(30) < 15
    covered = 0
    for _ in range(400):
        scores = np.concatenate([random.normal(1, 1, 15), random.normal(0, 1, 15)])
        low, high = compute_auroc(is_positive, scores[None], np.arange(30)).ci95
        covered += low <= truth <= high
    assert 0.92 <= covered / 400 <= 0.99


def test_a_worked_example():
    is_positive, scores = np.array([True, True, True, False, False]), np.array([0.9, 0.8, 0.2, 0.6, 0.1])
    result = evaluate(is_positive, scores, 0.5)
    assert result.confusion_matrix == ((2, 1), (1, 1))
    expected = confusion_matrix(is_positive, scores >= 0.5, labels=[True, False]).tolist()
    assert [list(row) for row in result.confusion_matrix] == expected
    assert result.sensitivity.value == pytest.approx(2 / 3)
    assert result.specificity.value == pytest.approx(1 / 2)
    assert result.accuracy.value == pytest.approx(3 / 5)
    assert result.auroc.value == pytest.approx(roc_auc_score(is_positive, scores))


def test_one_class_gives_undefined_metrics():
    result = evaluate(np.array([False, False]), np.array([0.2, 0.7]), 0.5)
    assert result.auroc == Estimate(None, None, 2, "there are images of one class only")
    assert result.sensitivity == Estimate(None, None, 0, "there is no positive image")
    assert result.specificity.value == 0.5


def test_nan_scores_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        evaluate(np.array([True, False]), np.array([np.nan, 0.5]), 0.5)


def test_pr_auc_and_brier_are_scikit_learns():
    random = np.random.default_rng(3)
    is_positive, scores = random.random(60) < 0.5, random.random(60).round(1)
    result = evaluate(is_positive, scores, 0.5)
    assert result.pr_auc.value == pytest.approx(average_precision_score(is_positive, scores))
    assert result.brier.value == pytest.approx(brier_score_loss(is_positive, scores))
    for estimate in (result.pr_auc, result.brier):
        low, high = estimate.ci95
        assert 0 <= low < estimate.value < high <= 1


def test_rounding_takes_no_metric_above_1():
    """scikit-learn's average precision of these is 1.0000000000000002."""
    pr_auc = evaluate(np.full(20, True), np.arange(20) / 20, 0.5).pr_auc
    assert (pr_auc.value, pr_auc.ci95[1]) == (1, 1)


def test_ten_certain_and_right_predictions_do_not_show_a_brier_score_of_0():
    is_positive = np.arange(10) < 5
    brier = evaluate(is_positive, is_positive.astype(float), 0.5).brier
    assert brier.value == 0
    assert brier.ci95 == (0, pytest.approx(1 - 0.025**0.1))  # the exact interval of 0 in 10


def test_one_image_per_patient_gives_the_exact_interval():
    is_positive, scores = np.arange(20) < 10, np.repeat([0.9, 0.1, 0.2], (8, 2, 10))
    result = evaluate(is_positive, scores, 0.5)
    expected = stats.binomtest(8, 10).proportion_ci(0.95, method="exact")
    assert result.sensitivity.ci95 == pytest.approx((expected.low, expected.high))
    assert result.specificity.ci95 == pytest.approx((0.025 ** (1 / 10), 1))


def test_copies_of_the_same_patients_do_not_narrow_an_interval():
    is_positive, scores = np.arange(40) < 20, np.tile([0.9, 0.9, 0.1, 0.8], 10)
    once = evaluate(is_positive, scores, 0.5)
    copied = evaluate(np.tile(is_positive, 9), np.tile(scores, 9), 0.5, np.tile(np.arange(40), 9))
    assert (copied.n, copied.patients) == (360, 40)
    for name in ("accuracy", "sensitivity", "specificity", "auroc", "pr_auc", "brier"):
        assert getattr(copied, name).value == pytest.approx(getattr(once, name).value)
        assert width(getattr(copied, name)) >= 0.98 * width(getattr(once, name))


def test_a_perfect_metric_of_few_patients_has_a_wide_interval():
    is_positive, patients = np.arange(40) < 20, np.repeat(np.arange(8), 5)
    result = evaluate(is_positive, np.repeat([1.0, 0.0], 20), 0.5, patients)
    assert result.sensitivity.ci95 == pytest.approx((0.025 ** (1 / 4), 1))
    assert result.auroc.ci95 == pytest.approx((newcombe_interval(1.0, 4, 4)[0], 1))
    assert result.auroc.ci95[0] < 0.65
