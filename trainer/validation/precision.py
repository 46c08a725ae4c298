"""Measure how much another precision of the features than float32 changes the predictions."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from trainer.features.backbone_features import Features
from trainer.features.training_set import sample_test
from trainer.models import heads
from trainer.run_folder.environment import Precision
from trainer.run_folder.predictions import decide

MOST_IMAGES = 100


def measure_precision(features: Features, head: keras.Model, probabilities: np.ndarray, threshold: float) -> Precision:
    """Returns the precision of the features, and what it changes for at most MOST_IMAGES test images.

    Args:
        features: Those of the run.
        head: The final head.
        probabilities: float [n, classes], its answers with these features.
        threshold: Of the operating point.
    """
    name = features.backbone.precision
    if name == "float32":
        return Precision(name)
    test = sample_test(features.examples, MOST_IMAGES)
    exact = dataclasses.replace(features, backbone=dataclasses.replace(features.backbone, precision="float32"))
    wanted, given = heads.predict_probabilities(head.get_weights(), exact.pooled(test, 1)[:, 0]), probabilities[test]
    is_flipped = (decide(wanted, threshold) != decide(given, threshold)) | (wanted.argmax(-1) != given.argmax(-1))
    return Precision(name, len(test), float(np.abs(wanted - given).max()), int(is_flipped.sum()))
