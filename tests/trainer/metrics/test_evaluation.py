import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, classification_report, confusion_matrix, roc_auc_score

from trainer.metrics.evaluation import compute_metrics, evaluate
from trainer.metrics.intervals import exact_interval
from trainer.run_folder.predictions import decide

NAMES = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")


@pytest.fixture
def predicted():
    """Labels and probabilities of four classes of 30, 40, 60 and 20 images, right two times in three."""
    random = np.random.default_rng(0)
    labels = np.repeat(range(4), (30, 40, 60, 20))
    p = random.dirichlet(np.full(4, 0.7), len(labels)) + 0.6 * np.eye(4)[labels]
    return labels, p / p.sum(1, keepdims=True)


def test_argmax_is_scikit_learns(predicted):
    labels, p = predicted
    found, decided = evaluate(labels, p, 0.2, NAMES).argmax, p.argmax(1)
    assert [list(row) for row in found.confusion_matrix] == confusion_matrix(labels, decided).tolist()
    assert found.accuracy.value == pytest.approx(np.mean(decided == labels))
    assert found.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(labels, decided))
    report = classification_report(labels, decided, target_names=NAMES, output_dict=True)
    for index, name in enumerate(NAMES):
        one = found.classes[name]
        assert one.precision.value == pytest.approx(report[name]["precision"])
        assert one.sensitivity.value == pytest.approx(report[name]["recall"])
        assert one.f1.value == pytest.approx(report[name]["f1-score"])
        assert one.specificity.value == pytest.approx(np.mean(decided[labels != index] != index))
        assert one.auroc.value == pytest.approx(roc_auc_score(labels == index, p[:, index]))
        for estimate in vars(one).values():
            low, high = estimate.ci95
            assert 0 <= low <= estimate.value <= high <= 1
    assert (found.sensitivity, found.f1) == (found.classes["COVID"].sensitivity, found.classes["COVID"].f1)


def test_the_operating_point_is_the_positive_class_against_the_rest_then_argmax_among_the_others(predicted):
    labels, p = predicted
    found = evaluate(labels, p, 0.2, NAMES)
    called = p[:, 0] >= 0.2
    decided = np.where(called, 0, 1 + p[:, 1:].argmax(1))
    assert [list(row) for row in found.confusion_matrix] == confusion_matrix(labels, decided).tolist()
    assert found.sensitivity.value == pytest.approx(called[labels == 0].mean())
    assert found.specificity.value == pytest.approx((~called)[labels != 0].mean())
    assert found.accuracy.value == pytest.approx(np.mean(decided == labels))
    assert found.macro_auroc.value == pytest.approx(roc_auc_score(labels, p, multi_class="ovr", average="macro"))


def test_two_classes_have_one_area_and_one_rule_at_one_half():
    random = np.random.default_rng(1)
    labels, p = np.arange(40) % 2, random.random(40)
    found = evaluate(labels, np.stack([p, 1 - p], 1), 0.5, ("covid", "normal"))
    assert found.macro_auroc == found.auroc == found.classes["normal"].auroc
    assert found.argmax.confusion_matrix == found.confusion_matrix
    assert found.argmax.accuracy == found.accuracy
    assert found.classes["normal"].sensitivity == found.specificity


def test_a_class_without_images_is_left_out_of_the_means(predicted):
    labels, p = predicted
    rows = labels != 3
    found = evaluate(labels[rows], p[rows], 0.2, NAMES)
    assert found.argmax.classes["Viral Pneumonia"].sensitivity.value is None
    assert found.argmax.classes["Viral Pneumonia"].auroc.value is None
    areas = [one.auroc.value for name, one in found.classes.items() if name != "Viral Pneumonia"]
    assert found.macro_auroc.value == pytest.approx(np.mean(areas))
    assert found.argmax.confusion_matrix[3] == (0, 0, 0, 0)


def test_precision_without_a_call_is_undefined():
    found = evaluate(np.asarray([0, 1]), np.asarray([[0.2, 0.8], [0.1, 0.9]]), 0.9, ("covid", "normal"))
    assert (found.precision.value, found.precision.n) == (None, 0)
    assert found.f1.value == 0
    assert found.f1.ci95[1] < 1


def test_the_interval_of_f1_is_that_of_hits_among_all_that_are_or_were_called_positive():
    labels, p = np.repeat([0, 1], 10), np.repeat([0.9, 0.1, 0.9, 0.1], (8, 2, 4, 6))
    found = evaluate(labels, np.stack([p, 1 - p], 1), 0.5, ("covid", "normal"))
    low, high = exact_interval(8, 14)
    assert found.f1.value == pytest.approx(16 / 22)
    assert found.f1.ci95 == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))
    assert found.f1.n == 14


def test_intervals_count_patients_by_both_rules(predicted):
    labels, p = predicted
    copied = [np.tile(labels, 5), np.tile(p, (5, 1)), 0.2, NAMES]
    alone, grouped = evaluate(*copied), evaluate(*copied, np.tile(np.arange(150), 5))
    assert (grouped.patients, alone.patients) == (150, None)
    for name in ("sensitivity", "precision", "f1", "balanced_accuracy"):
        for one, other in ((alone, grouped), (alone.argmax, grouped.argmax)):
            narrow, wide = (np.ptp(getattr(side, name).ci95) for side in (one, other))
            assert wide > 1.5 * narrow


def test_repeats_are_averaged_and_a_precision_is_of_all_of_them_together():
    labels = np.asarray([0, 0, 1, 1])
    p = np.asarray([[0.9, 0.9, 0.1, 0.1], [0.9, 0.1, 0.9, 0.9]])
    p = np.stack([p, 1 - p], -1)
    found = compute_metrics(labels, np.arange(4), p, decide(p, 0.5), ("covid", "normal"))
    assert found.argmax.confusion_matrix == ((1.5, 0.5), (1.0, 1.0))
    assert found.sensitivity.value == 0.75
    assert found.precision.value == pytest.approx(3 / 5)
