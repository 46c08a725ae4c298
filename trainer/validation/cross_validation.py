"""Heads that never saw the image they judge: the model's recipe on every fold, and the figures that follow.

All folds of all repeats train side by side in one compiled function. They always learn from cached features: for the
tutorial's recipe, too, whose run itself rotates each image anew in every epoch, the folds draw from a few rotated
copies of each image made beforehand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from covid_tfds.common import progress
from covid_tfds.examples import Examples
from trainer.metrics import calibration, classification, folds, operating_point
from trainer.models import head_fitting, heads
from trainer.recipes import Recipe


@dataclass(frozen=True)
class Plan:
    """Which images are cross-validated and how: rows, int64 [m], and each one's fold, int64 [repeats, m]."""

    rows: np.ndarray
    fold: np.ndarray

    @classmethod
    def of(cls, examples: Examples, rows: np.ndarray, seed: int) -> Plan:
        """Repeated, stratified, patient-grouped folds of `rows`; raises UsageError as `folds.assign` does."""
        return cls(rows, folds.assign(examples.labels[rows], examples.groups[rows], seed))

    def parts(self) -> Iterator[tuple[int, np.ndarray]]:
        """For every fold its repeat and which of `rows` are held out, bool [m]; repeat after repeat."""
        return ((repeat, own == fold) for repeat, own in enumerate(self.fold) for fold in np.unique(own))


def log_odds(recipe: Recipe, pooled: np.ndarray, targets: np.ndarray, plans: list[Plan], seed: int) -> list[np.ndarray]:
    """Out-of-fold log-odds of covid for each plan, float64 [repeats, m], from heads trained for it.

    pooled: float32 [n, variants, d]. targets: float32 [n, classes], one-hot.
    """
    parts = [
        head_fitting.Fold(plan.rows[~held_out], plan.rows[held_out]) for plan in plans for _, held_out in plan.parts()
    ]
    recipe = dataclasses.replace(recipe, batch_size=min(recipe.batch_size, *(len(part.train) for part in parts)))
    with progress.Line(recipe.epochs, f"cross-validation of {len(parts)} heads", "epoch") as line:
        fitted = head_fitting.fit_heads(recipe, pooled, targets, parts, seed, lambda *_: line.advance())
    weights = iter(fitted.weights)
    result = [np.empty(plan.fold.shape) for plan in plans]
    for plan, odds in zip(plans, result, strict=True):
        for repeat, held_out in plan.parts():
            odds[repeat, held_out] = heads.predict_log_odds(next(weights), pooled[plan.rows[held_out], 0])
    return result


def figures(examples: Examples, plan: Plan, odds: np.ndarray, target_sensitivity: float, calibrated: bool) -> dict:
    """metrics.json's "cross_validation" for a plan's out-of-fold log-odds, float [repeats, m].

    The threshold for a fold (and its temperature, with `calibrated`) comes from the other folds of its repeat.
    """
    labels, patients = examples.labels[plan.rows], examples.groups[plan.rows]
    raw = calibration.probabilities(odds)
    # Dividing by a temperature moves the threshold along: the decisions are the same without it.
    called = raw >= operating_point.cross_fitted(labels, raw, plan.fold, target_sensitivity)
    return {
        "folds": int(plan.fold.max()) + 1,
        "repeats": len(plan.fold),
        "n": len(plan.rows),
        "patients": len(np.unique(patients)) if examples.patients_known else None,
        "how": "In each repeat every image of the dataset is judged once, by a head that saw no image of its patient. "
        "A fold's threshold comes from the other folds. Values are means over repeats; intervals respect patients.",
        **classification.repeated(labels, patients, probabilities(labels, plan, odds, calibrated), called),
    }


def probabilities(labels: np.ndarray, plan: Plan, odds: np.ndarray, calibrated: bool) -> np.ndarray:
    """Out-of-fold probabilities of covid, float64 [repeats, m], at the temperatures of the other folds."""
    return calibration.probabilities(odds, calibration.cross_fitted(labels, odds, plan.fold) if calibrated else 1.0)


def rows(examples: Examples, plan: Plan, p_covid: np.ndarray) -> list[dict]:
    """out_of_fold.csv's rows: one an image and repeat. p_covid: float [repeats, m]."""
    return [
        {
            "image_id": str(examples.image_id[row]),
            "patient_id": str(examples.groups[row]),
            "label": examples.class_names[examples.labels[row]],
            "repeat": repeat,
            "fold": int(plan.fold[repeat, index]),
            "p_covid": float(p_covid[repeat, index]),
        }
        for repeat in range(len(p_covid))
        for index, row in enumerate(plan.rows)
    ]
