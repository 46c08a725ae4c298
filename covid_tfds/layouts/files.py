"""List the files of a folder: which are images, which are not, and why."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from covid_tfds.common.errors import UsageError, describe_error
from covid_tfds.common.names import printable
from covid_tfds.examples import PassedOver
from covid_tfds.imaging.formats import looks_like_image
from covid_tfds.imaging.limits import MAX_BYTES

SYSTEM_FILES = ("thumbs.db", "desktop.ini", "__macosx")
NO_IMAGE = "not an image"


@dataclass
class Listing:
    """The files below a folder, each as the parts of its path from there.

    Attributes:
        images: Files that hold an image, sorted.
        others: All other regular files, sorted.
        passed_over: What is no regular file, hidden, or too large.
    """

    images: list[tuple[str, ...]] = field(default_factory=list)
    others: list[tuple[str, ...]] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)


def list_files(folder: Path) -> Listing:
    """Lists a folder with all folders below; links to files and folders are followed, each folder is read once.

    Raises:
        UsageError: If a folder can't be read.
    """
    listing = Listing()
    _list(folder, (), listing, {_identity(folder)})
    return listing


def _list(folder: Path, above: tuple[str, ...], listing: Listing, seen: set[tuple[int, int]]) -> None:
    try:
        with os.scandir(folder) as opened:
            entries = sorted(opened, key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"{folder} can't be read: {describe_error(error)}.") from error
    # Folders that are links come last, so that the folder itself is listed where both are there.
    for entry in sorted(entries, key=os.DirEntry.is_symlink):
        parts = (*above, entry.name)
        if _is_folder(entry) and not _is_hidden(entry.name):
            if (identity := _identity(Path(entry.path))) in seen:
                listing.passed_over.append(_passed_over(parts, "a folder that is listed elsewhere"))
                continue
            seen.add(identity)
            _list(Path(entry.path), parts, listing, seen)
        elif reason := _unreadable(entry):
            listing.passed_over.append(_passed_over(parts, reason))
        elif looks_like_image(Path(entry.path)):
            listing.images.append(parts)
        else:
            listing.others.append(parts)
    if not above:
        listing.images.sort()
        listing.others.sort()


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _unreadable(entry: os.DirEntry) -> str:
    """Why an entry that is no folder is never an image; empty if it may be one."""
    if _is_hidden(entry.name):
        return "hidden, or made by the system"
    try:
        status = Path(entry.path).stat()
    except OSError as error:
        return f"a broken link ({describe_error(error)})" if entry.is_symlink() else describe_error(error)
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    return f"larger than {MAX_BYTES >> 20} MB" if status.st_size > MAX_BYTES else ""


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _passed_over(parts: tuple[str, ...], reason: str) -> PassedOver:
    return PassedOver(join(parts), reason)


def join(parts: tuple[str, ...]) -> str:
    """Returns the parts of a path as one printable name with forward slashes."""
    return printable("/".join(parts))
