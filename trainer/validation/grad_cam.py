"""Grad-CAM: where in an image the head's evidence for a class comes from.

Selvaraju et al. (2017), Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization. It starts at
the feature maps, so no image runs through the backbone again. A heat map shows where a network that can be wrong has
looked; it proves nothing about disease.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

SCORE = "logit of the class before the softmax"


def compute_heat_maps(head: keras.Model, maps: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Returns the Grad-CAM of one class for each image, in units of its logit; all 0 if nothing raises the logit.

    relu(sum_k A_k mean_ij(dz / dA_ijk)), with A the feature map and z the logit of the class before the softmax. The
    gradient of the probability would vanish where the head is certain. Evidence that consists of a feature's absence
    makes no heat.

    Args:
        head: Pooling, dense layers, softmax: [n, h, w, c] -> [n, classes].
        maps: float32 [n, h, w, c], the backbone's feature maps.
        classes: int [n], the class of each image's heat map.

    Returns:
        float32 [n, h, w] >= 0, 0 in `find_blind_cells`.
    """
    last = [layer for layer in head.layers if isinstance(layer, keras.layers.Dense)][-1]
    before_softmax = keras.Model(head.inputs, last.input)
    kernel = tf.gather(tf.convert_to_tensor(last.kernel), classes, axis=1)
    maps = tf.convert_to_tensor(maps, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        logit = tf.einsum("nd,dn->n", before_softmax(maps, training=False), kernel)
    weight_of_channel = tf.reduce_mean(tape.gradient(logit, maps), axis=(1, 2))
    heat = tf.nn.relu(tf.einsum("nhwc,nc->nhw", maps, weight_of_channel)).numpy()
    # Grad-CAM gives each channel one weight for the whole map and so would heat cells that the head never reads.
    heat[:, find_blind_cells(head)] = 0
    return heat


def find_blind_cells(head: keras.Model) -> np.ndarray:
    """Returns bool [h, w]: True for cells of the feature map that the head's pooling does not read.

    The tutorial's AveragePooling2D((4, 4)) reads whole windows from the upper left and drops what is left over: of
    7 x 7 cells it reads 4 x 4, of 14 x 14 it reads 12 x 12. The other poolings read the whole map.
    """
    height, width = head.input_shape[1:3]
    blind = np.zeros((height, width), dtype=bool)
    for layer in head.layers:
        if isinstance(layer, keras.layers.AveragePooling2D):
            blind[height - height % layer.pool_size[0] :] = True
            blind[:, width - width % layer.pool_size[1] :] = True
    return blind


def enlarge(heat: np.ndarray, size: int) -> np.ndarray:
    """Returns heat maps float [n, h, w] resized to float32 [n, size, size], bilinear."""
    return tf.image.resize(heat[..., None], (size, size), method="bilinear").numpy()[..., 0]


def compute_share(heat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns the share of each heat map where the mask is True, float64 [n] in [0, 1]; NaN if a map is 0 everywhere.

    Args:
        heat: float [n, h, w].
        mask: bool [h, w] or [n, h, w].

    Example:
        >>> compute_share(np.array([[[3.0, 1.0]]]), np.array([[True, False]]))
        array([0.75])
    """
    total = heat.sum(axis=(1, 2), dtype=np.float64)
    inside = (heat * mask).sum(axis=(1, 2), dtype=np.float64)
    return np.divide(inside, total, out=np.full(len(heat), np.nan), where=total > 0)
