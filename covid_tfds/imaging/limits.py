"""How much an image file may unpack to, read from its head before it is decoded.

A PNG of 100 kB can hold 800 million pixels, and a JPEG of some kB thousands of progressive scans that each take as long
as a whole image.
"""

MAX_BYTES = 512 << 20
MAX_PIXELS = 50_000_000  # a radiograph has 4 to 20 million
MAX_SCANS = 100  # a progressive JPEG has 10 as libjpeg writes it
# Marks a scan in a JPEG: inside compressed data 0xff is always followed by 0 or a restart mark.
JPEG_SCAN = b"\xff\xda"


class ImageError(Exception):
    """A file that can't be read as an image: one line that says what was expected and what came."""


def check_size(width: int, height: int) -> None:
    """Raise ImageError for an image that is too large to unpack, or has no pixels."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"{too_large()}, got {width} x {height}")
    if width < 1 or height < 1:
        raise ImageError(f"expected an image, got {width} x {height} pixels")


def check_scans(encoded: bytes) -> None:
    """Raise ImageError for a JPEG of too many scans, those of its thumbnails included."""
    if (scans := encoded.count(JPEG_SCAN)) > MAX_SCANS:
        raise ImageError(f"expected a JPEG of at most {MAX_SCANS} scans, got {scans}")


def too_large() -> str:
    """Returns the limit of pixels in words, for error messages."""
    return f"expected at most {MAX_PIXELS // 1_000_000} million pixels"
