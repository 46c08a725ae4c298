"""One look at every image: is it readable, what kind of file is it, and what does it show?"""

import hashlib
import io

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from covid_tfds.audit import near_duplicates
from covid_tfds.audit.collection import Collection

# All that Pillow raises for damaged or absurd files.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def look(collection: Collection) -> tuple[pd.DataFrame, dict[tuple[int, int], float]]:
    """Decode every image once.

    Args:
        collection: what is audited.

    Returns:
        Its table with the new columns `sha256`, `problem` (why it cannot be decoded, else ""), `format` and `channels`
        (text, "" unknown), `width` and `height` (pixels, NaN unknown); and the near-duplicates among the images that
        can be decoded, as `near_duplicates.find` gives them, but by position in the table.
    """
    facts, decoded, fingerprints = [], [], []
    progress = {"total": len(collection.table), "desc": collection.name, "unit": "image"}
    for position, encoded in enumerate(tqdm(collection.encoded(), **progress, leave=False, disable=None)):
        fact = {"sha256": hashlib.sha256(encoded).hexdigest(), "problem": "", "format": "", "channels": ""}
        fact |= {"width": np.nan, "height": np.nan}
        try:
            with Image.open(io.BytesIO(encoded)) as image:
                fingerprints.append(near_duplicates.fingerprint(grey(image)))
                fact |= {"format": image.format, "channels": str(len(image.getbands()))}
                fact |= {"width": float(image.width), "height": float(image.height)}
            decoded.append(position)
        except UnidentifiedImageError:
            fact["problem"] = "no kind of image that is known here"
        except UNREADABLE as error:
            fact["problem"] = " ".join(str(error).split())
        facts.append(fact)
    near = near_duplicates.find(np.asarray(fingerprints)) if fingerprints else {}
    by_position = {(decoded[first], decoded[second]): share for (first, second), share in near.items()}
    return pd.concat([collection.table, pd.DataFrame(facts)], axis=1), by_position


def grey(image: Image.Image) -> Image.Image:
    """What a person sees, as mode "L": transparent parts over black, of 16 bits the upper 8 (as `decoding` has it)."""
    if image.mode.startswith("I"):
        # Pillow would turn all but the darkest of 16 bits into white.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    return image.convert("L")
