"""Draw data sets with a known shortcut from a pool of patients, and reach the verdict on each.

Folds, rule, intervals and head fitting are those of a training. Two things are done faster, with the same results:
heads of several sets are fitted together, and so are the logistic regressions of a control's folds (`logistic`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from trainer.benchmark.logistic import score_out_of_fold
from trainer.benchmark.verdict_pool import RECIPE, Pool
from trainer.metrics.bootstrap import draw_replicates
from trainer.metrics.folds import assign_folds
from trainer.metrics.one_vs_rest import estimate_auroc
from trainer.models import heads
from trainer.models.head_fitting import Fold, fit_heads
from trainer.run_folder.shortcut_results import Shortcuts
from trainer.validation.verdict import FALSE_CUES, Separation, choose_cue_level, compare_with_model, decide

RULES = (FALSE_CUES, 0.03)  # the verdict's, and one that finds weaker cues and more false ones


@dataclass(frozen=True)
class Size:
    """What all sets of one number of patients have in common: the first half is ill, and each has one image.

    Attributes:
        is_positive: bool [n].
        patients: int [n].
        folds: int [repeats, n]. The same for all sets, whose patients are in random order.
        drawn: float [replicates, n], the bootstrap's weights.
    """

    is_positive: np.ndarray
    patients: np.ndarray
    folds: np.ndarray
    drawn: np.ndarray

    @classmethod
    @functools.cache
    def of(cls, n: int) -> Size:
        """Returns the folds and the bootstrap's weights of `n` patients."""
        is_positive, patients = np.arange(n) < n // 2, np.arange(n)
        replicates = np.concatenate(list(draw_replicates(~is_positive, patients)))
        return cls(is_positive, patients, assign_folds(~is_positive, patients, seed=42), replicates)

    def measure_separation(self, scores: np.ndarray) -> Separation:
        """Returns the AUROC of scores, float [repeats, n], as `verdict.measure_separation` does, by comparing pairs."""
        positive, negative = scores[:, self.is_positive, None], scores[:, None, ~self.is_positive]
        wins = np.mean((positive > negative) + 0.5 * (positive == negative), axis=0)
        ill, healthy = self.drawn[:, self.is_positive], self.drawn[:, ~self.is_positive]
        draws = np.sum((ill @ wins) * healthy, axis=1) / (ill.sum(1) * healthy.sum(1))
        return Separation(estimate_auroc(float(wins.mean()), draws, self.is_positive, self.patients), draws)


@dataclass(frozen=True)
class SetResult:
    """The verdict on one set.

    Attributes:
        patients: Number of patients.
        marked: Share of the ill patients' images that have the marker.
        index: Which of the sets of this kind.
        verdict: "shortcut", "not detected" or "inconclusive".
        model: AUROC of the model.
        strongest: Name of the strongest control.
        control: Its AUROC.
        false_cues: The rule: a control is a cue at the level 1 - false_cues / k.
        weights: SHA-256 of the backbone.
    """

    patients: int
    marked: float
    index: int
    verdict: str
    model: float
    strongest: str
    control: float
    false_cues: float
    weights: str


def draw_rows(pool: Pool, patients: int, marked: float, index: int) -> np.ndarray:
    """Returns rows of the pool, int64 [patients]: ill patients first, the marker on a share of their images."""
    random = np.random.default_rng([patients, round(100 * marked), index])
    half = patients // 2
    ill = random.choice(np.flatnonzero(pool.is_ill), half, replace=False)
    healthy = random.choice(np.flatnonzero(~pool.is_ill), half, replace=False)
    ill[: round(marked * half)] += len(pool.is_ill)
    # In random order: the folds are the same for all sets, and must hold marked images in random numbers.
    return np.concatenate([random.permutation(ill), healthy])


def reach_set_verdicts(pool: Pool, size: Size, marked: float, indices: list[int]) -> list[SetResult]:
    """Draws sets, cross-validates the model and the controls on each, and returns the verdicts."""
    sets = [draw_rows(pool, len(size.patients), marked, index) for index in indices]
    models = _cross_validate(pool, size, sets)
    with threadpool_limits(1):  # as `verdict.compare_with_controls`
        return [
            result
            for index, rows, log_odds in zip(indices, sets, models, strict=True)
            for result in _reach_verdicts(pool, size, rows, log_odds, marked, index)
        ]


def _reach_verdicts(
    pool: Pool, size: Size, rows: np.ndarray, log_odds: np.ndarray, marked: float, index: int
) -> Iterator[SetResult]:
    """The verdict by each of RULES."""
    model = size.measure_separation(log_odds)
    controls = [
        (control, size.measure_separation(score_out_of_fold(control.inputs[rows], size.is_positive, size.folds)))
        for control in pool.controls
    ]
    for false_cues in RULES:
        level = choose_cue_level(pool.controls, false_cues)
        results = {
            control.name: compare_with_model(control, own, model, size.is_positive, size.patients, level)
            for control, own in controls
        }
        yield _describe(decide(model.auroc, results, len(size.patients)), marked, index, false_cues, pool.weights)


def _describe(found: Shortcuts, marked: float, index: int, false_cues: float, weights: str) -> SetResult:
    strongest = found.controls[found.strongest].auroc
    return SetResult(
        patients=strongest.n,
        marked=marked,
        index=index,
        verdict=found.verdict,
        model=found.model.auroc.value_and_limits[0],
        strongest=found.strongest,
        control=strongest.value_and_limits[0],
        false_cues=false_cues,
        weights=weights,
    )


def _cross_validate(pool: Pool, size: Size, sets: list[np.ndarray]) -> list[np.ndarray]:
    """Out-of-fold log-odds of each set, float64 [repeats, n]; the heads of all sets are trained together."""
    outs = [(repeat, own == fold) for repeat, own in enumerate(size.folds) for fold in np.unique(own)]
    parts = [Fold(rows[~out], rows[out]) for rows in sets for _, out in outs]
    targets = heads.one_hot(np.tile(~pool.is_ill, 2).astype(int), 2)
    fitted = fit_heads(RECIPE, pool.pooled, targets, parts, 42)
    weights = iter(fitted.weights)
    results = []
    for rows in sets:
        log_odds = np.empty(size.folds.shape)
        for repeat, out in outs:
            log_p = heads.predict_log_probabilities(next(weights), pool.pooled[rows[out], 0])
            log_odds[repeat, out] = log_p[:, 0] - log_p[:, 1]
        results.append(log_odds)
    return results
