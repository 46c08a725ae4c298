"""Compute distance and typicality in a TensorFlow graph, as `trainer.run_folder.typicality` does in NumPy."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer.run_folder.typicality import NEIGHBOURS, TIE, Reference, quarter_weights


def measure_typicality(feature_map: tf.Tensor, reference: Reference) -> dict[str, tf.Tensor]:
    """Returns `typicality` in (0, 1] and `distance` in [0, 1], float32 [batch] each.

    Args:
        feature_map: float32 [batch, h, w, c], the backbone's output.
        reference: At least 3 training images. Their features are a constant of 16 bits.
    """
    height, width, channels = feature_map.shape[1:]
    cells = tf.reshape(feature_map, (-1, height * width, channels))
    quarters = tf.reshape(tf.matmul(quarter_weights(height, width), cells), (-1, 4 * channels))
    length = tf.sqrt(tf.reduce_sum(quarters * quarters, axis=1, keepdims=True))
    unit = quarters / tf.maximum(length, np.finfo(np.float32).tiny)
    references = tf.cast(tf.constant(reference.features.T), tf.float32)
    distances = tf.maximum(1.0 - tf.matmul(unit, references), 0.0)
    distance = -tf.reduce_mean(tf.math.top_k(-distances, NEIGHBOURS).values, axis=1, keepdims=True)
    two = reference.nearest[:, :-1].sum(1).astype(np.float32)
    third = reference.nearest[:, -1].astype(np.float32)
    own = (two + tf.minimum(third, distances)) / NEIGHBOURS
    at_least = tf.cast(own >= distance * (1 - TIE), tf.float32)
    total = reference.weights.sum()
    typicality = (1.0 + tf.reduce_sum(at_least * reference.weights.astype(np.float32), axis=1)) / np.float32(1 + total)
    return {"typicality": typicality, "distance": distance[:, 0]}
