"""Near-duplicate pairs side by side, since a number does not convince and a picture does."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from covid_tfds.audit.pixels import grey, opened
from covid_tfds.examples import Examples

MOST = 20
SIDE = 360
CAPTION = 34
LETTERS = 56


def save(examples: Examples, pairs: list[tuple[int, int]], folder: Path) -> dict[tuple[int, int], str]:
    """Draw pairs of images.

    Args:
        examples: what the pairs are positions in.
        pairs: of these the first MOST are drawn.
        folder: where the PNGs go.

    Returns:
        The file name of each pair drawn.
    """
    names = {}
    wanted = np.unique(np.asarray(pairs[:MOST], dtype=np.int64))
    images = {row: grey(opened(encoded)) for row, encoded in zip(wanted, examples.read(wanted), strict=True)}
    for number, pair in enumerate(pairs[:MOST], start=1):
        sheet = Image.new("L", (2 * SIDE, SIDE + CAPTION), 0)
        for column, position in enumerate(pair):
            sheet.paste(ImageOps.pad(images[position], (SIDE, SIDE)), (column * SIDE, CAPTION))
            label = examples.class_names[examples.labels[position]]
            caption = f"{examples.split[position]} {label}".strip() + f"\n{examples.image_id[position][:LETTERS]}"
            ImageDraw.Draw(sheet).text((column * SIDE + 4, 4), caption, fill=255)
        names[pair] = f"near-duplicates-{number}.png"
        sheet.save(folder / names[pair])
    return names
