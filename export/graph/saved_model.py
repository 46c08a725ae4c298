"""Write the SavedModel: two signatures over one set of weights.

serving_default   image [batch, height, width, 3] uint8 -> probabilities [batch, K], typicality and distance [batch]
serving_bytes     image_bytes [batch] encoded JPEG or PNG files -> the same, NaN for what is neither
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from covid_tfds.imaging.tensorflow_decoder import decode_image
from export.graph.network import Network

PIXELS, BYTES = "serving_default", "serving_bytes"
# TensorFlow Serving's REST interface takes base64 for inputs whose name ends with _bytes.
BYTES_INPUT = "image_bytes"


def write_saved_model(network: Network, folder: Path) -> None:
    """Write the SavedModel into `folder`.

    The files of one `serving_bytes` call may differ in size. A file that can't be decoded gets NaN for every
    output and does not affect the others: a server may put the calls of several clients into one batch.

    Raises:
        OSError: If the folder can't be written.
    """
    shape = tf.TensorSpec((network.side, network.side, 3), tf.float32)

    def from_pixels(image):
        return _without_heatmap(network.predict(image))

    def decode(encoded):
        return network.resize(tf.cast(decode_image(encoded), tf.float32)[None])[0]

    def from_bytes(image_bytes):
        resized = tf.map_fn(_or_nan(decode, shape), image_bytes, fn_output_signature=shape)
        # NaN does not go through the network: pooling and relu would make a confident probability of it.
        is_image = tf.math.is_finite(resized[:, :1, 0, 0])
        outputs = _without_heatmap(network.predict_resized(tf.where(is_image[:, :, None, None], resized, 0.0)))
        return {
            name: tf.where(is_image if values.shape.rank == 2 else is_image[:, 0], values, np.nan)
            for name, values in outputs.items()
        }

    # Neither track() nor model.export(): both store the weights a second time.
    archive = keras.export.ExportArchive()
    archive.add_endpoint(PIXELS, from_pixels, [tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")])
    archive.add_endpoint(BYTES, from_bytes, [tf.TensorSpec((None,), tf.string, name=BYTES_INPUT)])
    try:
        archive.write_out(str(folder), verbose=False)
    except tf.errors.OpError as error:  # a full disk, for one
        raise OSError(f"{folder}: {error.message.rpartition('; ')[2]}") from error


def _without_heatmap(outputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {name: values for name, values in outputs.items() if name != "heatmap"}


def _or_nan(decode: Callable[[tf.Tensor], tf.Tensor], shape: tf.TensorSpec) -> Callable[[tf.Tensor], tf.Tensor]:
    """`decode` with NaN in place of an error: in a graph, only a dataset that drops the element can catch one."""

    def attempt(encoded):
        decoded = tf.data.Dataset.from_tensors(encoded).map(decode).ignore_errors()
        nothing = tf.data.Dataset.from_tensors(tf.fill(shape.shape, np.nan))
        return decoded.concatenate(nothing).take(1).get_single_element()

    return attempt
