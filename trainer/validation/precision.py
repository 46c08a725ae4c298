"""What computing the features in another precision than float32 changes."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from trainer.features.backbone_features import Features
from trainer.models import heads
from trainer.run_folder.environment import Precision


def measure_precision(features: Features, head: keras.Model, probabilities: np.ndarray) -> Precision:
    """Returns the precision of the features and the largest change of a test image's probability from float32.

    Args:
        features: Those of the run.
        head: The final head.
        probabilities: float [n, classes], its own with these features.
    """
    name = features.backbone.precision
    if name == "float32":
        return Precision(name, 0.0)
    test = features.examples.rows("test")
    exact = dataclasses.replace(features, backbone=dataclasses.replace(features.backbone, precision="float32"))
    change = heads.predict_probabilities(head.get_weights(), exact.pooled(test, 1)[:, 0]) - probabilities[test]
    return Precision(name, float(np.abs(change).max()))
