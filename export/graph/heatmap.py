"""Compute Grad-CAM of class 0 without a gradient, so that ONNX and TensorFlow graphs can hold it.

Selvaraju et al. (2017), Grad-CAM: relu(sum_k A_k mean_ij(dz / dA_ijk)), with A the backbone's feature map and z the
logit of class 0 before the softmax. For this head, pooling and then dense relu layers, the chain rule is short: with
m_l = 1 where hidden layer l is active and W_l its kernel, the gradient of z with respect to the pooled vector is

    W_1 (m_1 * (W_2 (m_2 * ... w)))        w: the column of class 0 in the last kernel

and each pooled value spreads it over its window, average pooling evenly, max pooling to its one cell; the mean over the
map's cells is the same in both cases. Cells that the pooling does not read are set to 0: Grad-CAM as published would
spread heat over them, too.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from covid_tfds.common.errors import UsageError

POSITIVE_CLASS = 0
CORNER = 4  # side of the corner pooling's windows, in cells
# Name of the pooling layer -> name of the pooling in a recipe.
POOLINGS = {
    "average_and_max": "average_and_max",
    "average_pool": "average",
    "max_pool": "max",
    "corner_pool": "corner",
}


def expose_activations(head: keras.Model) -> keras.Model:
    """Returns the head with the outputs of all its dense layers, by name.

    Args:
        head: [batch, h, w, c] -> [batch, K]: pooling, dense relu layers hidden1, hidden2, ... (or none), dropout,
            softmax layer `probabilities`.

    Raises:
        UsageError: If the head is built in another way: the closed form would be wrong for it.
    """
    find_pooling(head)
    dense = [layer for layer in head.layers if isinstance(layer, keras.layers.Dense)]
    expected = [f"hidden{index + 1}" for index in range(len(dense) - 1)] + ["probabilities"]
    activations = [keras.activations.serialize(layer.activation) for layer in dense]
    if [layer.name for layer in dense] != expected or activations != ["relu"] * (len(dense) - 1) + ["softmax"]:
        found = ", ".join(f"{layer.name} ({activation})" for layer, activation in zip(dense, activations, strict=True))
        raise UsageError(f"The head's dense layers are {found or 'none'}; expected relu hidden1... then softmax.")
    return keras.Model(head.inputs, {layer.name: layer.output for layer in dense}, name=head.name)


def find_pooling(head: keras.Model) -> str:
    """Returns the pooling that a head begins with: "corner", "average", "max" or "average_and_max".

    Raises:
        UsageError: If it has none of them.
    """
    names = {layer.name for layer in head.layers}
    for layer, pooling in POOLINGS.items():
        if layer in names:
            return pooling
    raise UsageError(f"The head has none of the pooling layers {', '.join(POOLINGS)}: got {', '.join(sorted(names))}.")


def compute_heatmap(feature_map: tf.Tensor, head: keras.Model, activations: dict[str, tf.Tensor]) -> tf.Tensor:
    """Returns the heat map of class 0, float32 [batch, h, w] >= 0, in units of its logit, not scaled to 1.

    Args:
        feature_map: float32 [batch, h, w, c], the backbone's output.
        head: As `expose_activations` returns it.
        activations: The head's output for this feature map.
    """
    height, width, channels = feature_map.shape[1:]
    depth = len(activations) - 1
    gradient = head.get_layer("probabilities").kernel[:, POSITIVE_CLASS][None]
    for index in range(depth, 0, -1):
        active = tf.cast(activations[f"hidden{index}"] > 0, gradient.dtype)
        gradient = tf.matmul(active * gradient, head.get_layer(f"hidden{index}").kernel, transpose_b=True)
    # The windows of the corner pooling, or the average and the maximum, weigh the same channels.
    gradient = tf.reduce_sum(tf.reshape(gradient, (-1, gradient.shape[-1] // channels, channels)), axis=1)
    weight = tf.reshape(gradient, (-1, 1, 1, channels)) / (height * width)
    heat = tf.nn.relu(tf.reduce_sum(feature_map * weight, axis=-1))
    readable = find_readable_cells(find_pooling(head), height, width)
    return heat if readable.all() else heat * readable.astype(np.float32)


def find_readable_cells(pooling: str, height: int, width: int) -> np.ndarray:
    """Returns the cells of the feature map that the pooling reads, bool [height, width].

    "corner" leaves out what does not fill a 4 x 4 window.

    Example:
        >>> int(find_readable_cells("corner", 7, 7).sum()), int(find_readable_cells("max", 7, 7).sum())
        (16, 49)
    """
    readable = np.ones((height, width), dtype=bool)
    if pooling == "corner":
        readable[height - height % CORNER :] = False
        readable[:, width - width % CORNER :] = False
    return readable
