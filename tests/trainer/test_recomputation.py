"""The values of metrics.json, computed again from a run's CSV files alone by plain NumPy and scikit-learn."""

import csv

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    roc_auc_score,
)

from trainer.run_folder.run import load


class Table:
    """A prediction table as arrays, in the file's order."""

    def __init__(self, path, split=None):
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if split in (None, row.get("split"))]
        self.names = [column.removeprefix("p_") for column in rows[0] if column.startswith("p_")]
        self.label, self.decision, self.argmax = (
            np.asarray([self.names.index(row[column]) for row in rows])
            for column in ("label", "decision", "decision_argmax")
        )
        self.p = np.asarray([[float(row[f"p_{name}"]) for name in self.names] for row in rows])
        for column, kind in (("repeat", int), ("fold", int), ("threshold", float), ("temperature", float)):
            if column in rows[0]:
                setattr(self, column, np.asarray([kind(row[column]) for row in rows]))
        self.repeats = np.unique(self.repeat) if "repeat" in rows[0] else None

    def parts(self):
        """The rows of each repeat."""
        return (
            [self.repeat == r for r in self.repeats] if self.repeats is not None else [np.full(len(self.label), True)]
        )


@pytest.fixture(params=["small_run", "three_class_run"])
def folder(request):
    return request.getfixturevalue(request.param)


def check_metrics(metrics, table):
    """All values of a section of metrics.json."""
    parts, positive = table.parts(), table.label == 0
    means = {
        "auroc": [roc_auc_score(positive[rows], table.p[rows, 0]) for rows in parts],
        "pr_auc": [average_precision_score(positive[rows], table.p[rows, 0]) for rows in parts],
        "brier": [np.mean((table.p[rows, 0] - positive[rows]) ** 2) for rows in parts],
    }
    for name, values in means.items():
        assert getattr(metrics, name).value == pytest.approx(np.mean(values), abs=1e-12), name
    for found, decided in ((metrics, table.decision), (metrics.argmax, table.argmax)):
        assert found.accuracy.value == pytest.approx(np.mean(decided == table.label))
        assert found.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(table.label, decided))
        for index, name in enumerate(table.names):
            of_class, one, called = found.classes[name], table.label == index, decided == index
            assert of_class.sensitivity.value == pytest.approx(called[one].mean())
            assert of_class.specificity.value == pytest.approx((~called)[~one].mean())
            areas = [roc_auc_score(one[rows], table.p[rows, index]) for rows in parts]
            assert of_class.auroc.value == pytest.approx(np.mean(areas), abs=1e-12)
            if called.any():
                assert of_class.precision.value == pytest.approx(precision_score(one, called))
                assert of_class.f1.value == pytest.approx(f1_score(one, called))
    matrices = [
        confusion_matrix(table.label[rows], table.argmax[rows], labels=range(len(table.names))) for rows in parts
    ]
    np.testing.assert_allclose(metrics.argmax.confusion_matrix, np.mean(matrices, axis=0))


def test_the_test_split(folder):
    metrics, table = load(folder).metrics, Table(folder / "predictions.csv", "test")
    check_metrics(metrics.test, table)
    np.testing.assert_array_equal(table.decision == 0, table.p[:, 0] >= metrics.threshold)
    np.testing.assert_array_equal(table.argmax, table.p.argmax(1))
    matrix = confusion_matrix(table.label, table.decision, labels=range(len(table.names)))
    np.testing.assert_array_equal(metrics.test.confusion_matrix, matrix)


def test_the_cross_validation(folder):
    metrics, table = load(folder).metrics, Table(folder / "out_of_fold.csv")
    check_metrics(metrics.cross_validation, table)
    called = table.p[:, 0] >= table.threshold
    np.testing.assert_array_equal(table.decision, np.where(called, 0, 1 + table.p[:, 1:].argmax(1)))
    np.testing.assert_array_equal(table.argmax, table.p.argmax(1))


def test_the_operating_point(folder):
    metrics, table = load(folder).metrics, Table(folder / "out_of_fold_train.csv")
    assert set(table.threshold) == {metrics.threshold}
    positive = table.label == 0
    lowest_first = np.sort(table.p[positive, 0])
    allowed = int(len(lowest_first) * (1 - metrics.target_sensitivity) + 1e-9)
    called, lower = lowest_first[allowed], table.p[table.p[:, 0] < lowest_first[allowed], 0]
    assert metrics.threshold == pytest.approx((called + lower.max(initial=0)) / 2, abs=1e-12)
    rates = metrics.operating_point.out_of_fold
    assert rates.sensitivity.value == pytest.approx((table.decision == 0)[positive].mean())
    assert rates.specificity.value == pytest.approx((table.decision != 0)[~positive].mean())


def test_the_calibration(folder):
    found, table = load(folder).metrics.calibration, Table(folder / "out_of_fold_train.csv")
    before, classes = log_softmax(np.log(table.p) * table.temperature[0], axis=1), len(table.names)
    truth = np.eye(classes)[table.label]

    def fit(rows):
        images = np.bincount(table.label[rows])[table.label[rows]][:, None] / len(np.unique(table.repeat[rows]))
        targets = (1 + truth[rows] * images) / (images + classes)

        def loss(log_temperature):
            return -np.sum(targets * log_softmax(before[rows] / np.exp(log_temperature), axis=1))

        return np.exp(minimize_scalar(loss, bounds=np.log((0.05, 20)), method="bounded", options={"xatol": 1e-6}).x)

    everyone = np.full(len(table.label), True)
    assert found.temperature == pytest.approx(fit(everyone) if found.applied else 1.0, rel=1e-4)
    after = np.empty(before.shape)
    for rows in table.parts():
        for fold in np.unique(table.fold[rows]):
            own, others = rows & (table.fold == fold), rows & (table.fold != fold)
            after[own] = log_softmax(before[own] / fit(others), axis=1)
    for name, log_p in (("before", before), ("after", after)):
        assert getattr(found, f"log_loss_{name}") == pytest.approx(-np.mean(log_p[truth == 1]), rel=1e-4)
        brier = np.mean((np.exp(log_p[:, 0]) - truth[:, 0]) ** 2)
        assert getattr(found, f"brier_{name}") == pytest.approx(brier, rel=1e-4)
    assert found.applied == (found.log_loss_after < found.log_loss_before)
