import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from trainer.metrics import bootstrap, effort
from trainer.metrics.one_vs_rest import compute_auroc, estimate_ratios, list_ratios


@pytest.mark.parametrize(
    ("area", "scikit_learns"),
    [(bootstrap.roc_area, roc_auc_score), (bootstrap.pr_area, average_precision_score)],
)
def test_weighted_areas_are_scikit_learns(area, scikit_learns):
    random = np.random.default_rng(0)
    positive, scores = random.random(40) < 0.4, random.random(40).round(1)
    weights = random.integers(0, 4, (20, 40)).astype(float)
    told = [scikit_learns(positive, scores, sample_weight=w) for w in weights]
    np.testing.assert_allclose(area(positive, scores, weights), told, atol=1e-12)


def test_whole_patients_are_drawn_and_both_classes_stay():
    patients = np.asarray(["a", "a", "a", "b", "c", "c", "d", "d"])
    positive = np.asarray([True, True, True, True, False, False, True, False])
    weights = np.concatenate(list(bootstrap.draw_replicates(~positive, patients)))
    assert weights.shape == (effort.REPLICATES, 8)
    for name in "abcd":
        of_one = weights[:, patients == name]
        assert np.all(of_one == of_one[:, :1])
    np.testing.assert_array_equal(weights[:, 0] + weights[:, 3], 2)  # a and b share a stratum, c and d have their own
    np.testing.assert_array_equal(weights[:, 4:], 1)


def test_replicates_do_not_depend_on_how_many_fit_into_memory(monkeypatch):
    positive, patients = np.arange(30) < 12, np.arange(30) // 2
    whole = np.concatenate(list(bootstrap.draw_replicates(~positive, patients)))
    monkeypatch.setattr(bootstrap, "CHUNK", 30 * 2000)
    np.testing.assert_array_equal(np.concatenate(list(bootstrap.draw_replicates(~positive, patients))), whole)


def test_mean_draws_have_the_spread_of_the_mean():
    values = np.random.default_rng(1).normal(size=200)
    (draws,) = bootstrap.bootstrap_ratios([(values, np.ones(200))], np.zeros(200), np.arange(200))
    assert draws.std() == pytest.approx(values.std() / np.sqrt(200), rel=0.05)


@pytest.mark.parametrize(("most_images", "highest"), [(1, 0.99), (5, 1.0)])
def test_intervals_cover_the_truth(most_images, highest):
    """Scores with a patient's and an image's share: 100 data sets of 2 x 20 patients with 1 to `most_images` each.

    With one image a patient the interval is not wider than it must be; with more it errs to the safe side.
    """
    random = np.random.default_rng(2)
    truth = {"auroc": stats.norm.cdf(1 / np.sqrt(2 * 2)), "sensitivity": stats.norm.cdf(0.5 / np.sqrt(2))}
    covered, by_image, runs = dict.fromkeys(truth, 0), 0, 100
    for _ in range(runs):
        patients = np.repeat(np.arange(40), random.integers(1, most_images + 1, 40))
        is_positive = patients < 20
        scores = is_positive + random.normal(0, 1, 40)[patients] + random.normal(0, 1, len(patients))
        (sensitivity,) = estimate_ratios(list_ratios(is_positive, scores[None] >= 0.5)[:1], ~is_positive, patients)
        result = {"auroc": compute_auroc(is_positive, scores[None], patients), "sensitivity": sensitivity}
        for name, true in truth.items():
            low, high = result[name].ci95
            covered[name] += low <= true <= high
        low, high = compute_auroc(is_positive, scores[None], np.arange(len(patients))).ci95
        by_image += low <= truth["auroc"] <= high
    for name, count in covered.items():
        assert 0.93 <= count / runs <= highest, name
    if most_images > 1:
        assert by_image / runs < 0.92  # an interval that counts images claims 95 %
