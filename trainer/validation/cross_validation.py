"""Cross-validate a recipe: train a head for every fold of every repeat, and score the images it did not train on.

All folds of all repeats train side by side in one compiled function, on features. So do the folds of the tutorial's
recipe: its run rotates every image again in every epoch, its folds draw from a few rotated copies made beforehand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from covid_tfds.common import progress
from covid_tfds.examples import POSITIVE_CLASS, Examples
from trainer.metrics import calibration
from trainer.metrics.folds import assign_folds
from trainer.metrics.one_vs_rest import compute_metrics
from trainer.metrics.operating_point import cross_fit_thresholds
from trainer.models import heads
from trainer.models.head_fitting import Fold, fit_heads
from trainer.recipes import Recipe
from trainer.run_folder.predictions import OutOfFoldPrediction
from trainer.run_folder.results import CrossValidation

HOW = (
    "In each repeat every image is predicted once, by a head that was trained on no image of its patient. A fold's "
    "threshold comes from the other folds. Values are means over repeats; confidence intervals count patients."
)


@dataclass(frozen=True)
class FoldPlan:
    """Which images are cross-validated, and in which folds.

    Attributes:
        rows: int64 [m], the images.
        folds: int64 [repeats, m], the fold that holds each of them out.
    """

    rows: np.ndarray
    folds: np.ndarray

    def held_out(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yields, for every fold of every repeat, the repeat and which of `rows` are held out, bool [m]."""
        return ((repeat, own == fold) for repeat, own in enumerate(self.folds) for fold in np.unique(own))


def plan_folds(examples: Examples, rows: np.ndarray, seed: int) -> FoldPlan:
    """Returns repeated, stratified, patient-grouped folds of `rows`; raises UsageError as `assign_folds` does."""
    return FoldPlan(rows, assign_folds(examples.labels[rows], examples.groups[rows], seed))


def predict_out_of_fold(
    recipe: Recipe, pooled: np.ndarray, targets: np.ndarray, plans: list[FoldPlan], seed: int
) -> list[np.ndarray]:
    """Returns the out-of-fold log-odds of covid for each plan, float64 [repeats, m].

    Args:
        recipe: What is trained.
        pooled: float32 [n, variants, d], the features.
        targets: float32 [n, classes], one-hot.
        plans: Their heads are trained together.
        seed: Of the heads' weights and batches.
    """
    parts = [Fold(plan.rows[~out], plan.rows[out]) for plan in plans for _, out in plan.held_out()]
    recipe = dataclasses.replace(recipe, batch_size=min(recipe.batch_size, *(len(part.train) for part in parts)))
    with progress.Line(recipe.epochs, f"cross-validation of {len(parts)} heads", "epoch") as line:
        fitted = fit_heads(recipe, pooled, targets, parts, seed, lambda *_: line.advance())
    weights = iter(fitted.weights)
    result = [np.empty(plan.folds.shape) for plan in plans]
    for plan, log_odds in zip(plans, result, strict=True):
        for repeat, out in plan.held_out():
            log_odds[repeat, out] = heads.predict_log_odds(next(weights), pooled[plan.rows[out], 0])
    return result


def compute_cross_validation(
    examples: Examples, plan: FoldPlan, log_odds: np.ndarray, p_covid: np.ndarray, target_sensitivity: float
) -> CrossValidation:
    """Returns the metrics of out-of-fold predictions.

    Args:
        examples: The dataset.
        plan: Of all its images.
        log_odds: float64 [repeats, n], out-of-fold and without a temperature; decide what is called covid.
        p_covid: float64 [repeats, n], the probabilities, with a temperature where one is applied.
        target_sensitivity: Each fold's threshold is chosen for it on the other folds.
    """
    is_positive = examples.is_class(POSITIVE_CLASS)
    scores = calibration.probabilities(log_odds)
    # A temperature would move the thresholds along: the decisions are the same without it.
    called = scores >= cross_fit_thresholds(is_positive, scores, plan.folds, target_sensitivity)
    metrics = compute_metrics(is_positive, examples.groups, p_covid, called)
    if not examples.patients_known:
        metrics = dataclasses.replace(metrics, patients=None)
    return CrossValidation(**vars(metrics), folds=int(plan.folds.max()) + 1, repeats=len(plan.folds), how=HOW)


def list_out_of_fold(examples: Examples, folds: np.ndarray, p_covid: np.ndarray) -> tuple[OutOfFoldPrediction, ...]:
    """Returns the rows of out_of_fold.csv: one for each repeat and image.

    Args:
        examples: The dataset.
        folds: int [repeats, n].
        p_covid: float [repeats, n].
    """
    names = [(str(examples.image_id[row]), str(examples.groups[row])) for row in range(len(examples))]
    labels = [examples.class_names[label] for label in examples.labels]
    return tuple(
        OutOfFoldPrediction(*names[row], labels[row], repeat, int(folds[repeat, row]), float(p_covid[repeat, row]))
        for repeat in range(len(p_covid))
        for row in range(len(examples))
    )
