"""Detect the type of an image file from its bytes, and decide which of the two decoders reads it."""

import io

from PIL import ExifTags, Image

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_SIZE_AT, PNG_BIT_DEPTH_AT = 16, 24
# Where a PNG may keep the EXIF orientation: a chunk of its own, or text.
PNG_EXIF_CHUNKS = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
DICOM_AT, DICOM_MAGIC = 128, b"DICM"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".dcm", ".dicom")


def is_jpeg(encoded: bytes) -> bool:
    """Returns whether bytes start like a JPEG."""
    return encoded.startswith(JPEG_START)


def is_png(encoded: bytes) -> bool:
    """Returns whether bytes start like a PNG."""
    return encoded.startswith(PNG_START)


def is_dicom(encoded: bytes) -> bool:
    """Returns whether bytes start like a DICOM file (132 bytes are enough)."""
    return encoded[DICOM_AT : DICOM_AT + len(DICOM_MAGIC)] == DICOM_MAGIC


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
