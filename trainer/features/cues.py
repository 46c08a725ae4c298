"""What a control may look at: small grey pictures, and facts of a file that no radiologist would read."""

from __future__ import annotations

import io

import numpy as np
import tensorflow as tf
from PIL import Image

from covid_tfds.common.errors import UsageError
from trainer.features import data
from trainer.models.vgg16 import IMAGE_SIZE

SIDE = 32
# Sum of the luminance quantization table of quality 50 (ITU-T T.81, table K.1); libjpeg scales it for other qualities.
QUALITY_50 = 3688


def thumbnails(images: tf.Tensor) -> tf.Tensor:
    """Grey means of 7 x 7 pixels of images float32 [n, 224, 224, 3]: float32 [n, 32, 32]."""
    block = IMAGE_SIZE // SIDE
    return tf.reduce_mean(tf.reshape(images, (-1, SIDE, block, SIDE, block, 3)), (2, 4, 5))


def file_facts(examples: data.Examples) -> np.ndarray:
    """Channels, log2 of width, height and aspect ratio, whether JPEG, JPEG quality; float64 [n, 6].

    The length of the file is not among them: how well an image compresses depends on what the lungs show.
    """
    files = examples.encoded().as_numpy_iterator()
    return np.asarray([_facts(encoded, name) for encoded, name in zip(files, examples.image_id, strict=True)])


def jpeg_quality(image: Image.Image) -> float:
    """The quality in 1..100 that libjpeg would have been asked for, from the luminance table; 100 without one.

    Below 25 it comes out a little high, as the table's entries end at 255.
    """
    tables = getattr(image, "quantization", None)
    if not tables:
        return 100.0
    percent = 100 * sum(tables[0]) / QUALITY_50
    return (200 - percent) / 2 if percent <= 100 else 5000 / percent


def _facts(encoded: bytes, name: str) -> list[float]:
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            (width, height), channels = image.size, len(image.getbands())
            is_jpeg, quality = image.format == "JPEG", jpeg_quality(image)
    except OSError as error:
        raise UsageError(f"{name} can't be read by Pillow: {error}. Mend or remove it.") from error
    return [channels, np.log2(width), np.log2(height), np.log2(width / height), is_jpeg, quality]
