"""The model's bilinear resize, spelled out in operations that every runtime computes alike.

An ONNX `Resize` is left to round the sampled positions as each runtime likes: in a large film that moves a sample by
1e-4 pixels, up to 0.03 grey levels, and a head with steep logits makes 1e-3 of it. Spelled out, ONNX Runtime gives bit
for bit what Keras's Resizing layer gives, and five times faster, as only the rows that are used become floats.
"""

from __future__ import annotations

import tensorflow as tf


def bilinear(image: tf.Tensor, side: int) -> tf.Tensor:
    """Resize to side x side as keras.layers.Resizing does (half-pixel centres, no antialiasing).

    image: uint8 [batch, height, width, 3], any size from 1 x 1. Returns float32 [batch, side, side, 3] in 0..255.
    """
    height, width = tf.unstack(tf.shape(image)[1:3])
    top, bottom, down = _samples(height, side)
    left, right, across = _samples(width, side)

    def rows(index):
        row = tf.cast(tf.gather(image, index, axis=1), tf.float32)
        return _between(tf.gather(row, left, axis=2), tf.gather(row, right, axis=2), tf.reshape(across, (side, 1)))

    return _between(rows(top), rows(bottom), tf.reshape(down, (side, 1, 1)))


def _samples(length: tf.Tensor, side: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The two neighbours of each sample along an axis of `length` pixels, int32 [side], and the second one's weight."""
    # Always `side`, but not a constant: dividing by one becomes a multiplication by its rounded inverse on the way.
    divisor = tf.cast(side * tf.minimum(length, 1), tf.float32)
    at = (tf.range(side, dtype=tf.float32) + 0.5) * (tf.cast(length, tf.float32) / divisor) - 0.5
    low = tf.floor(at)
    first = tf.cast(low, tf.int32)
    return tf.maximum(first, 0), tf.minimum(first + 1, length - 1), at - low


def _between(first: tf.Tensor, second: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    return first + (second - first) * weight
