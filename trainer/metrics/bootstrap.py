"""Bootstrap over patients: the confidence interval of every metric rests on it.

Two images of one patient are not independent, so a replicate draws whole patients with replacement (Field and Welsh
2007, Bootstrapping clustered data). Patients with positive images, with negative images and with both are drawn
separately, so that every replicate holds both classes. A replicate is a row of weights: how often each image was
drawn. The predictions stay as they are; no model is trained again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

REPLICATES = 2000
SEED = 42
CHUNK = 500_000  # weights held at a time, each several times over


def draw_replicates(is_positive: np.ndarray, patients: np.ndarray) -> Iterator[np.ndarray]:
    """Yields image weights, float64 [some replicates, n], REPLICATES rows in all; the same for the same arguments.

    Args:
        is_positive: bool [n].
        patients: ids [n] of any sortable kind.
    """
    _, patient = np.unique(patients, return_inverse=True)
    count = patient.max() + 1
    has_positive = np.bincount(patient[is_positive], minlength=count) > 0
    has_negative = np.bincount(patient[~is_positive], minlength=count) > 0
    stratum = has_positive + 2 * has_negative
    random = np.random.default_rng(SEED)
    rows = max(1, CHUNK // len(patient))
    for start in range(0, REPLICATES, rows):
        drawn = np.empty((min(rows, REPLICATES - start), count))
        for members in (np.flatnonzero(stratum == s) for s in np.unique(stratum)):
            drawn[:, members] = random.multinomial(len(members), np.full(len(members), 1 / len(members)), len(drawn))
        yield drawn[:, patient]


def bootstrap_mean(values: np.ndarray, is_positive: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Returns the bootstrap distribution of a mean, float64 [REPLICATES].

    Args:
        values: float [n], one per image; NaN is left out.
        is_positive: bool [n].
        patients: ids [n].
    """
    there = np.isfinite(values)
    filled = np.where(there, values, 0)
    return np.concatenate([(w @ filled) / (w @ there) for w in draw_replicates(is_positive, patients)])


def bootstrap_area(area: Callable, is_positive: np.ndarray, patients: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns the bootstrap distribution of an area's mean over repeats, float64 [REPLICATES].

    Args:
        area: `roc_area` or `pr_area`.
        is_positive: bool [n].
        patients: ids [n].
        scores: float [repeats, n]; higher is more positive.
    """
    return np.concatenate(
        [np.mean([area(is_positive, s, w) for s in scores], axis=0) for w in draw_replicates(is_positive, patients)]
    )


def roc_area(is_positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the area under the ROC curve for each row of image weights; ties count half.

    Args:
        is_positive: bool [n].
        scores: float [n].
        weights: float [b, n].

    Returns:
        float64 [b]; NaN where a class has no weight.

    Example:
        >>> roc_area(np.array([True, True, False]), np.array([0.9, 0.4, 0.6]), np.ones((1, 3)))
        array([0.5])
    """
    true, false = _cumulative(is_positive, scores, weights)
    heights = (true[:, 1:] + true[:, :-1]) / 2
    return np.sum(np.diff(false) * heights, axis=1) / (true[:, -1] * false[:, -1])


def pr_area(is_positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the average precision for each row of image weights, with scikit-learn's step rule.

    Args:
        is_positive: bool [n].
        scores: float [n].
        weights: float [b, n].

    Returns:
        float64 [b]; NaN where no positive has weight.
    """
    true, false = _cumulative(is_positive, scores, weights)
    called = (true + false)[:, 1:]
    precision = np.divide(true[:, 1:], called, out=np.zeros_like(called), where=called > 0)
    return np.sum(np.diff(true) * precision, axis=1) / true[:, -1]


def _cumulative(is_positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of the true and false positives as the threshold falls: two float64 [b, 1 + distinct scores]."""
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    weights, positive = weights[:, order], is_positive[order]
    start = np.zeros((len(weights), 1))
    true = np.cumsum(weights * positive, axis=1)[:, last_of_tie]
    false = np.cumsum(weights * ~positive, axis=1)[:, last_of_tie]
    return np.hstack([start, true]), np.hstack([start, false])
