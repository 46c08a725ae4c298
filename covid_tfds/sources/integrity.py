"""Compare images with the manifest byte for byte, and keep those that agree. Every route uses this."""

import hashlib
from pathlib import Path

from covid_tfds.common.errors import SourceError, UsageError
from covid_tfds.common.files import atomic
from covid_tfds.sources.manifest import Row


def find_difference(row: Row, data: bytes) -> str:
    """Compare bytes with the manifest.

    Args:
        row: The image wanted.
        data: The bytes that came.

    Returns:
        `""` when they are the image, else how they differ, in words.
    """
    digest = hashlib.sha256(data).hexdigest()
    if digest == row.sha256:
        return ""
    if data.lstrip()[:1] == b"<":
        return f"an HTML page of {len(data)} bytes in place of an image of {row.bytes}"
    if len(data) < row.bytes:
        return f"truncated, {len(data)} of {row.bytes} bytes"
    if len(data) > row.bytes:
        return f"more than the {row.bytes} bytes expected"
    return f"sha256 {digest}, expected {row.sha256}"


def save_image(row: Row, data: bytes, folder: Path, origin: str) -> Path:
    """Keep a verified image, so that an interrupted build need not fetch it again.

    Args:
        row: The image.
        data: Its bytes, for which `find_difference` found none.
        folder: Created when missing.
        origin: The address or archive the bytes came from, for the error.

    Returns:
        The file, named by `kept_path`.

    Raises:
        SourceError: If it can't be written, for instance because the disk is full.
    """
    path = kept_path(row, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(path) as partial:
            partial.write_bytes(data)
    except (OSError, UsageError) as error:
        raise SourceError(
            f"{row.bytes} bytes from {origin} can't be kept: {error} Or choose another --download_dir."
        ) from error
    return path


def kept_path(row: Row, folder: Path) -> Path:
    """Returns where `save_image` keeps an image: named by its hash, as the three manifests share images."""
    return folder / f"{row.sha256}{Path(row.path).suffix}"
