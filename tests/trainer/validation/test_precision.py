from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from tests.fakes.examples import make_examples
from trainer.features.backbone_features import Backbone
from trainer.models import heads
from trainer.validation import precision

WEIGHTS = [np.asarray([[1.0, -1.0]]), np.zeros(2)]  # a head that reads one number: the log-odds are twice that


@dataclass(frozen=True)
class FakeFeatures:
    """What `measure_precision` reads of features: one number an image, in each precision."""

    examples: object
    backbone: Backbone
    numbers: dict

    def pooled(self, rows, variants):
        return self.numbers[self.backbone.precision][rows][:, None, None]


def measured(name, numbers, threshold=0.5):
    examples = make_examples([0, 1] * 3, split=np.asarray(["train", "test", "test", "test", "test", "train"]))
    features = FakeFeatures(examples, Backbone(None, "0", name), numbers)
    head = SimpleNamespace(get_weights=lambda: WEIGHTS)
    given = heads.predict_probabilities(WEIGHTS, numbers[name][:, None])
    return precision.measure_precision(features, head, given, threshold)


def test_flipped_decisions_and_the_largest_change_are_counted_on_the_test_images():
    exact, rounded = np.array([9.0, 0.1, 1, -1, 2, 9]), np.array([-9.0, -0.1, 1, -1, 2, -9])
    found = measured("bfloat16", {"float32": exact, "bfloat16": rounded})
    assert (found.name, found.images, found.flipped) == ("bfloat16", 4, 1)
    assert found.largest_probability_change == pytest.approx(np.tanh(0.1))


def test_a_decision_at_the_operating_point_counts_too():
    exact, rounded = np.zeros(6) + 1.0, np.zeros(6) + 1.1
    at = float(1 / (1 + np.exp(-2.1)))  # between both
    assert measured("bfloat16", {"float32": exact, "bfloat16": rounded}, threshold=at).flipped == 4


def test_at_most_a_hundred_images_are_compared(monkeypatch):
    monkeypatch.setattr(precision, "MOST_IMAGES", 3)
    assert measured("bfloat16", {"float32": np.ones(6), "bfloat16": np.ones(6)}).images == 3


def test_float32_is_compared_with_nothing():
    assert measured("float32", {"float32": np.ones(6)}).images == 0
