"""Metrics of one class against the rest, with 95 % confidence intervals.

Values count images; intervals count patients. An interval spans the bootstrap over patients (`bootstrap`) and the
exact or score interval for that number of *patients*: the bootstrap alone has no width at a perfect value, and is too
narrow for a dozen patients. Where every patient has one image, the interval of a proportion is the exact one.

In all functions `is_positive` is bool [n], True for images of the class, `scores` are its probabilities, float
[repeats, n], and `patients` are ids [n] of any sortable kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from trainer.metrics import bootstrap
from trainer.metrics.intervals import exact_interval, newcombe_interval
from trainer.run_folder.estimate import Estimate


@dataclass(frozen=True)
class Ratio:
    """A share of images, such as a sensitivity, to be estimated.

    Attributes:
        hits: bool [repeats, n], the images that count as hits; all of them are `among`.
        among: bool [repeats, n], the images that count at all.
        because: Why the share is undefined where no image counts.
        is_f1: Give 2 share / (1 + share) in place of the share: F1, of the share of hits among the images that are of
            the class or decided as it.
    """

    hits: np.ndarray
    among: np.ndarray
    because: str
    is_f1: bool = False

    @property
    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Share of the repeats in which each image is a hit, and in which it counts, float64 [n] each."""
        return self.hits.mean(0), self.among.mean(0)

    def transform(self, share):
        """Returns the metric of a share, or of an array of them."""
        return 2 * share / (1 + share) if self.is_f1 else share


def list_ratios(is_positive: np.ndarray, called: np.ndarray) -> tuple[Ratio, Ratio, Ratio, Ratio]:
    """Returns sensitivity, specificity, precision and F1. called: bool [repeats, n], decided as the class."""
    positive = np.broadcast_to(is_positive, called.shape)
    hits = called & positive
    return (
        Ratio(hits, positive, "there is no positive image"),
        Ratio(~called & ~positive, ~positive, "there is no negative image"),
        Ratio(hits, called, "no image was called positive"),
        Ratio(hits, called | positive, "no image is positive or was called positive", is_f1=True),
    )


def estimate_ratios(ratios: Sequence[Ratio], labels: np.ndarray, patients: np.ndarray) -> list[Estimate]:
    """Returns the estimate of each ratio, of all repeats together. labels: class of each image, [n]."""
    draws = None
    estimates = []
    for index, ratio in enumerate(ratios):
        hits, among = ratio.sums
        counts = among > 0
        if not counts.any():
            estimates.append(Estimate(None, None, 0, ratio.because))
            continue
        share = float(hits[counts].sum() / among[counts].sum())
        # The images that count are the same in every repeat, except those of a precision or an F1.
        distinct = ratio.among if np.any(ratio.among != ratio.among[0]) else ratio.among[:1]
        n = float(distinct.sum() / len(distinct))
        size = float(np.mean([count_patients(rows, patients) for rows in distinct]))
        limits = exact_interval(share * size, size)
        if size == n:
            drawn = None
        else:
            if draws is None:  # once for all ratios, and only where a patient has several images
                draws = bootstrap.bootstrap_ratios([one.sums for one in ratios], labels, patients)
            drawn = draws[index]
        one = _estimate(share, round(n), limits, drawn)
        value, low, high = (float(ratio.transform(part)) for part in one.value_and_limits)
        estimates.append(Estimate(value, (low, high), one.n))
    return estimates


def compute_auroc(is_positive: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> Estimate:
    """Returns the area under the ROC curve, the mean over repeats; undefined with one class only.

    Args:
        is_positive: bool [n].
        scores: float [repeats, n]; higher is more positive. Need not be probabilities.
        patients: ids [n].
    """
    sizes = count_patients(is_positive, patients), count_patients(~is_positive, patients)
    if not all(sizes):
        return Estimate(None, None, len(is_positive), "there are images of one class only")
    value = float(np.mean([roc_auc_score(is_positive, repeat) for repeat in scores]))
    draws = bootstrap.bootstrap_area(bootstrap.roc_area, is_positive, patients, scores)
    return estimate_auroc(value, draws, is_positive, patients)


def estimate_auroc(value: float, draws: np.ndarray, is_positive: np.ndarray, patients: np.ndarray) -> Estimate:
    """Returns an AUROC with its interval. draws: float [replicates], its bootstrap distribution."""
    sizes = count_patients(is_positive, patients), count_patients(~is_positive, patients)
    return _estimate(value, len(is_positive), newcombe_interval(value, *sizes), draws)


def compute_pr_auc(is_positive: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> Estimate:
    """Returns the average precision; its closed-form limits are those of a proportion of the positives.

    Boyd, Eng and Page (2013), Area under the precision-recall curve: point estimates and confidence intervals.
    """
    size = count_patients(is_positive, patients)
    if not size:
        return Estimate(None, None, len(is_positive), "there is no positive image")
    value = float(np.mean([average_precision_score(is_positive, repeat) for repeat in scores]))
    draws = bootstrap.bootstrap_area(bootstrap.pr_area, is_positive, patients, scores)
    return _estimate(value, len(is_positive), exact_interval(value * size, size), draws)


def compute_brier(is_positive: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> Estimate:
    """Returns the Brier score; its closed-form limits are those of a proportion of the patients.

    Of all values in [0, 1] with one mean, 0 and 1 vary most. A standard error would be 0 where ten images are all
    decided rightly and with certainty, as if the eleventh could not be wrong.
    """
    values = np.mean((scores - is_positive) ** 2, axis=0)
    value, size = float(values.mean()), len(np.unique(patients))
    (draws,) = bootstrap.bootstrap_ratios([(values, np.ones(len(values)))], ~is_positive, patients)
    return _estimate(value, len(values), exact_interval(value * size, size), draws)


def count_patients(rows: np.ndarray, patients: np.ndarray) -> int:
    """Returns the number of patients among the images of `rows`, bool [n]."""
    return len(np.unique(patients[rows]))


def _estimate(value: float, n: int, limits: tuple[float, float], draws: np.ndarray | None = None) -> Estimate:
    low, high = limits
    if draws is not None:
        drawn_low, drawn_high = np.quantile(draws[np.isfinite(draws)], (0.025, 0.975))
        low, high = min(low, drawn_low), max(high, drawn_high)
    # An average precision is a sum that rounding can take to 1.0000000000000002.
    value, low, high = (float(np.clip(part, 0, 1)) for part in (value, min(low, value), max(high, value)))
    return Estimate(value, (low, high), n)
