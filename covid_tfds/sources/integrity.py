"""Is this byte for byte the image of the manifest? Every route asks here, whatever it trusts otherwise."""

import hashlib
import uuid
from pathlib import Path

from covid_tfds.common.errors import SourceError
from covid_tfds.sources.manifest import Row


def difference(row: Row, data: bytes) -> str:
    """Compare bytes with the manifest.

    Args:
        row: the image that was asked for.
        data: the bytes that came.

    Returns:
        `""` when they are the image, else how they differ, for people.
    """
    found = hashlib.sha256(data).hexdigest()
    if found == row.sha256:
        return ""
    if data.lstrip()[:1] == b"<":
        return f"an HTML page of {len(data)} bytes in place of an image of {row.bytes}"
    if len(data) < row.bytes:
        return f"truncated, {len(data)} of {row.bytes} bytes"
    if len(data) > row.bytes:
        return f"more than the {row.bytes} bytes expected"
    return f"sha256 {found}, expected {row.sha256}"


def save(row: Row, data: bytes, folder: Path, origin: str) -> Path:
    """Keep a verified image, so that an interrupted build need not fetch it again.

    Args:
        row: the image.
        data: its bytes, for which `difference` found none.
        folder: created when missing; the file is called after its hash.
        origin: the address or archive the bytes came from, for the error.

    Returns:
        The file, which appears under this name only when it is complete.

    Raises:
        SourceError: it cannot be written, for instance because the disk is full.
    """
    path = kept_path(row, folder)
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.incomplete")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise SourceError(
            f"cannot write {path}, {row.bytes} bytes from {origin}: {error.strerror or error}. "
            "Make room or choose another --download_dir, then run the same command again"
        ) from error
    return path


def kept_path(row: Row, folder: Path) -> Path:
    """Where `save` keeps an image: named by its hash, as the three manifests share images."""
    return folder / f"{row.sha256}{Path(row.path).suffix}"
