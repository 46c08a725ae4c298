"""Any labels, probabilities and patients: the values are scikit-learn's, whatever order and names they come in."""

import warnings
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from covid_tfds.common.files import to_json
from tests.fakes.properties import check_property, in_two_sizes
from trainer.metrics.evaluation import compute_metrics
from trainer.run_folder.predictions import decide

SAME = 1e-12
OTHER_NAMES = ("Zoë", "a", "-1", "10", "9", "影", "B b", "")


@dataclass(frozen=True)
class Predicted:
    """Labels int [n], patients str [n], probabilities float [repeats, n, classes], a threshold, a seed."""

    labels: np.ndarray
    patients: np.ndarray
    probabilities: np.ndarray
    threshold: float
    seed: int


@st.composite
def predictions(draw) -> Predicted:
    """Few images to some dozens, few or many patients, sure or unsure, with ties, with classes without images."""
    n, classes, repeats = draw(st.integers(1, 40)), draw(st.integers(2, 4)), draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    labels = random.integers(0, draw(st.integers(1, classes)), n)
    patients = random.integers(0, draw(st.integers(1, n)), n).astype(str)
    sharpness, digits = draw(st.sampled_from([0.0, 2.0, 30.0])), draw(st.sampled_from([1, 2, 17]))
    logits = random.normal(size=(repeats, n, classes)) + sharpness * np.eye(classes)[labels] * random.random((n, 1))
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p = np.round(p / p.sum(-1, keepdims=True), digits)  # few digits: ties
    return Predicted(labels, patients, p, draw(st.sampled_from([0.0, 0.3, 0.5, 1.0])), draw(st.integers(0, 99)))


def measure(it: Predicted, rows: np.ndarray, patients: np.ndarray) -> dict:
    p = it.probabilities[:, rows]
    names = [f"class {index}" for index in range(p.shape[-1])]
    return to_json(
        compute_metrics(it.labels[rows], patients[rows], p, decide(p, np.full(p.shape[:2], it.threshold)), names)
    )


def list_numbers(value, where=()) -> dict:
    """Every number of nested JSON by its place."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {place: number for key, item in items for place, number in list_numbers(item, (*where, key)).items()}
    return {where: value} if isinstance(value, int | float) else {}


def check_estimates(value) -> None:
    """Each interval holds its estimate and lies in [0, 1]; each undefined value says why."""
    if not isinstance(value, dict):
        return
    if "ci95" not in value:
        for item in value.values():
            check_estimates(item)
    elif value["value"] is None:
        assert value["because"]
        assert value["ci95"] is None
    else:
        low, high = value["ci95"]
        assert 0 <= low <= value["value"] <= high <= 1


def check_values(it: Predicted, found: dict) -> None:
    """All values, against scikit-learn."""
    positive, repeats = it.labels == 0, it.probabilities
    decided = decide(repeats, np.full(repeats.shape[:2], it.threshold))

    def same(one: dict, value) -> None:
        assert (one["value"] is None) == (value is None)
        assert value is None or abs(one["value"] - value) < 1e-9

    same(found["brier"], np.mean([np.mean((p[:, 0] - positive) ** 2) for p in repeats]))
    both = 0 < positive.sum() < len(positive)
    areas = [sklearn_metrics.roc_auc_score(positive, p[:, 0]) for p in repeats] if both else None
    same(found["auroc"], np.mean(areas) if both else None)
    precision = (
        [sklearn_metrics.average_precision_score(positive, p[:, 0]) for p in repeats] if positive.any() else None
    )
    same(found["pr_auc"], np.mean(precision) if positive.any() else None)
    truth = np.tile(it.labels, len(repeats))
    for section, called in ((found, decided.ravel()), (found["argmax"], repeats.argmax(-1).ravel())):
        same(section["accuracy"], sklearn_metrics.accuracy_score(truth, called))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of decisions for a class without an image
            same(section["balanced_accuracy"], sklearn_metrics.balanced_accuracy_score(truth, called))
        for index, of_class in enumerate(section["classes"].values()):
            one, as_one = truth == index, called == index
            same(of_class["sensitivity"], sklearn_metrics.recall_score(one, as_one) if one.any() else None)
            same(of_class["specificity"], sklearn_metrics.recall_score(~one, ~as_one) if not one.all() else None)
            same(of_class["precision"], sklearn_metrics.precision_score(one, as_one) if as_one.any() else None)
            same(of_class["f1"], sklearn_metrics.f1_score(one, as_one) if (one | as_one).any() else None)


def check_metrics(it: Predicted) -> None:
    random, rows = np.random.default_rng(it.seed), np.arange(len(it.labels))
    found = measure(it, rows, it.patients)
    check_values(it, found)
    check_estimates(found)
    numbers = list_numbers(found)
    names = random.permutation([f"{OTHER_NAMES[number % len(OTHER_NAMES)]}{number}" for number in range(len(rows))])
    for again in (
        measure(it, random.permutation(rows), it.patients),
        measure(it, rows, names[it.patients.astype(int)]),
    ):
        others = list_numbers(again)
        assert others.keys() == numbers.keys()
        for place, number in numbers.items():
            assert abs(number - others[place]) < SAME, place


@in_two_sizes
def test_values_are_scikit_learns_and_neither_order_nor_names_matter(examples):
    check_property(examples, predictions(), check_metrics)
