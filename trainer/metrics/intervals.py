"""Closed-form confidence intervals of a proportion and of an AUROC."""

from __future__ import annotations

from scipy import stats
from scipy.optimize import brentq


def exact_interval(successes: float, n: float) -> tuple[float, float]:
    """Returns the exact 95 % limits of a proportion (Clopper and Pearson 1934).

    Args:
        successes: In [0, n]. Need not be whole: the limits are quantiles of beta distributions.
        n: Number of trials, > 0.

    Example:
        >>> low, high = exact_interval(8, 10)
        >>> round(low, 2), round(high, 2)
        (0.44, 0.97)
    """
    low = 0.0 if successes <= 0 else float(stats.beta.ppf(0.025, successes, n - successes + 1))
    high = 1.0 if successes >= n else float(stats.beta.ppf(0.975, successes + 1, n - successes))
    return low, high


def newcombe_interval(area: float, positives: int, negatives: int, level: float = 0.95) -> tuple[float, float]:
    """Returns the score interval of an AUROC. It has some width at AUROC 0 and 1, too.

    Newcombe, R. G. Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part 2.
    Statistics in Medicine 25 (2006) 559-573, method 5. The limits are the roots of
    (A - t)^2 = z^2 t (1 - t) [1 + N ((1 - t) / (2 - t) + t / (1 + t))] / (m n) with N = (m + n) / 2 - 1.

    Args:
        area: The AUROC A in [0, 1].
        positives: Number m of independent positives, > 0.
        negatives: Number n of independent negatives, > 0.
        level: Confidence level in (0, 1).
    """
    z2 = stats.norm.ppf((1 + level) / 2) ** 2
    extra = (positives + negatives) / 2 - 1

    def excess(t: float) -> float:
        variance = t * (1 - t) * (1 + extra * ((1 - t) / (2 - t) + t / (1 + t))) / (positives * negatives)
        return (area - t) ** 2 - z2 * variance

    # t = 0 and t = 1 solve the equation too when the area is 0 or 1; the limit is the other root.
    inside = min(max(area, 1e-9), 1 - 1e-9)
    low = 0.0 if area <= 0 else brentq(excess, 0.0, inside)
    high = 1.0 if area >= 1 else brentq(excess, inside, 1.0)
    return float(low), float(high)
