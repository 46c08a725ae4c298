"""Heads: pooling of a feature map, dense layers and a softmax; as Keras layers, and as plain arrays.

A head's weights are the kernels and biases of its dense layers, in order. Output column 0 is the positive class.
"""

from __future__ import annotations

import keras
import numpy as np
import scipy.special

from trainer.recipes import Recipe
from trainer.run_folder.typicality import quarter_weights


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns float32 [n, classes] from class indices, int [n].

    Example:
        >>> one_hot(np.array([0, 1]), classes=2)
        array([[1., 0.],
               [0., 1.]], dtype=float32)
    """
    return np.eye(classes, dtype=np.float32)[labels]


def build_head(recipe: Recipe, map_shape: tuple[int, int, int], classes: int, seed: int) -> keras.Model:
    """Returns pooling, `depth` times dense relu and dropout, and a softmax, with weights drawn from `seed`.

    Args:
        recipe: Decides pooling, depth, units and dropout.
        map_shape: (height, width, channels) of a feature map.
        classes: Number of classes.
        seed: Of the weights and of dropout.

    Returns:
        A model float [batch, height, width, channels] -> probabilities [batch, classes].
    """
    feature_map = keras.Input(map_shape)
    x = _pool(recipe.pooling, feature_map)
    *hidden, last = _initializers(recipe, seed)
    for index, initializer in enumerate(hidden):
        x = keras.layers.Dense(
            recipe.units, activation="relu", kernel_initializer=initializer, name=f"hidden{index + 1}"
        )(x)
        x = keras.layers.Dropout(recipe.dropout, seed=seed + index, name=f"dropout{index + 1}")(x)
    x = keras.layers.Dense(classes, activation="softmax", kernel_initializer=last, name="probabilities")(x)
    return keras.Model(feature_map, x, name="head")


def build_pooling(pooling: str, map_shape: tuple[int, int, int]) -> keras.Model:
    """Returns the head's pooling alone, as `recipes.POOLINGS` names it: float [batch, h, w, c] -> [batch, d]."""
    feature_map = keras.Input(map_shape)
    return keras.Model(feature_map, _pool(pooling, feature_map), name="pooling")


def _pool(pooling: str, feature_map) -> keras.KerasTensor:
    average = keras.layers.GlobalAveragePooling2D(name="average_pool")
    maximum = keras.layers.GlobalMaxPooling2D(name="max_pool")
    if pooling == "corner":
        corner = keras.layers.AveragePooling2D((4, 4), name="corner_pool")(feature_map)
        return keras.layers.Flatten(name="flatten")(corner)
    if pooling == "average":
        return average(feature_map)
    if pooling == "max":
        return maximum(feature_map)
    return keras.layers.Concatenate(name="average_and_max")([average(feature_map), maximum(feature_map)])


def average_quarters(feature_map):
    """Returns the averages of the quarters of feature maps, float [batch, h, w, c] -> [batch, 4 * c].

    `trainer.run_folder.typicality` compares images by them.
    """
    height, width, channels = feature_map.shape[1:]
    cells = keras.ops.reshape(feature_map, (-1, height * width, channels))
    return keras.ops.reshape(keras.ops.matmul(quarter_weights(height, width), cells), (-1, 4 * channels))


def draw_initial_weights(recipe: Recipe, width: int, classes: int, seed: int) -> list[np.ndarray]:
    """Returns the weights that `build_head` begins with, float32, for pooled features of `width` channels.

    Without the layers, which take far longer to make.
    """
    arrays = []
    for initializer, outputs in zip(
        _initializers(recipe, seed), [*[recipe.units] * recipe.depth, classes], strict=True
    ):
        arrays += [np.asarray(initializer((width, outputs))), np.zeros(outputs, np.float32)]
        width = outputs
    return arrays


def _initializers(recipe: Recipe, seed: int) -> list[keras.Initializer]:
    """Those of the kernels: of each hidden layer, then of the last layer."""
    return [keras.initializers.GlorotUniform(seed=seed * 10 + index) for index in (*range(recipe.depth), 9)]


def predict_log_probabilities(weights: list[np.ndarray], pooled: np.ndarray) -> np.ndarray:
    """Returns log-softmax outputs, float64 [n, classes], of a head for pooled features float32 [n, d]."""
    x = pooled.astype(np.float64)
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = np.maximum(x @ kernel + bias, 0)
    return scipy.special.log_softmax(x @ weights[-2] + weights[-1], axis=-1)


def predict_probabilities(weights: list[np.ndarray], pooled: np.ndarray) -> np.ndarray:
    """Returns the probabilities, float64 [n, classes], of a head for pooled features float32 [n, d]."""
    return np.exp(predict_log_probabilities(weights, pooled))
