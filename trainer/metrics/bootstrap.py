"""Resampling patients, not images: what the intervals of every figure rest on. Never TensorFlow.

Two images of one patient are not two independent observations, so a replicate draws whole patients with replacement
(Field and Welsh 2007, Bootstrapping clustered data), separately among those with covid images, those with others and
those with both, so that both classes are in every replicate. A replicate is a row of weights: how often each image
was drawn. The predictions are taken as they are; no model is trained again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

REPLICATES = 2000
SEED = 42
CHUNK = 500_000  # weights held at a time, each several times over


def replicates(positive: np.ndarray, patients: np.ndarray) -> Iterator[np.ndarray]:
    """Weights of the images, float64 [some replicates, n], REPLICATES rows in all; the same for the same arguments.

    positive: bool [n]. patients: [n], any sortable ids.
    """
    _, patient = np.unique(patients, return_inverse=True)
    count = patient.max() + 1
    has_positive = np.bincount(patient[positive], minlength=count) > 0
    has_negative = np.bincount(patient[~positive], minlength=count) > 0
    stratum = has_positive + 2 * has_negative
    random = np.random.default_rng(SEED)
    rows = max(1, CHUNK // len(patient))
    for start in range(0, REPLICATES, rows):
        drawn = np.empty((min(rows, REPLICATES - start), count))
        for members in (np.flatnonzero(stratum == s) for s in np.unique(stratum)):
            drawn[:, members] = random.multinomial(len(members), np.full(len(members), 1 / len(members)), len(drawn))
        yield drawn[:, patient]


def mean_draws(values: np.ndarray, positive: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Bootstrap distribution, float64 [REPLICATES], of the mean of one value an image, float [n]; NaN is left out."""
    there = np.isfinite(values)
    filled = np.where(there, values, 0)
    return np.concatenate([(w @ filled) / (w @ there) for w in replicates(positive, patients)])


def area_draws(area: Callable, positive: np.ndarray, patients: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Bootstrap distribution, float64 [REPLICATES], of an area's mean over repeats.

    area: `roc_area` or `pr_area`. scores: float [repeats, n], higher for covid.
    """
    return np.concatenate(
        [np.mean([area(positive, s, w) for s in scores], axis=0) for w in replicates(positive, patients)]
    )


def roc_area(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve for each row of image weights [b, n], float64 [b]; ties count half."""
    true, false = _cumulative(positive, scores, weights)
    heights = (true[:, 1:] + true[:, :-1]) / 2
    return np.sum(np.diff(false) * heights, axis=1) / (true[:, -1] * false[:, -1])


def pr_area(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision for each row of image weights [b, n], float64 [b], with scikit-learn's step rule."""
    true, false = _cumulative(positive, scores, weights)
    called = (true + false)[:, 1:]
    precision = np.divide(true[:, 1:], called, out=np.zeros_like(called), where=called > 0)
    return np.sum(np.diff(true) * precision, axis=1) / true[:, -1]


def _cumulative(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of the true and false positives as the threshold falls: two float64 [b, 1 + distinct scores]."""
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    weights, positive = weights[:, order], positive[order]
    start = np.zeros((len(weights), 1))
    true = np.cumsum(weights * positive, axis=1)[:, last_of_tie]
    false = np.cumsum(weights * ~positive, axis=1)[:, last_of_tie]
    return np.hstack([start, true]), np.hstack([start, false])
