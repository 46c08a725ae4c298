"""What the Keras model itself says of an image: the truth that every artefact is compared with.

Nothing here is shared with what the artefacts are traced from but the layers: the heat map, above all, is Grad-CAM by
GradientTape, where the artefacts have a closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from export.graph import heatmap
from export.graph.network import Network

TINY = 1e-35  # near the smallest float32: both engines may round less to 0


@dataclass(frozen=True)
class Expected:
    """Keras's answer for one image.

    resized: float32 [side, side, 3] in 0..255. probabilities: float32 [2]. heatmap: float32 [h, w] >= 0. heat_scale:
    the largest absolute value of the heat map before negative values are cut, so that a map of which next to nothing
    is left is not judged by its rounding errors.
    """

    resized: np.ndarray
    probabilities: np.ndarray
    heatmap: np.ndarray
    heat_scale: float


class Reference:
    """The Keras model as it was trained, taken layer by layer. Compiled once, at the first image."""

    def __init__(self, network: Network):
        self.network = network
        last = network.head.get_layer("probabilities")
        self._before_softmax = keras.Model(network.head.inputs, last.input)
        self._last = last
        self._readable = heatmap.readable_cells(network.pooling, *network.map_shape).astype(np.float32)
        image = tf.TensorSpec((None, None, None, 3), tf.uint8)
        self._forward = tf.function(self._trace, input_signature=[image], autograph=False)

    def __call__(self, image: np.ndarray) -> Expected:
        """The truth for one image, uint8 [height, width, 3]."""
        resized, probabilities, cam = (tensor.numpy()[0] for tensor in self._forward(image[None]))
        cam = cam * self._readable
        return Expected(resized, probabilities, np.maximum(cam, 0), float(np.abs(cam).max()))

    def _trace(self, image):
        network = self.network
        resized = network.resize(tf.cast(image, tf.float32))
        maps = network.backbone(network.scale(resized), training=False)
        with tf.GradientTape() as tape:
            tape.watch(maps)
            logits = self._before_softmax(maps, training=False) @ self._last.kernel + self._last.bias
            score = logits[:, heatmap.POSITIVE]
        weight = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
        return resized, tf.nn.softmax(logits), tf.reduce_sum(weight * maps, axis=-1)


def log_odds(probabilities: np.ndarray) -> float:
    """ln(p_covid / p_other), in which a difference shows that a probability near 0 or 1 hides."""
    first, second = np.log(np.maximum(probabilities.astype(np.float64), TINY))
    return float(first - second)
