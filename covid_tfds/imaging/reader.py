"""Image files to pixels without TensorFlow: Pillow and NumPy, and pydicom for DICOM.

    image = read_image("film.png")          # uint8 [height, width, 3], RGB, 0 black to 255 white

JPEG and PNG come out bit for bit as training saw them: JPEG by the slow integer DCT, which is Pillow's default; of 16
bits the high byte; what is transparent is seen over black, (colour * alpha + 127) // 255. The EXIF orientation, which
TensorFlow's decoder does not know, is respected, so that a film photographed sideways is seen upright.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from covid_tfds.imaging.limits import JPEG_SCAN, MAX_SCANS, ImageError, check_size, too_large

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
EXPECTED = "expected JPEG, PNG, WebP, BMP or DICOM"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".dcm", ".dicom")
JPEG_START = b"\xff\xd8\xff"
DICOM_AT, DICOM_MAGIC = 128, b"DICM"
PNG_BITS_AT = 24
MAX_BYTES = 512 << 20


class Picture(NamedTuple):
    """An image as the model takes it: uint8 [height, width, 3], RGB, 0 black to 255 white; and notes for the reader."""

    pixels: np.ndarray
    notes: list[str]


def read_image(path: str | Path) -> Picture:
    """Read an image file; what it is, is seen from its bytes. Grey images have three equal channels.

    Raises ImageError for a file that can't be opened, is damaged, too large, or of another kind.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise ImageError("expected an image file, got a folder or a device")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ImageError(f"expected at most {MAX_BYTES >> 20} MB, got {size >> 20} MB")
        encoded = path.read_bytes()
    except OSError as error:
        raise ImageError(f"can't be opened: {error.strerror or error}") from error
    return picture(encoded, path.name)


def picture(encoded: bytes, name: str) -> Picture:
    """The image in a file's bytes; its name matters only where it says DICOM. Raises ImageError."""
    if is_dicom(encoded) or name.lower().endswith((".dcm", ".dicom")):
        # Imported late: dicom.py takes ImageError from here.
        from covid_tfds.imaging import dicom

        return Picture(*dicom.decode(encoded))
    return Picture(decode(encoded), [])


def is_dicom(encoded: bytes) -> bool:
    """Whether bytes start like a DICOM file (132 bytes are enough)."""
    return encoded[DICOM_AT : DICOM_AT + len(DICOM_MAGIC)] == DICOM_MAGIC


def decode(encoded: bytes) -> np.ndarray:
    """Decode JPEG, PNG, WebP or BMP to uint8 [height, width, 3]; raises ImageError."""
    if not encoded:
        raise ImageError(f"{EXPECTED}, got an empty file")
    try:
        with warnings.catch_warnings():
            # Pillow only warns of images of a size that ends in "killed", which check_size refuses, and of broken EXIF
            # data, which is nobody's concern here.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(encoded), formats=FORMATS)
            check_size(*image.size)
            if encoded.startswith(JPEG_START) and (scans := encoded.count(JPEG_SCAN)) > MAX_SCANS:
                raise ImageError(f"expected a JPEG of at most {MAX_SCANS} scans, got {scans}")
            image.load()
            bits = encoded[PNG_BITS_AT] if image.format == "PNG" else 8
            return _over_black(ImageOps.exif_transpose(image), bits)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{too_large()}, Pillow says: {error}") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{EXPECTED}, got bytes that start with {encoded[:8]!r}") from error
    except Exception as error:  # Pillow's plugins raise many kinds for damaged files
        raise ImageError(f"damaged: {str(error).strip() or type(error).__name__}") from error


def _over_black(image: Image.Image, png_bits: int) -> np.ndarray:
    """Any Pillow image as RGB over black. png_bits: bits a sample of a PNG, 8 for other formats."""
    transparent = image.info.get("transparency")
    if image.mode.startswith("I;16"):
        # Pillow's own conversion would cut everything above 255 to white.
        grey = np.asarray(image).astype(np.uint16)
        high = np.where(grey == transparent, 0, grey >> 8) if transparent is not None else grey >> 8
        return np.repeat(high.astype(np.uint8)[..., None], 3, axis=-1)
    if image.mode == "CMYK":
        cmyk = 255 - np.asarray(image).astype(np.uint16)
        return (cmyk[..., :3] * cmyk[..., 3:] // 255).astype(np.uint8)
    if not image.has_transparency_data:
        return np.array(image.convert("RGB"))
    if image.mode == "RGB" and png_bits == 16:
        raise ImageError("a PNG of 16-bit colours one of which is transparent: save it without transparency")
    if image.mode == "L" and png_bits < 8:
        # Pillow stretches the samples to 0..255 and forgets to do so with the transparent one.
        image.info["transparency"] = transparent * 255 // ((1 << png_bits) - 1)
    rgba = np.asarray(image.convert("RGBA")).astype(np.uint16)
    return ((rgba[..., :3] * rgba[..., 3:] + 127) // 255).astype(np.uint8)
