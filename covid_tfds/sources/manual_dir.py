"""Images that the user already has: `--manual_dir` in the layouts people have.

- `<source>/<commit>/images/...`, the layout of the manifests;
- a clone of the COVID-19 repository, whatever commit is checked out;
- the `chest_xray` folder of Kaggle's chest-xray-pneumonia, also nested twice as its archive has it;
- any zip: Kaggle's, Mendeley's `ChestXRay2017.zip` or GitHub's. Images in it are found by their size and CRC-32, since
  the publishers name the same image differently. Nothing is extracted, so no member can name a path to write to.

Each may lie in the folder itself or one level below.
"""

import logging
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from covid_tfds.common.errors import SourceError
from covid_tfds.sources.integrity import difference
from covid_tfds.sources.manifest import Row

GIT_SECONDS = 60

# Says that the bytes of an image came from somewhere, and where.
Keep = Callable[[Row, bytes, str], None]

log = logging.getLogger(__name__)


def find_files(rows: Sequence[Row], manual_dir: Path) -> dict[str, Path]:
    """Look for images that lie there as plain files.

    Args:
        rows: the images wanted.
        manual_dir: the user's folder; only read.

    Returns:
        `{image_id: file}`, verified.

    Raises:
        SourceError: a file lies where the image belongs, and is not the image.
    """
    searched = roots(manual_dir)
    found = {}
    for row in rows:
        for file in (root / place for root in searched for place in _exact_places(row)):
            if file.is_file():
                if wrong := _difference(row, file):
                    raise SourceError(
                        f"{file} is not the published image: {wrong}. Replace the file, or remove it: "
                        "the image is then fetched from its publisher"
                    )
                found[row.image_id] = file
                break
        else:
            # Whatever commit a clone has checked out, most of its files are those of the pinned commit.
            worktree = (root / row.path for root in searched)
            if file := next((f for f in worktree if f.is_file() and not _difference(row, f)), None):
                found[row.image_id] = file
    return found


def read_archives(rows: Sequence[Row], manual_dir: Path, keep: Keep) -> None:
    """Take images out of zips and git clones.

    Args:
        rows: the images wanted.
        manual_dir: the user's folder; only read.
        keep: called with `(row, data, origin)` for each image found, verified.
    """
    searched = roots(manual_dir)
    wanted = {row.image_id: row for row in rows}
    for archive in (zip_file for root in searched for zip_file in sorted(root.glob("*.zip"))):
        for row, data in _read_zip(list(wanted.values()), archive):
            keep(row, data, str(archive))
            del wanted[row.image_id]
    for clone in (root for root in searched if (root / ".git").exists()):
        for row in list(wanted.values()):
            data = _read_commit(clone, row) if row.revision else b""
            if data and not difference(row, data):
                keep(row, data, str(clone))
                del wanted[row.image_id]


def matching_members(rows: Sequence[Row], archive: zipfile.ZipFile) -> Iterator[tuple[Row, zipfile.ZipInfo]]:
    """Find images in a zip by what its directory says of their content.

    Args:
        rows: the images wanted.
        archive: an open zip, local or remote.

    Yields:
        Each image with the first member of its size and CRC-32. Images without such a member are passed over.
    """
    members = {}
    for info in archive.infolist():
        members.setdefault((info.file_size, f"{info.CRC:08x}"), info)
    for row in rows:
        if info := members.get((row.bytes, row.crc32)):
            yield row, info


def roots(manual_dir: Path) -> list[Path]:
    """Where copies may lie: the folder itself and those one level below, in alphabetical order."""
    return [manual_dir, *sorted(child for child in manual_dir.iterdir() if child.is_dir())]


def _exact_places(row: Row) -> list[str]:
    if row.revision:
        return [f"{row.revision}/{row.path}"]
    # Kaggle's archive holds chest_xray/chest_xray besides chest_xray; the folder may also be chest_xray itself.
    return [row.path, f"chest_xray/{row.path}", row.path.removeprefix("chest_xray/")]


def _difference(row: Row, file: Path) -> str:
    size = file.stat().st_size
    if size > row.bytes:
        return f"{size} bytes, expected {row.bytes}"
    return difference(row, file.read_bytes())


def _read_zip(rows: Sequence[Row], file: Path) -> Iterator[tuple[Row, bytes]]:
    try:
        with zipfile.ZipFile(file) as archive:
            for row, info in matching_members(rows, archive):
                with archive.open(info) as member:
                    # A directory can lie about the size: never read more than the image has.
                    data = member.read(row.bytes + 1)
                if wrong := difference(row, data):
                    log.warning("%s: member %s is not %s: %s", file, info.filename, row.path, wrong)
                else:
                    yield row, data
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        # The images may still come from elsewhere, so a half-downloaded archive is worth a warning, not the build.
        log.warning("%s cannot be read as a zip, is it complete? %s", file, error)


def _read_commit(clone: Path, row: Row) -> bytes:
    try:
        shown = subprocess.run(
            ["git", "-C", str(clone), "cat-file", "blob", f"{row.revision}:{row.path}"],
            capture_output=True,
            timeout=GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):  # no git here, or the clone lacks the commit
        return b""
    return shown.stdout
