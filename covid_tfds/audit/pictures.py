"""Near-duplicate pairs side by side, since a number does not convince and a picture does."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from covid_tfds.audit.collection import Collection
from covid_tfds.audit.pixels import grey, opened

MOST = 20
SIDE = 360
CAPTION = 34
LETTERS = 56


def save(collection: Collection, pairs: list[tuple[int, int]], folder: Path) -> dict[tuple[int, int], str]:
    """Draw pairs of images.

    Args:
        collection: what the pairs are positions in.
        pairs: of these the first MOST are drawn.
        folder: where the PNGs go.

    Returns:
        The file name of each pair drawn.
    """
    names = {}
    wanted = {position for pair in pairs[:MOST] for position in pair}
    films = {
        position: grey(opened(encoded))
        for position, encoded in enumerate(collection.encoded() if wanted else ())
        if position in wanted
    }
    for number, pair in enumerate(pairs[:MOST], start=1):
        sheet = Image.new("L", (2 * SIDE, SIDE + CAPTION), 0)
        for column, position in enumerate(pair):
            row = collection.table.iloc[position]
            sheet.paste(ImageOps.pad(films[position], (SIDE, SIDE)), (column * SIDE, CAPTION))
            caption = f"{row.split} {row.label}".strip() + f"\n{row.image_id[:LETTERS]}"
            ImageDraw.Draw(sheet).text((column * SIDE + 4, 4), caption, fill=255)
        names[pair] = f"near-duplicates-{number}.png"
        sheet.save(folder / names[pair])
    return names
