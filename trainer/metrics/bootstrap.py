"""Bootstrap over patients: the confidence interval of every metric rests on it.

Two images of one patient are not independent, so a replicate draws whole patients with replacement (Field and Welsh
2007, Bootstrapping clustered data). Patients with images of the same classes are drawn among themselves, so that every
replicate holds every class. A replicate is a row of weights: how often each image was drawn. The predictions stay as
they are; no model is trained again. The same images are drawn once for all metrics.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from trainer.metrics.effort import choose_replicates

SEED = 42
CHUNK = 500_000  # weights held at a time, each several times over


def number_patients(patients: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Number patients by what their images have, so that the draws don't depend on names or on the images' order.

    With few patients a limit of an interval is one of few values: other draws would move it by up to 0.05.

    Args:
        patients: ids [n] of any sortable kind.
        values: float [n, columns], such as scores and label of each image.

    Returns:
        int [n], the number of each image's patient, from 0 on.

    Example:
        >>> number_patients(np.array(["b", "a", "b"]), np.array([[0.1], [0.3], [0.9]]))
        array([0, 1, 0])
    """
    _, patient = np.unique(patients, return_inverse=True)
    _, row = np.unique(values, axis=0, return_inverse=True)
    order = np.lexsort((row.ravel(), patient))
    owned = np.split(row.ravel()[order], np.flatnonzero(np.diff(patient[order])) + 1)
    number = np.empty(len(owned), dtype=np.int64)
    number[sorted(range(len(owned)), key=lambda index: owned[index].tolist())] = np.arange(len(owned))
    return number[patient]


def draw_replicates(labels: np.ndarray, patients: np.ndarray) -> Iterator[np.ndarray]:
    """Yields image weights, float64 [some replicates, n], `choose_replicates` rows in all; always the same draws.

    Args:
        labels: Classes [n] of any sortable kind, such as ~is_positive.
        patients: ids [n] of any sortable kind.
    """
    _, patient = np.unique(patients, return_inverse=True)
    classes, label = np.unique(labels, return_inverse=True)
    has_class = np.zeros((patient.max() + 1, len(classes)), dtype=np.int64)
    has_class[patient, label] = 1
    stratum = has_class @ (1 << np.arange(len(classes)))
    for drawn in _draw_patients(stratum.tobytes(), choose_replicates(len(patient)), max(1, CHUNK // len(patient))):
        yield drawn[:, patient].astype(np.float64)


@functools.lru_cache(maxsize=8)
def _draw_patients(strata: bytes, replicates: int, rows: int) -> tuple[np.ndarray, ...]:
    """How often each patient is drawn, int16 [`rows`, patients] each time. strata: int64 [patients], as bytes."""
    stratum = np.frombuffer(strata, np.int64)
    random = np.random.default_rng(SEED)
    chunks = []
    for start in range(0, replicates, rows):
        drawn = np.empty((min(rows, replicates - start), len(stratum)), np.int16)
        for members in (np.flatnonzero(stratum == s) for s in np.unique(stratum)):
            drawn[:, members] = random.multinomial(len(members), np.full(len(members), 1 / len(members)), len(drawn))
        chunks.append(drawn)
    return tuple(chunks)


def bootstrap_ratios(
    ratios: Sequence[tuple[np.ndarray, np.ndarray]], labels: np.ndarray, patients: np.ndarray
) -> np.ndarray:
    """Returns the bootstrap distributions of ratios of sums over images, float64 [ratios, replicates]; NaN for 0 / 0.

    Args:
        ratios: Numerator and denominator of each, float [n].
        labels: Classes [n].
        patients: ids [n].
    """
    with np.errstate(invalid="ignore"):
        draws = [[(w @ above) / (w @ below) for above, below in ratios] for w in draw_replicates(labels, patients)]
    return np.concatenate(draws, axis=1)


def bootstrap_area(area: Callable, is_positive: np.ndarray, patients: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns the bootstrap distribution of an area's mean over repeats, float64 [replicates].

    Args:
        area: `roc_area` or `pr_area`.
        is_positive: bool [n].
        patients: ids [n].
        scores: float [repeats, n]; higher is more positive.
    """
    return np.concatenate(
        [np.mean([area(is_positive, s, w) for s in scores], axis=0) for w in draw_replicates(~is_positive, patients)]
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
