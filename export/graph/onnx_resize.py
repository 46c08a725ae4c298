"""Resize bilinearly as keras.layers.Resizing does, in operations that every runtime computes alike.

An ONNX `Resize` leaves the rounding of sample positions to the runtime: in a large image that moves a sample by 1e-4
pixels and a value by up to 0.03 grey levels, and with steep logits a probability by 1e-3. In these operations, ONNX
Runtime gives bit for bit what Keras's layer gives, and five times faster, as only the rows that are used become floats.
"""

from __future__ import annotations

import tensorflow as tf

# Pixels. float32 rounding moves a sample by less, up to sides of 10,000 pixels; bfloat16 rounding by much more.
LARGEST_DRIFT = 1e-3


def resize_bilinear(image: tf.Tensor, side: int) -> tf.Tensor:
    """Resize to side x side with half-pixel centres and without antialiasing, as keras.layers.Resizing does.

    Args:
        image: uint8 [batch, height, width, 3], any size from 1 x 1.
        side: Height and width of the result, in pixels.

    Returns:
        float32 [batch, side, side, 3] in 0..255.
    """
    height, width = tf.unstack(tf.shape(image)[1:3])
    top, bottom, row_weight = _find_neighbours(height, side)
    left, right, column_weight = _find_neighbours(width, side)

    def resize_rows(index):
        row = tf.cast(tf.gather(image, index, axis=1), tf.float32)
        first, second = (tf.gather(row, column, axis=2) for column in (left, right))
        return _interpolate(first, second, tf.reshape(column_weight, (side, 1)))

    return _interpolate(resize_rows(top), resize_rows(bottom), tf.reshape(row_weight, (side, 1, 1)))


def _find_neighbours(length: tf.Tensor, side: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The two neighbours of each sample along an axis of `length` pixels, int32 [side], and the second one's weight.

    Sample x lies at (x + 0.5) length / side - 0.5. Its whole part is computed in integers, which no runtime rounds;
    some compute all floats in 16 bits, where a position could be pixels off.
    """
    step = 2 * side
    ahead = (2 * tf.range(side) + 1) * length + side  # of one pixel before the first, so that nothing is negative
    low = tf.truncatediv(ahead, step)
    exact = tf.cast(ahead - low * step, tf.float32) / step
    first = low - 1
    drift = _compute_keras_position(length, side) - tf.cast(first, tf.float32) - exact
    weight = exact + tf.clip_by_value(drift, -LARGEST_DRIFT, LARGEST_DRIFT)
    return tf.maximum(first, 0), tf.minimum(low, length - 1), weight


def _compute_keras_position(length: tf.Tensor, side: int) -> tf.Tensor:
    """Where Keras samples, float32 [side], with all its rounding."""
    # Always `side`, but not a constant: the converter would turn a division by a constant into a multiplication by its
    # rounded inverse.
    divisor = tf.cast(side * tf.minimum(length, 1), tf.float32)
    return (tf.range(side, dtype=tf.float32) + 0.5) * (tf.cast(length, tf.float32) / divisor) - 0.5


def _interpolate(first: tf.Tensor, second: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    return first + (second - first) * weight
