"""Compute the Keras model's own answers, which every artefact is compared with.

Only the layers are shared with what the artefacts are traced from. The heat map is Grad-CAM by GradientTape, where the
artefacts have a closed form; distance and typicality are computed in NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from export.graph import heatmap
from export.graph.network import Network
from export.parity.stages import STAGE_TOLERANCES
from trainer.run_folder.typicality import join_features

SMALLEST_HEAT = 1e-12  # never divide by less
TINY = 1e-35  # near the smallest float32: engines may round less to 0


@dataclass(frozen=True)
class ReferenceAnswer:
    """Keras's answer for one image.

    Attributes:
        resized: The resized image, float32 [side, side, 3] in 0..255.
        probabilities: float32 [K].
        heatmap: float32 [h, w] >= 0.
        heat_scale: Largest absolute value of the heat map before negative values are set to 0. Differences are relative
            to it: relative to a heat map of which almost nothing is left, rounding errors would be large.
        distance: Distance to the training images; None where they are left out.
        typicality: Least and largest typicality that a distance within the tolerance has; None as above.
    """

    resized: np.ndarray
    probabilities: np.ndarray
    heatmap: np.ndarray
    heat_scale: float
    distance: float | None = None
    typicality: tuple[float, float] | None = None


class Reference:
    """The trained Keras model, layer by layer. Compiled once, at the first images.

    Attributes:
        network: The model's parts.
    """

    def __init__(self, network: Network):
        self.network = network
        self._last = network.head.get_layer("probabilities")
        self._before_softmax = keras.Model(network.head.inputs, self._last.input)
        self._readable = heatmap.find_readable_cells(network.pooling, *network.map_shape).astype(np.float32)
        resized = tf.TensorSpec((None, network.side, network.side, 3), tf.float32)
        self._forward = tf.function(self._trace, input_signature=[resized], autograph=False)

    def predict(self, images: Sequence[np.ndarray]) -> list[ReferenceAnswer]:
        """Predict images of any sizes, each uint8 [height, width, 3]."""
        resized = np.concatenate([self.network.resize(tf.cast(image[None], tf.float32)) for image in images])
        probabilities, cams, quarters = (tensor.numpy() for tensor in self._forward(resized))
        cams = cams * self._readable
        typicality = self._measure_typicality(join_features(quarters, resized.mean(-1)))
        rows = zip(resized, probabilities, cams, typicality, strict=True)
        return [
            ReferenceAnswer(image, p, np.maximum(cam, 0), float(np.abs(cam).max()), *typical)
            for image, p, cam, typical in rows
        ]

    def _measure_typicality(self, vectors: np.ndarray) -> list[tuple]:
        """Distance and range of the typicality of each image; nothing where the training images are left out."""
        training_images = self.network.training_images
        if training_images is None:
            return [()] * len(vectors)
        tolerance = STAGE_TOLERANCES["distance"]
        distance, least = training_images.measure(vectors, slack=tolerance)
        _, largest = training_images.measure(vectors, slack=-tolerance)
        return [
            (d, (low, high)) for d, low, high in zip(distance.tolist(), least.tolist(), largest.tolist(), strict=True)
        ]

    def _trace(self, resized):
        network = self.network
        feature_map = network.backbone(network.scale(resized), training=False)
        with tf.GradientTape() as tape:
            tape.watch(feature_map)
            logits = self._before_softmax(feature_map, training=False) @ self._last.kernel + self._last.bias
            score = logits[:, heatmap.POSITIVE_CLASS]
        weight = tf.reduce_mean(tape.gradient(score, feature_map), axis=(1, 2), keepdims=True)
        height, width = network.map_shape
        halves = [(slice(0, (side + 1) // 2), slice(side // 2, side)) for side in (height, width)]
        quarters = [
            tf.reduce_mean(feature_map[:, rows, columns], (1, 2)) for rows in halves[0] for columns in halves[1]
        ]
        return tf.nn.softmax(logits), tf.reduce_sum(weight * feature_map, axis=-1), tf.concat(quarters, axis=1)


def compare_log_odds(found: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest difference of ln(p_0 / p_k) over the other classes k, of float32 [..., K].

    It shows differences that a probability near 0 or 1 hides.

    Example:
        >>> round(compare_log_odds(np.array([1e-6, 1.0]), np.array([1e-5, 1.0])), 3)
        2.303
    """
    return float(np.abs(subtract_log_odds(found, expected)).max())


def subtract_log_odds(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Returns the differences of ln(p_0 / p_k), float64 [..., K - 1]. Arguments as of `compare_log_odds`."""
    a, b = (np.log(np.maximum(probabilities.astype(np.float64), TINY)) for probabilities in (found, expected))
    return (a[..., :1] - a[..., 1:]) - (b[..., :1] - b[..., 1:])


def compare_heat_maps(found: np.ndarray, expected: ReferenceAnswer) -> float:
    """Returns the largest difference of a cell, relative to the expected heat map's scale. found: float32 [h, w]."""
    return float(np.max(np.abs(found - expected.heatmap))) / max(expected.heat_scale, SMALLEST_HEAT)
