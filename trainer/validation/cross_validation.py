"""Cross-validate a recipe: train a head for every fold of every repeat, and score the images it did not train on.

All folds of all repeats train side by side in one compiled function, on features. This is true of the tutorial's
recipe, too: the run rotates every image anew in every epoch, but the folds draw from a few copies rotated beforehand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from covid_tfds.common import progress
from covid_tfds.examples import Examples
from trainer.metrics.effort import choose_repeats, choose_replicates
from trainer.metrics.evaluation import compute_metrics
from trainer.metrics.folds import assign_folds, check_patients
from trainer.models import heads
from trainer.models.head_fitting import Fold, fit_heads
from trainer.recipes import Recipe
from trainer.run_folder.predictions import OutOfFoldPrediction, decide
from trainer.run_folder.results import CrossValidation

HOW = (
    "In each repeat every image is predicted once, by a head that was {trained}. A fold's threshold comes from the "
    "other folds. Values are means over repeats (precision and F1: of all repeats together); confidence intervals "
    "count {unit}, from {replicates} bootstrap replicates."
)
GROUPED = {"trained": "trained on no image of its patient", "unit": "patients"}
UNGROUPED = {"trained": "not trained on it; patients are unknown", "unit": "images"}


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
    """Returns repeated, stratified, patient-grouped folds of `rows`; raises UsageError as `check_patients` does."""
    check_patients(examples.labels[rows], examples.groups[rows], examples.class_names)
    repeats = choose_repeats(len(examples))
    return FoldPlan(rows, assign_folds(examples.labels[rows], examples.groups[rows], seed, repeats))


def predict_out_of_fold(
    recipe: Recipe, pooled: np.ndarray, targets: np.ndarray, plans: list[FoldPlan], seed: int
) -> tuple[list[np.ndarray], list[dict[tuple[int, int], list[np.ndarray]]]]:
    """Returns, for each plan, the out-of-fold log-probabilities and the weights of the heads by (repeat, fold).

    Args:
        recipe: What is trained.
        pooled: float32 [n, variants, d], the features.
        targets: float32 [n, classes], one-hot.
        plans: Their heads are trained together.
        seed: Of the heads' weights and batches.

    Returns:
        float64 [repeats, m, classes] and a head's weights by (repeat, fold), for each plan.
    """
    parts = [Fold(plan.rows[~out], plan.rows[out]) for plan in plans for _, out in plan.held_out()]
    recipe = dataclasses.replace(recipe, batch_size=min(recipe.batch_size, *(len(part.train) for part in parts)))
    with progress.Line(recipe.epochs, f"cross-validation of {len(parts)} heads", "epoch") as line:
        fitted = fit_heads(recipe, pooled, targets, parts, seed, lambda *_: line.advance())
    weights = iter(fitted.weights)
    result = [np.empty((*plan.folds.shape, targets.shape[1])) for plan in plans]
    by_fold: list[dict] = [{} for _ in plans]
    for plan, log_p, own in zip(plans, result, by_fold, strict=True):
        for repeat, out in plan.held_out():
            head = own[repeat, int(plan.folds[repeat, out][0])] = next(weights)
            log_p[repeat, out] = heads.predict_log_probabilities(head, pooled[plan.rows[out], 0])
    return result, by_fold


@dataclass(frozen=True)
class OutOfFold:
    """Out-of-fold predictions of some images, and the decisions made of them.

    Attributes:
        plan: Which images, and in which folds.
        probabilities: float64 [repeats, m, classes], after scaling.
        temperatures: float64 [repeats, m], what the log-odds were divided by; 1 without scaling.
        thresholds: float64 [repeats, m], of the positive class.
    """

    plan: FoldPlan
    probabilities: np.ndarray
    temperatures: np.ndarray
    thresholds: np.ndarray


def compute_cross_validation(examples: Examples, predicted: OutOfFold) -> CrossValidation:
    """Returns the metrics of out-of-fold predictions of all images."""
    decided, folds = decide(predicted.probabilities, predicted.thresholds), predicted.plan.folds
    metrics = compute_metrics(examples.labels, examples.groups, predicted.probabilities, decided, examples.class_names)
    if not examples.patients_known:
        metrics = dataclasses.replace(metrics, patients=None)
    how = HOW.format(
        **(GROUPED if examples.patients_known else UNGROUPED), replicates=f"{choose_replicates(len(examples)):,}"
    )
    return CrossValidation(**vars(metrics), folds=int(folds.max()) + 1, repeats=len(folds), how=how)


def list_out_of_fold(examples: Examples, predicted: OutOfFold) -> tuple[OutOfFoldPrediction, ...]:
    """Returns the rows of out_of_fold.csv or out_of_fold_train.csv: one for each repeat and image."""
    names, rows = examples.class_names, predicted.plan.rows
    decided, most_probable = decide(predicted.probabilities, predicted.thresholds), predicted.probabilities.argmax(-1)
    return tuple(
        OutOfFoldPrediction(
            image_id=str(examples.image_id[row]),
            patient_id=str(examples.groups[row]),
            label=names[examples.labels[row]],
            repeat=repeat,
            fold=int(predicted.plan.folds[repeat, place]),
            probabilities=dict(zip(names, predicted.probabilities[repeat, place].tolist(), strict=True)),
            threshold=float(predicted.thresholds[repeat, place]),
            decision=names[decided[repeat, place]],
            decision_argmax=names[most_probable[repeat, place]],
            temperature=float(predicted.temperatures[repeat, place]),
        )
        for repeat in range(len(decided))
        for place, row in enumerate(rows)
    )
