"""Draw near-duplicate pairs side by side, so that a person can compare them."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from covid_tfds.audit.pixels import to_grey
from covid_tfds.examples import Examples

MOST = 20
SIDE = 360
CAPTION = 34
LETTERS = 56


def draw_pairs(examples: Examples, pairs: list[tuple[int, int]], folder: Path) -> dict[tuple[int, int], str]:
    """Draw pairs of images.

    Args:
        examples: The dataset.
        pairs: Rows of the dataset; of these pairs the first MOST are drawn.
        folder: Where the PNGs go.

    Returns:
        The file name of each pair drawn.
    """
    names = {}
    rows = np.unique(np.asarray(pairs[:MOST], dtype=np.int64))
    images = {row: to_grey(encoded) for row, encoded in zip(rows, examples.read(rows), strict=True)}
    for number, pair in enumerate(pairs[:MOST], start=1):
        sheet = Image.new("L", (2 * SIDE, SIDE + CAPTION), 0)
        for column, row in enumerate(pair):
            sheet.paste(ImageOps.pad(images[row], (SIDE, SIDE)), (column * SIDE, CAPTION))
            label = examples.class_names[examples.labels[row]]
            caption = f"{examples.split[row]} {label}".strip() + f"\n{examples.image_id[row][:LETTERS]}"
            ImageDraw.Draw(sheet).text((column * SIDE + 4, 4), caption, fill=255)
        names[pair] = f"near-duplicates-{number}.png"
        sheet.save(folder / names[pair])
    return names
