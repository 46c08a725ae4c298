"""One verdict for each class against the rest."""

import numpy as np
import pytest

from covid_tfds.examples import UNKNOWN
from tests.fakes.examples import make_examples
from trainer.metrics.folds import assign_folds
from trainer.validation.controls import Control
from trainer.validation.cross_validation import FoldPlan, OutOfFold
from trainer.validation.validate import reach_verdicts

N = 90


def judge(classes):
    """A model that is nearly perfect, and a control that sees a marker on the last class alone."""
    random, labels = np.random.default_rng(0), np.arange(N) % classes
    sources = np.where(labels == classes - 1, "b", "a")
    names = ("covid", "normal", "pneumonia")[:classes]
    examples = make_examples(labels, class_names=names, facts={"source": sources})
    folds = assign_folds(labels, examples.groups, seed=0, repeats=1)
    p = np.eye(classes)[labels] + random.uniform(0, 0.5, (N, classes))
    p /= p.sum(1, keepdims=True)
    predicted = OutOfFold(FoldPlan(np.arange(N), folds), p[None], np.ones((1, N)), np.full((1, N), 0.5))
    marker = Control("marker", "", False, (labels == classes - 1)[:, None].astype(float))
    return reach_verdicts(examples, [marker], predicted, seed=0)


def test_with_two_classes_there_is_one_verdict():
    found = judge(2)
    assert found.classes == {}
    assert found.verdict == "shortcut"


def test_with_three_classes_each_has_a_verdict():
    found = judge(3)
    assert list(found.classes) == ["normal", "pneumonia"]
    assert found.classes["pneumonia"].verdict == "shortcut"
    assert found.classes["pneumonia"].controls["marker"].auroc.value == 1
    # A marked image is neither covid nor normal, which tells half of what is not covid apart.
    assert found.controls["marker"].auroc.value == pytest.approx(0.75)
    assert found.classes["normal"].controls["marker"].auroc.value == pytest.approx(0.75)


def test_sources_are_counted_for_the_dataset_once():
    found = judge(3)
    assert found.sources["b"] == {"covid": 0, "normal": 0, "pneumonia": N // 3}
    assert UNKNOWN not in found.sources
    assert all(one.sources is None for one in found.classes.values())
