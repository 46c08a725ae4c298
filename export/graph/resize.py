"""The model's bilinear resize, spelled out in operations that every runtime computes alike.

An ONNX `Resize` leaves it to the runtime how sampled positions are rounded: in a large film that moves a sample by 1e-4
pixels, a value by up to 0.03 grey levels, and steep logits make 1e-3 of it. Spelled out, ONNX Runtime gives bit for bit
what Keras's Resizing layer gives, and five times faster, as only the rows that are used become floats.
"""

from __future__ import annotations

import tensorflow as tf

# Pixels. Rounding of float32 moves a sample by less up to sides of 10,000 pixels; rounding of bfloat16 by much more.
LARGEST_DRIFT = 1e-3


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
    """The two neighbours of each sample along an axis of `length` pixels, int32 [side], and the second one's weight.

    Sample x lies at (x + 0.5) length / side - 0.5. Its whole part is computed in integers, which no runtime rounds;
    some compute all floats in 16 bits, where a position could be pixels off.
    """
    step = 2 * side
    ahead = (2 * tf.range(side) + 1) * length + side  # of one pixel before the first, so that nothing is negative
    low = tf.truncatediv(ahead, step)
    exact = tf.cast(ahead - low * step, tf.float32) / step
    first = low - 1
    drift = _keras_position(length, side) - tf.cast(first, tf.float32) - exact
    weight = exact + tf.clip_by_value(drift, -LARGEST_DRIFT, LARGEST_DRIFT)
    return tf.maximum(first, 0), tf.minimum(low, length - 1), weight


def _keras_position(length: tf.Tensor, side: int) -> tf.Tensor:
    """Where Keras samples, float32 [side], with all its rounding."""
    # Always `side`, but not a constant: dividing by one becomes a multiplication by its rounded inverse on the way.
    divisor = tf.cast(side * tf.minimum(length, 1), tf.float32)
    return (tf.range(side, dtype=tf.float32) + 0.5) * (tf.cast(length, tf.float32) / divisor) - 0.5


def _between(first: tf.Tensor, second: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    return first + (second - first) * weight
