"""One look at every image: is it readable, what kind of file is it, and what does it show?"""

import hashlib
import io

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from covid_tfds.audit import near_duplicates
from covid_tfds.audit.collection import Collection
from covid_tfds.imaging.limits import JPEG_SCAN, MAX_PIXELS, MAX_SCANS

# Pillow knows more, among them some that start other programs.
FORMATS = ("JPEG", "PNG")


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
            with opened(encoded) as image:
                fingerprints.append(near_duplicates.fingerprint(grey(image)))
                fact |= {"format": image.format, "channels": str(len(image.getbands()))}
                fact |= {"width": float(image.width), "height": float(image.height)}
            decoded.append(position)
        except UnidentifiedImageError:
            fact["problem"] = "no kind of image that is known here"
        except Exception as error:  # Pillow raises many kinds for damaged files
            fact["problem"] = " ".join(str(error).split()) or type(error).__name__
        facts.append(fact)
    near = near_duplicates.find(np.asarray(fingerprints)) if fingerprints else {}
    by_position = {(decoded[first], decoded[second]): share for (first, second), share in near.items()}
    return pd.concat([collection.table, pd.DataFrame(facts)], axis=1), by_position


def opened(encoded: bytes) -> Image.Image:
    """A JPEG or PNG, not decoded yet.

    Raises:
        UnidentifiedImageError: it is neither.
        ValueError: it would unpack to more than `image_limits` allow.
    """
    image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    scans = 0 if image.format == "PNG" else encoded.count(JPEG_SCAN)
    if image.width * image.height > MAX_PIXELS or scans > MAX_SCANS:
        most = f"{MAX_PIXELS // 1_000_000} million pixels and {MAX_SCANS} scans"
        raise ValueError(f"expected at most {most}, got {image.width} x {image.height} in {scans} scans")
    return image


def grey(image: Image.Image) -> Image.Image:
    """What a person sees, as mode "L": transparent parts over black, of 16 bits the upper 8 (as `decoding` has it)."""
    if image.mode.startswith("I"):
        # Pillow would turn all but the darkest of 16 bits into white.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    return image.convert("L")
