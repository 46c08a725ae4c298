import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix, roc_auc_score

from trainer import metrics


def test_exact_interval_matches_the_beta_quantiles():
    figure = metrics.proportion(8, 10)
    assert figure["value"] == 0.8
    assert figure["ci95"] == pytest.approx([stats.beta.ppf(0.025, 8, 3), stats.beta.ppf(0.975, 9, 2)], abs=1e-9)


def test_exact_interval_of_ten_out_of_ten():
    assert metrics.proportion(10, 10)["ci95"] == pytest.approx([0.025 ** (1 / 10), 1.0], abs=1e-9)


def test_undefined_proportion_is_null_not_zero():
    assert metrics.proportion(0, 0) == {"value": None, "ci95": None, "n": 0}


def test_newcombe_limits_solve_the_score_equation():
    area, m, n = 0.8, 12, 20
    for t in metrics.newcombe_interval(area, m, n):
        variance = t * (1 - t) * (1 + ((m + n) / 2 - 1) * ((1 - t) / (2 - t) + t / (1 + t))) / (m * n)
        assert abs(area - t) / np.sqrt(variance) == pytest.approx(stats.norm.ppf(0.975), abs=1e-6)


@pytest.mark.parametrize("area", [0.0, 1.0])
def test_newcombe_interval_is_not_empty_at_the_ends(area):
    low, high = metrics.newcombe_interval(area, 5, 5)
    assert low <= area <= high
    assert high - low == pytest.approx(0.357297, abs=1e-5)


def test_newcombe_interval_covers_the_truth_in_simulation():
    random = np.random.default_rng(0)
    truth = stats.norm.cdf(1 / np.sqrt(2))
    labels = np.repeat([0, 1], 15)
    covered = 0
    for _ in range(400):
        scores = np.concatenate([random.normal(1, 1, 15), random.normal(0, 1, 15)])
        low, high = metrics.auroc(labels, scores)["ci95"]
        covered += low <= truth <= high
    assert 0.92 <= covered / 400 <= 0.99


def test_covid_is_positive_and_index_zero():
    labels, p_covid = np.array([0, 0, 0, 1, 1]), np.array([0.9, 0.8, 0.2, 0.6, 0.1])
    result = metrics.summary(labels, p_covid, 0.5)
    assert result["confusion_matrix"] == [[2, 1], [1, 1]]
    decided = np.where(p_covid >= 0.5, 0, 1)
    assert result["confusion_matrix"] == confusion_matrix(labels, decided, labels=[0, 1]).tolist()
    assert result["sensitivity"]["value"] == pytest.approx(2 / 3)
    assert result["specificity"]["value"] == pytest.approx(1 / 2)
    assert result["accuracy"]["value"] == pytest.approx(3 / 5)
    assert result["auroc"]["value"] == pytest.approx(roc_auc_score(labels == 0, p_covid))


def test_one_class_gives_undefined_figures():
    result = metrics.summary(np.array([1, 1]), np.array([0.2, 0.7]), 0.5)
    assert result["auroc"] == {"value": None, "ci95": None, "n": 2}
    assert result["sensitivity"]["value"] is None
    assert result["specificity"]["value"] == 0.5


def test_nan_scores_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        metrics.summary(np.array([0, 1]), np.array([np.nan, 0.5]), 0.5)
