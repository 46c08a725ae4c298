"""The measures that `trainer.benchmark.typicality` compares: vectors of an image, and distances between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CUTS = ("block5_pool", "block4_pool")


@dataclass(frozen=True)
class Measure:
    """A way to measure how typical an image is.

    Attributes:
        name: Heading in the table.
        vectors: Which vectors of an image it takes, a key of `Image.vectors`.
        fit: Takes the training images' vectors and patients; returns the level and a function from vectors to
            distances and typicalities.
    """

    name: str
    vectors: str
    fit: Callable


def compile_vectors(network) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Returns a function from pixels, uint8 [height, width, 3], to vectors by name, "block5_pool average" and so on.

    Args:
        network: VGG16 or a network with its layer names, a Keras model.
    """
    import keras
    import tensorflow as tf

    from trainer import recipes
    from trainer.models.heads import average_quarters
    from trainer.models.preprocessing import build_preprocessing
    from trainer.run_folder.typicality import join_features

    cuts = keras.Model(network.inputs, {cut: network.get_layer(cut).output for cut in CUTS})
    resize, scale = build_preprocessing(recipes.DEFAULT.scaling).layers

    def forward(image):
        resized = resize(tf.cast(image, tf.float32)[None])
        vectors = {"grey": tf.reduce_mean(resized, -1)}
        for cut, maps in cuts(scale(resized), training=False).items():
            vectors[f"{cut} average"] = tf.reduce_mean(maps, (1, 2))
            vectors[f"{cut} quarters"] = average_quarters(maps)
        return vectors

    traced = tf.function(forward, input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)], autograph=False)

    def compute(pixels: np.ndarray) -> dict[str, np.ndarray]:
        vectors = {name: vector.numpy() for name, vector in traced(pixels).items()}
        grey = vectors.pop("grey")
        joined = {f"{cut} joined": join_features(vectors[f"{cut} quarters"], grey) for cut in CUTS}
        return {name: vector[0] for name, vector in (vectors | joined).items()}

    return compute


def _fit_nearest(vectors: np.ndarray, patients: np.ndarray):
    """Cosine distance to the 3 nearest, with the full conformal p-value of `trainer.run_folder.typicality`."""
    from trainer.run_folder.typicality import Reference

    reference = Reference(_make_unit(vectors).astype(np.float16), patients, np.arange(len(vectors)).astype(str))
    return reference.level, lambda vectors: reference.measure(_make_unit(vectors))


def _make_unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _fit_mahalanobis(vectors: np.ndarray, patients: np.ndarray):
    """Mahalanobis distance with Ledoit and Wolf's covariance; its p-value leaves the patient's own images out."""
    from sklearn.covariance import LedoitWolf

    own = np.empty(len(vectors))
    for patient in np.unique(patients):
        left_out = patients == patient
        own[left_out] = LedoitWolf().fit(_make_unit(vectors[~left_out])).mahalanobis(_make_unit(vectors[left_out]))
    fitted = LedoitWolf().fit(_make_unit(vectors))

    def measure(vectors):
        distance = fitted.mahalanobis(_make_unit(vectors))
        return distance, (1 + (own >= distance[:, None]).sum(1)) / (1 + len(own))

    return max(0.01, 1 / (len(own) + 1)), measure


MEASURES = (
    *(Measure(f"{cut[:6]} quarters and thumbnail, 3 nearest", f"{cut} joined", _fit_nearest) for cut in CUTS),
    *(Measure(f"{cut[:6]} quarters, 3 nearest", f"{cut} quarters", _fit_nearest) for cut in CUTS),
    *(Measure(f"{cut[:6]} average, 3 nearest", f"{cut} average", _fit_nearest) for cut in CUTS),
    Measure("block5 average, Mahalanobis", "block5_pool average", _fit_mahalanobis),
)
