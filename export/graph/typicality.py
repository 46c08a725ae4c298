"""Compute distance and typicality in a TensorFlow graph, as `trainer.run_folder.typicality` does in NumPy."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer.run_folder.typicality import (
    FLAT,
    NEIGHBOURS,
    THUMBNAIL_SHARE,
    THUMBNAIL_SIDE,
    TIE,
    Reference,
    quarter_weights,
)


def measure_typicality(feature_map: tf.Tensor, image: tf.Tensor, reference: Reference) -> dict[str, tf.Tensor]:
    """Returns `typicality` in (0, 1] and `distance` in [0, 1], float32 [batch] each.

    Args:
        feature_map: float32 [batch, h, w, c], the backbone's output.
        image: float32 [batch, side, side, 3] in 0..255, the resized image.
        reference: At least 3 training images. Their features are a constant of 16 bits.
    """
    vectors = _join_features(feature_map, image)
    references = tf.cast(tf.constant(reference.features.T), tf.float32)
    distances = tf.maximum(1.0 - tf.matmul(vectors, references), 0.0)
    distance = -tf.reduce_mean(tf.math.top_k(-distances, NEIGHBOURS).values, axis=1, keepdims=True)
    two = reference.nearest[:, :-1].sum(1).astype(np.float32)
    third = reference.nearest[:, -1].astype(np.float32)
    own = (two + tf.minimum(third, distances)) / NEIGHBOURS
    at_least = tf.cast(own >= distance * (1 - TIE), tf.float32)
    total = reference.weights.sum()
    typicality = (1.0 + tf.reduce_sum(at_least * reference.weights.astype(np.float32), axis=1)) / np.float32(1 + total)
    return {"typicality": typicality, "distance": distance[:, 0]}


def _join_features(feature_map: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """What `trainer.run_folder.typicality.join_features` returns, float32 [batch, d]."""
    height, width, channels = feature_map.shape[1:]
    cells = tf.reshape(feature_map, (-1, height * width, channels))
    quarters = tf.reshape(tf.matmul(quarter_weights(height, width), cells), (-1, 4 * channels))
    block = image.shape[1] // THUMBNAIL_SIDE
    pixels = tf.reshape(image, (-1, THUMBNAIL_SIDE, block, THUMBNAIL_SIDE, block * 3))
    thumbnail = tf.reshape(tf.reduce_mean(pixels, axis=(2, 4)), (-1, THUMBNAIL_SIDE**2))
    pattern = thumbnail - tf.reduce_mean(thumbnail, axis=1, keepdims=True)
    half = np.float32(np.sqrt(THUMBNAIL_SHARE / 2))
    parts = [
        np.float32(np.sqrt(1 - THUMBNAIL_SHARE)) * _divide_by_length(quarters, float(np.finfo(np.float32).tiny)),
        half * _divide_by_length(pattern, FLAT),
        tf.fill((tf.shape(pattern)[0], 1), half),
    ]
    return tf.concat(parts, axis=1)


def _divide_by_length(vectors: tf.Tensor, least: float) -> tf.Tensor:
    return vectors / tf.maximum(tf.sqrt(tf.reduce_sum(vectors * vectors, axis=1, keepdims=True)), least)
