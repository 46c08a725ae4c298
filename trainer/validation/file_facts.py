"""Facts of an image file that say nothing of the lungs: what the `file_facts` control may use. Never TensorFlow."""

from __future__ import annotations

import numpy as np

from covid_tfds.common.errors import UsageError
from covid_tfds.examples import Examples
from covid_tfds.imaging.limits import ImageError
from covid_tfds.imaging.reader import read_header


def file_facts(examples: Examples) -> np.ndarray:
    """Channels, log2 of width, height and aspect ratio, whether JPEG (0 or 1), JPEG quality (1 to 100).

    The length of the file is not among them: how well an image compresses depends on what the lungs show.

    Returns:
        float64 [n, 6].

    Raises:
        UsageError: If an image can't be read.
    """
    files = examples.read(np.arange(len(examples)))
    return np.asarray([_facts(encoded, name) for encoded, name in zip(files, examples.image_id, strict=True)])


def _facts(encoded: bytes, name: str) -> list[float]:
    try:
        file_format, channels, width, height, quality = read_header(encoded)
    except ImageError as error:
        raise UsageError(f"{name} can't be read: {error}. Repair or remove it.") from error
    return [channels, np.log2(width), np.log2(height), np.log2(width / height), file_format == "JPEG", quality]
