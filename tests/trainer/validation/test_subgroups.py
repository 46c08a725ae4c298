import numpy as np

from tests.fakes.examples import make_examples
from trainer.validation.cross_validation import FoldPlan, OutOfFold
from trainer.validation.subgroups import compute_subgroups

# Six images of five patients, three of each class.
LABELS = np.asarray([0, 0, 0, 1, 1, 1])
PATIENTS = np.asarray(["a", "a", "b", "c", "d", "e"])
P = np.asarray([[0.9, 0.8, 0.4, 0.3, 0.6, 0.1]])


def measure(**facts):
    examples = make_examples(LABELS, patient_id=PATIENTS, facts={name: np.asarray(one) for name, one in facts.items()})
    plan = FoldPlan(np.arange(6), np.zeros((1, 6), int))
    probabilities = np.stack([P, 1 - P], axis=-1)
    return compute_subgroups(examples, OutOfFold(plan, probabilities, np.ones((1, 6)), np.full((1, 6), 0.35)))


def test_facts_that_are_never_stated_are_left_out():
    assert measure() == {}
    assert list(measure(sex=["F", "M", "", "F", "M", ""])) == ["sex"]


def test_each_value_has_its_counts_and_both_decisions():
    groups = measure(sex=["F", "F", "M", "F", "M", ""])["sex"]
    assert list(groups) == ["F", "M", "not stated"]
    women, men = groups["F"], groups["M"]
    assert (women.n, women.positives, women.patients) == (3, 2, 2)
    assert women.auroc.value == women.sensitivity.value == women.specificity.value == 1
    # Of the men, 0.4 is covid and 0.6 is not: at 0.35 both are called covid, by argmax the wrong one.
    assert (men.sensitivity.value, men.specificity.value) == (1, 0)
    assert (men.argmax.sensitivity.value, men.argmax.specificity.value) == (0, 0)
    assert men.auroc.value == 0


def test_a_group_of_one_class_has_no_auroc():
    group = measure(source=["x", "x", "x", "y", "y", "y"])["source"]["x"]
    assert group.auroc.value is None
    assert group.specificity.value is None
    assert group.sensitivity.value == 1


def test_an_interval_counts_patients():
    one_patient = measure(view=["AP", "AP", "PA", "PA", "PA", "PA"])["view"]["AP"].sensitivity
    two_patients = measure(view=["AP", "PA", "AP", "PA", "PA", "PA"])["view"]["AP"].sensitivity
    assert one_patient.n == two_patients.n == 2
    assert one_patient.ci95[0] < two_patients.ci95[0]


def test_ages_are_grouped_by_band():
    groups = measure(age=[17.9, 18.0, 80.0, np.nan, 39.0, 40.0])["age"]
    assert {name: group.n for name, group in groups.items()} == {
        "0 to 17": 1,
        "18 to 39": 2,
        "40 to 59": 1,
        "80 and more": 1,
        "not stated": 1,
    }
