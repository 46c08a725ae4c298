import numpy as np
import pytest
from scipy import stats

from trainer.metrics.intervals import exact_interval, newcombe_interval


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (8, 10), (10, 10), (137, 500)])
def test_exact_interval_is_scipys(successes, n):
    told = stats.binomtest(successes, n).proportion_ci(0.95, method="exact")
    assert exact_interval(successes, n) == pytest.approx((told.low, told.high), abs=1e-9)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"), [(81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (0, 20, 0, 0.1684)]
)
def test_exact_interval_of_published_examples(successes, n, low, high):
    # Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 5.
    assert exact_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_newcombe_limits_solve_the_score_equation():
    area, m, n = 0.8, 12, 20
    for t in newcombe_interval(area, m, n):
        variance = t * (1 - t) * (1 + ((m + n) / 2 - 1) * ((1 - t) / (2 - t) + t / (1 + t))) / (m * n)
        assert abs(area - t) / np.sqrt(variance) == pytest.approx(stats.norm.ppf(0.975), abs=1e-6)


@pytest.mark.parametrize("area", [0.0, 1.0])
def test_newcombe_interval_is_not_empty_at_the_ends(area):
    low, high = newcombe_interval(area, 5, 5)
    assert low <= area <= high
    assert high - low == pytest.approx(0.357297, abs=1e-5)
