"""One look at every image: is it readable, what kind of file is it, and what does it show?"""

import io

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from covid_tfds.audit import near_duplicates
from covid_tfds.examples import Examples
from covid_tfds.imaging.limits import JPEG_SCAN, MAX_PIXELS, MAX_SCANS

# Pillow knows more, among them some that start other programs.
FORMATS = ("JPEG", "PNG")


def look(examples: Examples) -> tuple[pd.DataFrame, dict[tuple[int, int], float]]:
    """Decode every image once.

    Args:
        examples: what is audited.

    Returns:
        A table with one row an image, and the near-duplicates among the images that can be decoded, as
        `near_duplicates.find` gives them, but by position in the table. The table's columns are `image_id`,
        `patient_id`, `label`, `split`, `sha256` and the facts of `examples`; `problem` (why an image cannot be decoded,
        else ""); `format` and `channels` (text, "" unknown); `width` and `height` (pixels, NaN unknown).
    """
    facts, decoded, fingerprints = [], [], []
    images = examples.read(np.arange(len(examples)))
    progress = {"total": len(examples), "desc": examples.name, "unit": "image"}
    for position, encoded in enumerate(tqdm(images, **progress, leave=False, disable=None)):
        fact = {"problem": "", "format": "", "channels": "", "width": np.nan, "height": np.nan}
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
    return pd.concat([_table(examples), pd.DataFrame(facts)], axis=1), by_position


def _table(examples: Examples) -> pd.DataFrame:
    columns = {name: getattr(examples, name) for name in ("image_id", "patient_id", "split", "sha256")}
    return pd.DataFrame(columns | {"label": np.asarray(examples.class_names)[examples.labels]} | examples.facts)


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
