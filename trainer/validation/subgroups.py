"""Metrics of subgroups: by sex, age, view and source, where the dataset states them."""

from __future__ import annotations

import numpy as np

from covid_tfds.examples import Examples
from trainer.metrics.bootstrap import number_patients
from trainer.metrics.one_vs_rest import compute_auroc, count_patients, estimate_ratios, list_ratios
from trainer.run_folder.dataset_card import UNKNOWN
from trainer.run_folder.decision_results import DecisionRates, Subgroup
from trainer.run_folder.predictions import decide
from trainer.validation.cross_validation import OutOfFold

FACTS = ("sex", "age", "view", "source")
AGE_BANDS = {"0 to 17": 18, "18 to 39": 40, "40 to 59": 60, "60 to 79": 80, "80 and more": np.inf}  # upper limits


def compute_subgroups(examples: Examples, predicted: OutOfFold) -> dict[str, dict[str, Subgroup]]:
    """Returns the metrics of each value of each fact, by fact; facts that are stated of no image are left out.

    Args:
        examples: The dataset.
        predicted: Out-of-fold predictions of all its images.
    """
    values = {fact: _list_values(examples, fact) for fact in FACTS}
    return {
        fact: {value: _measure(examples, predicted, own == value) for value in _sort_values(own)}
        for fact, own in values.items()
        if np.any(own != UNKNOWN)
    }


def _list_values(examples: Examples, fact: str) -> np.ndarray:
    """The fact of each image as text, ages as their band, str [n]."""
    stated = examples.facts[fact]
    if fact == "age":
        bands = np.searchsorted(list(AGE_BANDS.values()), stated, side="right")
        names = np.asarray([*AGE_BANDS, UNKNOWN])
        return names[np.where(np.isfinite(stated), bands, len(AGE_BANDS))]
    return np.where(stated == "", UNKNOWN, stated)


def _sort_values(values: np.ndarray) -> list[str]:
    """The values in order, those that are not stated last. The names of the age bands are in order of the alphabet."""
    return sorted(set(values.tolist()), key=lambda value: (value == UNKNOWN, value))


def _measure(examples: Examples, predicted: OutOfFold, among: np.ndarray) -> Subgroup:
    """The metrics of the positive class against the rest among some images, bool [n]."""
    is_positive, probabilities = examples.is_positive[among], predicted.probabilities[:, among]
    patients = number_patients(examples.groups[among], np.stack([*probabilities[..., 0], ~is_positive], axis=1))
    decisions = decide(probabilities, predicted.thresholds[:, among]), probabilities.argmax(-1)
    rates = []
    for decided in decisions:
        sensitivity, specificity, *_ = list_ratios(is_positive, decided == 0)
        rates.append(DecisionRates(*estimate_ratios([sensitivity, specificity], ~is_positive, patients)))
    point, argmax = rates
    return Subgroup(
        n=int(among.sum()),
        positives=int(is_positive.sum()),
        patients=count_patients(np.full(len(patients), True), patients) if examples.patients_known else None,
        auroc=compute_auroc(is_positive, probabilities[..., 0], patients),
        sensitivity=point.sensitivity,
        specificity=point.specificity,
        argmax=argmax,
    )
