"""The SavedModel: two signatures over one set of weights.

serving_default   image [batch, height, width, 3] uint8 -> probabilities [batch, 2]
serving_bytes     image_bytes [batch] encoded JPEG or PNG files -> probabilities [batch, 2]
"""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

from covid_tfds.decoding import decode_image
from export.network import Network

PIXELS, BYTES = "serving_default", "serving_bytes"
# TensorFlow Serving's REST interface takes base64 for inputs whose name ends with _bytes.
BYTES_INPUT = "image_bytes"


def write(network: Network, folder: Path) -> None:
    """Write the SavedModel into `folder`.

    The files of one `serving_bytes` call may differ in size; one that can't be decoded fails the whole call.
    """

    def from_pixels(image):
        return {"probabilities": network.predict(image)["probabilities"]}

    def from_bytes(image_bytes):
        def decode(encoded):
            return network.resize(tf.cast(decode_image(encoded), tf.float32)[None])[0]

        shape = tf.TensorSpec((network.side, network.side, 3), tf.float32)
        resized = tf.map_fn(decode, image_bytes, fn_output_signature=shape)
        return {"probabilities": network.from_resized(resized)["probabilities"]}

    # Not track(), and not model.export(): both store the weights a second time.
    archive = keras.export.ExportArchive()
    archive.add_endpoint(PIXELS, from_pixels, [tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")])
    archive.add_endpoint(BYTES, from_bytes, [tf.TensorSpec((None,), tf.string, name=BYTES_INPUT)])
    archive.write_out(str(folder), verbose=False)
