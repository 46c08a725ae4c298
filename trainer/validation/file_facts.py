"""Facts of an image file that say nothing of the lungs: what the `file_facts` control may use. Never TensorFlow."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from covid_tfds.common.errors import UsageError
from covid_tfds.examples import Examples

# Sum of the luminance quantization table of quality 50 (ITU-T T.81, table K.1); libjpeg scales it for other qualities.
QUALITY_50 = 3688


def file_facts(examples: Examples) -> np.ndarray:
    """Channels, log2 of width, height and aspect ratio, whether JPEG (0 or 1), JPEG quality (1 to 100).

    The length of the file is not among them: how well an image compresses depends on what the lungs show.

    Returns:
        float64 [n, 6].

    Raises:
        UsageError: Pillow can't read an image.
    """
    files = examples.read(np.arange(len(examples)))
    return np.asarray([_facts(encoded, name) for encoded, name in zip(files, examples.image_id, strict=True)])


def jpeg_quality(image: Image.Image) -> float:
    """The quality, 1 to 100, that libjpeg was given, from the luminance table; 100 for an image without one.

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
