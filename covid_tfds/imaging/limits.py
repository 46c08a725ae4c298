"""How much a file may unpack to, and how long that may take: read from its head, before it is decoded."""

MAX_PIXELS = 50_000_000  # a radiograph has 4 to 20 million
# Progressive JPEGs have 10 as libjpeg writes them; each takes as long as a whole image.
MAX_SCANS = 100
JPEG_SCAN = b"\xff\xda"


class ImageError(Exception):
    """A file that can't be read as an image: one line that says what was expected and what came."""


def check_size(width: int, height: int) -> None:
    """Raise ImageError for an image that is too large to unpack, or has no pixels."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"{too_large()}, got {width} x {height}")
    if width < 1 or height < 1:
        raise ImageError(f"expected an image, got {width} x {height} pixels")


def too_large() -> str:
    """The limit in words, for error messages."""
    return f"expected at most {MAX_PIXELS // 1_000_000} million pixels"
