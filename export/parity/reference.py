"""Compute the Keras model's own answers, which every artefact is compared with.

Only the layers are shared with what the artefacts are traced from. The heat map is Grad-CAM by GradientTape, where the
artefacts have a closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from export.graph import heatmap
from export.graph.network import Network

TINY = 1e-35  # near the smallest float32: engines may round less to 0


@dataclass(frozen=True)
class ReferenceAnswer:
    """Keras's answer for one image.

    Attributes:
        resized: The resized image, float32 [side, side, 3] in 0..255.
        probabilities: float32 [2].
        heatmap: float32 [h, w] >= 0.
        heat_scale: Largest absolute value of the heat map before negative values are set to 0. Differences are relative
            to it: relative to a heat map of which almost nothing is left, rounding errors would be large.
    """

    resized: np.ndarray
    probabilities: np.ndarray
    heatmap: np.ndarray
    heat_scale: float


class Reference:
    """The trained Keras model, layer by layer. Compiled once, at the first image.

    Attributes:
        network: The model's parts.
    """

    def __init__(self, network: Network):
        self.network = network
        self._last = network.head.get_layer("probabilities")
        self._before_softmax = keras.Model(network.head.inputs, self._last.input)
        self._readable = heatmap.find_readable_cells(network.pooling, *network.map_shape).astype(np.float32)
        image = tf.TensorSpec((None, None, None, 3), tf.uint8)
        self._forward = tf.function(self._trace, input_signature=[image], autograph=False)

    def predict(self, image: np.ndarray) -> ReferenceAnswer:
        """Predict one image, uint8 [height, width, 3]."""
        resized, probabilities, cam = (tensor.numpy()[0] for tensor in self._forward(image[None]))
        cam = cam * self._readable
        return ReferenceAnswer(resized, probabilities, np.maximum(cam, 0), float(np.abs(cam).max()))

    def _trace(self, image):
        network = self.network
        resized = network.resize(tf.cast(image, tf.float32))
        feature_map = network.backbone(network.scale(resized), training=False)
        with tf.GradientTape() as tape:
            tape.watch(feature_map)
            logits = self._before_softmax(feature_map, training=False) @ self._last.kernel + self._last.bias
            score = logits[:, heatmap.POSITIVE_CLASS]
        weight = tf.reduce_mean(tape.gradient(score, feature_map), axis=(1, 2), keepdims=True)
        return resized, tf.nn.softmax(logits), tf.reduce_sum(weight * feature_map, axis=-1)


def compute_log_odds(probabilities: np.ndarray) -> float:
    """Returns ln(p_0 / p_1) of float32 [2]; it shows differences that a probability near 0 or 1 hides.

    Example:
        >>> compute_log_odds(np.array([0.5, 0.5]))
        0.0
    """
    first, second = np.log(np.maximum(probabilities.astype(np.float64), TINY))
    return float(first - second)
