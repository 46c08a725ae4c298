"""Decode every image once: whether it can be read, what kind of file it is, and its near-duplicates."""

import numpy as np
import pandas as pd
from PIL import Image
from threadpoolctl import threadpool_limits

from covid_tfds.audit import near_duplicates
from covid_tfds.audit.validity import tabulate_facts
from covid_tfds.common import progress
from covid_tfds.examples import Examples
from covid_tfds.imaging.limits import ImageError
from covid_tfds.imaging.reader import decode_image, read_header


def describe_images(examples: Examples) -> tuple[pd.DataFrame, dict[tuple[int, int], float]]:
    """Decode every image once.

    Args:
        examples: The dataset to audit.

    Returns:
        A table with one row an image, and the near-duplicates among the images that can be decoded, as
        `near_duplicates.find_pairs` gives them, but by row of the table. The table's columns are `image_id`,
        `patient_id`, `label`, `split`, `sha256` and the facts of `examples`; `problem` (why an image can't be decoded,
        else ""); `format` and `channels` (text, "" unknown); `width` and `height` (pixels, NaN unknown).
    """
    facts: list[dict] = []
    decoded: list[int] = []
    fingerprints = np.empty((len(examples), *near_duplicates.SHAPE), np.uint8)  # 72 kB an image
    # One thread: products this small would wait for each other's.
    with threadpool_limits(1), progress.Line(len(examples), "images", "image") as line:
        for row, encoded in enumerate(examples.read(np.arange(len(examples)))):
            fact = {"problem": "", "format": "", "channels": "", "width": np.nan, "height": np.nan}
            try:
                fingerprints[len(decoded)] = near_duplicates.fingerprint(to_grey(encoded))
                header = read_header(encoded)
                fact |= {"format": header.format, "channels": str(header.channels)}
                fact |= {"width": float(header.width), "height": float(header.height)}
                decoded.append(row)
            except ImageError as error:
                fact["problem"] = str(error)
            facts.append(fact)
            line.advance()
    near = near_duplicates.find_pairs(fingerprints[: len(decoded)])
    by_row = {(decoded[first], decoded[second]): share for (first, second), share in near.items()}
    return pd.concat([tabulate_facts(examples), pd.DataFrame(facts)], axis=1), by_row


def to_grey(encoded: bytes) -> Image.Image:
    """Decode an image to mode "L", as a person sees it; raises ImageError."""
    return Image.fromarray(decode_image(encoded).pixels).convert("L")
