"""Where to draw the line: the threshold for a wanted sensitivity, and what a decision is worth. Never TensorFlow."""

from __future__ import annotations

import numpy as np

from trainer.metrics.classification import POSITIVE, repeated

PREVALENCES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def threshold(labels: np.ndarray, p_covid: np.ndarray, target_sensitivity: float) -> float:
    """The highest threshold at which the sensitivity reaches the target, pooled over repeats.

    labels: int [n]. p_covid: float [repeats, n] in [0, 1]. It lies halfway between the lowest covid score that must be
    called and the next score below, so that rounding on another runtime does not flip that image.
    """
    scores = np.sort(p_covid[:, labels == POSITIVE].ravel())
    missed = int(np.floor(len(scores) * (1 - target_sensitivity) + 1e-9))
    lowest = scores[missed]
    below = p_covid[p_covid < lowest]
    return float((lowest + (below.max() if below.size else 0.0)) / 2)


def choose(labels: np.ndarray, patients: np.ndarray, p_covid: np.ndarray, target_sensitivity: float) -> dict:
    """metrics.json's "operating_point", without its figures on the test split.

    labels: int [n]. patients: ids [n]. p_covid: out-of-fold probabilities of the training split, float [repeats, n].
    out_of_fold holds the figures on the very predictions that the threshold was chosen on, so they flatter it.
    """
    chosen = threshold(labels, p_covid, target_sensitivity)
    figures = repeated(labels, patients, p_covid, p_covid >= chosen)
    return {
        "target_sensitivity": target_sensitivity,
        "threshold": chosen,
        "how": f"The highest threshold at which the sensitivity on out-of-fold predictions of the training split is at "
        f"least {target_sensitivity:g}; then frozen.",
        "out_of_fold": {name: figures[name] for name in ("sensitivity", "specificity")},
    }


def cross_fitted(labels: np.ndarray, p_covid: np.ndarray, folds: np.ndarray, target_sensitivity: float) -> np.ndarray:
    """For each prediction the threshold from the other folds of its repeat, float64 [repeats, n].

    labels: int [n]. p_covid: float [repeats, n]. folds: int [repeats, n], each prediction's fold.
    """
    result = np.empty(p_covid.shape)
    for repeat, own in enumerate(folds):
        for fold in np.unique(own):
            others = own != fold
            result[repeat, ~others] = threshold(
                labels[others], p_covid[repeat : repeat + 1, others], target_sensitivity
            )
    return result


def predictive_values(sensitivity: float, specificity: float, prevalence: float) -> tuple[float | None, float | None]:
    """PPV and NPV by Bayes' theorem; None where nobody is called positive (or negative)."""
    true, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    clear, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    ppv = true / (true + false) if true + false else None
    return ppv, clear / (clear + missed) if clear + missed else None
