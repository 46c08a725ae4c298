"""Detect the type of an image file from its bytes, and decide which of the two decoders reads it."""

import contextlib
import io
from pathlib import Path

from PIL import ExifTags, Image

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_SIZE_AT, PNG_BIT_DEPTH_AT = 16, 24
# Where a PNG may keep the EXIF orientation: a chunk of its own, or text.
PNG_EXIF_CHUNKS = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
DICOM_AT, DICOM_MAGIC = 128, b"DICM"
# Its first element then is of group 2 or 8, element 0, 1, 5, 8 or 10 hexadecimal, little endian.
DICOM_WITHOUT_PREAMBLE = tuple(bytes((group, 0, element, 0)) for group in (2, 8) for element in (0, 1, 5, 8, 16))
TIFF_STARTS = (b"II*\0", b"MM\0*")
SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff"),
    *(".dcm", ".dicom", ".ima"),
)
HEAD = 132  # bytes that show the type of a file


def is_jpeg(encoded: bytes) -> bool:
    """Returns whether bytes start like a JPEG."""
    return encoded.startswith(JPEG_START)


def is_png(encoded: bytes) -> bool:
    """Returns whether bytes start like a PNG."""
    return encoded.startswith(PNG_START)


def is_dicom(encoded: bytes) -> bool:
    """Returns whether bytes start like a DICOM file, or like an old one without preamble (132 bytes are enough)."""
    return encoded[DICOM_AT : DICOM_AT + len(DICOM_MAGIC)] == DICOM_MAGIC or encoded.startswith(DICOM_WITHOUT_PREAMBLE)


def is_tiff(encoded: bytes) -> bool:
    """Returns whether bytes start like a TIFF."""
    return encoded.startswith(TIFF_STARTS)


def is_image(encoded: bytes) -> bool:
    """Returns whether bytes, at least HEAD of them, start like an image of a type that is read."""
    is_webp = encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP"
    is_bmp = encoded[:2] == b"BM" and encoded[6:10] == b"\0\0\0\0"
    return is_jpeg(encoded) or is_png(encoded) or is_tiff(encoded) or is_webp or is_bmp or is_dicom(encoded)


def looks_like_image(path: Path) -> bool:
    """Returns whether a regular file is to be read as an image: by its suffix, else by its first bytes."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.name == "DICOMDIR":
        return False
    with contextlib.suppress(OSError), path.open("rb") as opened:
        return is_image(opened.read(HEAD))
    return False


def is_plain(encoded: bytes) -> bool:
    """Returns whether `tensorflow_decoder` may read a file: both decoders then give the same pixels.

    Plain are JPEGs in grey or colour and PNGs of 8 bits without palette and transparency, both without an EXIF
    orientation. All else is for `reader` alone. The file is not decoded, so that a plain one may still be damaged.

    Args:
        encoded: The whole file.

    Example:
        >>> file = io.BytesIO()
        >>> Image.new("L", (4, 3)).save(file, "PNG")
        >>> is_plain(file.getvalue())
        True
    """
    if is_png(encoded):
        if encoded[PNG_BIT_DEPTH_AT : PNG_BIT_DEPTH_AT + 1] != b"\x08" or any(c in encoded for c in PNG_EXIF_CHUNKS):
            return False
    elif not is_jpeg(encoded):
        return False
    try:
        if is_jpeg(encoded) and is_turned(encoded):
            return False
        with Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG")) as image:
            return image.mode in ("L", "RGB") and not image.has_transparency_data
    except Exception:  # Pillow's plugins raise many kinds for damaged files
        return False


def is_turned(encoded: bytes) -> bool:
    """Returns whether the EXIF orientation of an image is not upright; of a PNG this may decode the pixels."""
    with Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG")) as image:
        return image.getexif().get(ExifTags.Base.Orientation, 1) != 1
