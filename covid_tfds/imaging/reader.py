"""Read image files without TensorFlow: by Pillow and NumPy, and by pydicom for DICOM.

Training reads the same pixels (`tensorflow_decoder.decode_any_image`). JPEG by the slow integer DCT, which is Pillow's
default; of 16 bits the high byte, of 12 bits kept in 16 the upper 8 of the 12; transparent parts over black,
(colour * alpha + 127) // 255; upright by the EXIF orientation.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from covid_tfds.common.errors import describe_error
from covid_tfds.imaging.dicom import decode_dicom, read_dicom_header
from covid_tfds.imaging.formats import PNG_BIT_DEPTH_AT, is_dicom, is_image, is_jpeg, is_png, is_tiff
from covid_tfds.imaging.limits import MAX_BYTES, ImageError, check_scans, check_size, too_large

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
EXPECTED = "expected JPEG, PNG, WebP, BMP, TIFF or DICOM"
TWELVE_BITS = "holds values of 12 bits in 16: the upper 8 of the 12 are used"
TIFF_PHOTOMETRIC, WHITE_IS_ZERO = 262, 0
# Sum of the luminance quantization table of quality 50 (ITU-T T.81, table K.1); libjpeg scales it for other qualities.
QUALITY_50 = 3688


class DecodedImage(NamedTuple):
    """An image as the model takes it.

    Attributes:
        pixels: uint8 [height, width, 3], RGB, 0 black to 255 white; grey images have three equal channels.
        notes: Warnings about the file, one line each.
    """

    pixels: np.ndarray
    notes: list[str]


class Header(NamedTuple):
    """What a file says of its image.

    Attributes:
        format: `JPEG`, `PNG`, `WEBP`, `BMP`, `TIFF` or `DICOM`.
        channels: As stored: 1 grey or palette, 2 grey and alpha, 3 colour, 4 colour and alpha or CMYK.
        width, height: As stored, in pixels.
        jpeg_quality: 1 to 100, as libjpeg was given it; 100 for other formats. Below 25 it comes out a little high, as
            the entries of the table that it is read from end at 255.
    """

    format: str
    channels: int
    width: int
    height: int
    jpeg_quality: float


def read_image(path: str | Path) -> DecodedImage:
    """Read an image file; its type is detected from its bytes.

    Args:
        path: JPEG, PNG, WebP, BMP, TIFF or DICOM file.

    Raises:
        ImageError: If the file can't be opened, is damaged, too large, or of another kind.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "image.png")
        >>> Image.new("L", (4, 3), 200).save(path)
        >>> read_image(path).pixels.shape
        (3, 4, 3)
    """
    path = Path(path)
    return decode_image(read_bytes(path), path.name)


def read_bytes(path: Path) -> bytes:
    """Read a regular file, or what a link to one names, up to the size limit; raises ImageError."""
    try:
        # Not blocking: a pipe without a writer would wait for ever.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("expected an image file, got a folder or a device")
            if status.st_size > MAX_BYTES:
                raise ImageError(f"expected at most {MAX_BYTES >> 20} MB, got {status.st_size >> 20} MB")
            return file.read()
    except IsADirectoryError as error:
        raise ImageError("expected an image file, got a folder") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"can't be opened: {describe_error(error)}") from error


def decode_image(encoded: bytes, name: str = "") -> DecodedImage:
    """Decode the bytes of a file of any kind that `read_image` takes.

    Args:
        encoded: The whole file.
        name: Its name; matters only for the message about bytes of no known kind that are called .dcm or .dicom.

    Raises:
        ImageError: As `read_image`.
    """
    if is_dicom(encoded) or (name.lower().endswith((".dcm", ".dicom")) and not is_image(encoded)):
        return DecodedImage(*decode_dicom(encoded))
    return _decode_raster(encoded)


def decode_raster(encoded: bytes) -> np.ndarray:
    """Decode JPEG, PNG, WebP, BMP or TIFF to uint8 [height, width, 3]; raises ImageError."""
    return _decode_raster(encoded).pixels


def _decode_raster(encoded: bytes) -> DecodedImage:
    with _opened(encoded) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            grey = np.asarray(upright).astype(np.uint16)
            is_negative = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(TIFF_PHOTOMETRIC) == WHITE_IS_ZERO
            return _to_8_bits(grey, image.info.get("transparency"), is_negative)
        if image.mode == "CMYK":
            # Adobe stores inks negative, and Pillow takes every JPEG for Adobe's.
            is_positive = image.format != "JPEG" or "adobe" in image.info
            return DecodedImage(_mix_inks(np.asarray(upright), is_positive), [])
        png_bits = encoded[PNG_BIT_DEPTH_AT] if image.format == "PNG" else 8
        return DecodedImage(_over_black(upright, png_bits), [])


def find_notes(encoded: bytes) -> list[str]:
    """Returns the notes that `decode_image` gives on a file that is no DICOM; [] for a damaged one.

    Only 16-bit files are decoded for that: what is to be said of them depends on their pixels.
    """
    if not (is_png(encoded) or is_tiff(encoded)):
        return []
    try:
        with _opened(encoded) as image:
            has_16_bits = image.mode.startswith("I;16")
        return _decode_raster(encoded).notes if has_16_bits else []
    except ImageError:
        return []


def decode_jpeg_or_png(encoded: bytes) -> np.ndarray:
    """Decode the formats that training takes to uint8 [height, width, 3]; raises ImageError for all others, too."""
    if not (is_jpeg(encoded) or is_png(encoded)):
        raise ImageError(f"expected a JPEG or PNG image, got bytes that start with {encoded[:8]!r}")
    return decode_raster(encoded)


def read_header(encoded: bytes) -> Header:
    """Read the head of any file that `read_image` takes; raises ImageError."""
    if is_dicom(encoded):
        dicom = read_dicom_header(encoded)
        return Header("DICOM", dicom.channels, dicom.width, dicom.height, 100.0)
    with _opened(encoded) as image:
        return Header(image.format or "", len(image.getbands()), *image.size, _jpeg_quality(image))


@contextlib.contextmanager
def _opened(encoded: bytes) -> Iterator[Image.Image]:
    """Give an image within the limits, not decoded yet; turn what the block raises into ImageError."""
    if not encoded:
        raise ImageError(f"{EXPECTED}, got an empty file")
    try:
        with warnings.catch_warnings():
            # Pillow only warns of sizes that exhaust the memory, which check_size refuses, and of broken EXIF data,
            # which does not matter here.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(encoded), formats=FORMATS)
            check_size(*image.size)
            if is_jpeg(encoded):
                check_scans(encoded)
            if image.format == "TIFF" and (pages := getattr(image, "n_frames", 1)) != 1:
                raise ImageError(f"expected a TIFF with one image, got {pages}")
            if image.mode in ("I", "F"):
                raise ImageError("expected 8 or 16 bits a pixel without a sign, got 32 bits or signed values")
            yield image
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{too_large()}, Pillow says: {error}") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{EXPECTED}, got bytes that start with {encoded[:8]!r}") from error
    except Exception as error:  # Pillow's plugins raise many kinds for damaged files
        raise ImageError(f"damaged: {describe_error(error)}") from error


def _mix_inks(cmyk: np.ndarray, is_positive: bool) -> np.ndarray:
    """Turn inks, uint8 [height, width, 4], into RGB; positive: 255 is all ink."""
    light = 255 - cmyk.astype(np.uint16) if is_positive else cmyk.astype(np.uint16)
    return (light[..., :3] * light[..., 3:] // 255).astype(np.uint8)


def _to_8_bits(grey: np.ndarray, transparent: int | None, is_negative: bool) -> DecodedImage:
    """Turn uint16 [height, width] into pixels; Pillow's own conversion would cut everything above 255 to white."""
    has_12_bits = 256 <= grey.max() <= 4095
    if is_negative:
        grey = (4095 if has_12_bits else 65535) - grey
    upper = grey >> (4 if has_12_bits else 8)
    if transparent is not None:
        upper = np.where(grey == transparent, 0, upper)
    pixels = np.repeat(upper.astype(np.uint8)[..., None], 3, axis=-1)
    return DecodedImage(pixels, [TWELVE_BITS] if has_12_bits else [])


def _jpeg_quality(image: Image.Image) -> float:
    tables = getattr(image, "quantization", None)
    if not tables:
        return 100.0
    percent = 100 * sum(tables[0]) / QUALITY_50
    return (200 - percent) / 2 if percent <= 100 else 5000 / percent


def _over_black(image: Image.Image, png_bits: int) -> np.ndarray:
    """Convert any Pillow image to RGB over black; `png_bits` are those of a sample, 8 for other formats."""
    if not image.has_transparency_data:
        return np.array(image.convert("RGB"))
    if image.mode == "RGB" and png_bits == 16:
        raise ImageError("a PNG of 16-bit colours one of which is transparent: save it without transparency")
    if image.mode == "L" and png_bits < 8:
        # Pillow stretches the samples to 0..255 and forgets to do so with the transparent one.
        image.info["transparency"] = image.info["transparency"] * 255 // ((1 << png_bits) - 1)
    rgba = np.asarray(image.convert("RGBA")).astype(np.uint16)
    return ((rgba[..., :3] * rgba[..., 3:] + 127) // 255).astype(np.uint8)
