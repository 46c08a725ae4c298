import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, brier_score_loss, confusion_matrix, roc_auc_score

from trainer.metrics import classification


def width(figure):
    return figure["ci95"][1] - figure["ci95"][0]


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (8, 10), (10, 10), (137, 500)])
def test_exact_interval_is_scipys(successes, n):
    told = stats.binomtest(successes, n).proportion_ci(0.95, method="exact")
    assert classification.exact_interval(successes, n) == pytest.approx((told.low, told.high), abs=1e-9)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"), [(81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (0, 20, 0, 0.1684)]
)
def test_exact_interval_of_published_examples(successes, n, low, high):
    # Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 5.
    assert classification.exact_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_auroc_of_a_published_example():
    # Hanley and McNeil (1982), table I: 109 CT images rated 1 to 5; area 0.893.
    ratings = np.arange(1, 6)
    scores = np.concatenate([np.repeat(ratings, (3, 2, 2, 11, 33)), np.repeat(ratings, (33, 6, 6, 11, 2))])
    assert classification.auroc(np.repeat([0, 1], (51, 58)), scores)["value"] == pytest.approx(0.893, abs=5e-4)


def test_newcombe_limits_solve_the_score_equation():
    area, m, n = 0.8, 12, 20
    for t in classification.newcombe_interval(area, m, n):
        variance = t * (1 - t) * (1 + ((m + n) / 2 - 1) * ((1 - t) / (2 - t) + t / (1 + t))) / (m * n)
        assert abs(area - t) / np.sqrt(variance) == pytest.approx(stats.norm.ppf(0.975), abs=1e-6)


@pytest.mark.parametrize("area", [0.0, 1.0])
def test_newcombe_interval_is_not_empty_at_the_ends(area):
    low, high = classification.newcombe_interval(area, 5, 5)
    assert low <= area <= high
    assert high - low == pytest.approx(0.357297, abs=1e-5)


def test_newcombe_interval_covers_the_truth_in_simulation():
    random = np.random.default_rng(0)
    truth = stats.norm.cdf(1 / np.sqrt(2))
    labels = np.repeat([0, 1], 15)
    covered = 0
    for _ in range(400):
        scores = np.concatenate([random.normal(1, 1, 15), random.normal(0, 1, 15)])
        low, high = classification.auroc(labels, scores)["ci95"]
        covered += low <= truth <= high
    assert 0.92 <= covered / 400 <= 0.99


def test_covid_is_positive_and_index_zero():
    labels, p_covid = np.array([0, 0, 0, 1, 1]), np.array([0.9, 0.8, 0.2, 0.6, 0.1])
    result = classification.summary(labels, p_covid, 0.5)
    assert result["confusion_matrix"] == [[2, 1], [1, 1]]
    decided = np.where(p_covid >= 0.5, 0, 1)
    assert result["confusion_matrix"] == confusion_matrix(labels, decided, labels=[0, 1]).tolist()
    assert result["sensitivity"]["value"] == pytest.approx(2 / 3)
    assert result["specificity"]["value"] == pytest.approx(1 / 2)
    assert result["accuracy"]["value"] == pytest.approx(3 / 5)
    assert result["auroc"]["value"] == pytest.approx(roc_auc_score(labels == 0, p_covid))


def test_one_class_gives_undefined_figures():
    result = classification.summary(np.array([1, 1]), np.array([0.2, 0.7]), 0.5)
    because = "there are images of one class only"
    assert result["auroc"] == {"value": None, "ci95": None, "n": 2, "because": because}
    assert result["sensitivity"]["value"] is None
    assert result["specificity"]["value"] == 0.5


def test_nan_scores_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        classification.summary(np.array([0, 1]), np.array([np.nan, 0.5]), 0.5)


def test_pr_auc_and_brier_are_scikit_learns():
    random = np.random.default_rng(3)
    labels, p_covid = random.integers(0, 2, 60), random.random(60).round(1)
    result = classification.summary(labels, p_covid, 0.5)
    assert result["pr_auc"]["value"] == pytest.approx(average_precision_score(labels == 0, p_covid))
    assert result["brier"]["value"] == pytest.approx(brier_score_loss(labels == 0, p_covid))
    for name in ("pr_auc", "brier"):
        low, high = result[name]["ci95"]
        assert 0 <= low < result[name]["value"] < high <= 1


def test_one_image_a_patient_gives_the_exact_interval():
    labels, p_covid = np.repeat([0, 1], 10), np.repeat([0.9, 0.1, 0.2], (8, 2, 10))
    result = classification.summary(labels, p_covid, 0.5)
    told = stats.binomtest(8, 10).proportion_ci(0.95, method="exact")
    assert result["sensitivity"]["ci95"] == pytest.approx([told.low, told.high])
    assert result["specificity"]["ci95"] == pytest.approx([0.025 ** (1 / 10), 1])


def test_images_of_the_same_patients_add_no_certainty():
    labels, p_covid = np.repeat([0, 1], 20), np.tile([0.9, 0.9, 0.1, 0.8], 10)
    once = classification.summary(labels, p_covid, 0.5)
    copied = classification.summary(np.tile(labels, 9), np.tile(p_covid, 9), 0.5, np.tile(np.arange(40), 9))
    assert (copied["n"], copied["patients"]) == (360, 40)
    for name in ("accuracy", "sensitivity", "specificity", "auroc", "pr_auc", "brier"):
        assert copied[name]["value"] == pytest.approx(once[name]["value"])
        assert width(copied[name]) >= 0.98 * width(once[name])


def test_a_perfect_figure_of_few_patients_is_not_certain():
    labels, patients = np.repeat([0, 1], 20), np.repeat(np.arange(8), 5)
    result = classification.summary(labels, np.repeat([1.0, 0.0], 20), 0.5, patients)
    assert result["sensitivity"]["ci95"] == pytest.approx([0.025 ** (1 / 4), 1])
    assert result["auroc"]["ci95"] == pytest.approx([classification.newcombe_interval(1.0, 4, 4)[0], 1])
    assert result["auroc"]["ci95"][0] < 0.65
