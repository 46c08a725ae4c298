"""Find images that the user already has, in a `--manual_dir` of one of these layouts.

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
from covid_tfds.sources.integrity import find_difference
from covid_tfds.sources.manifest import Row

GIT_SECONDS = 60

# Takes an image, its bytes, and where they came from.
Keep = Callable[[Row, bytes, str], None]

log = logging.getLogger(__name__)


def find_files(rows: Sequence[Row], manual_dir: Path) -> Iterator[tuple[Row, Path]]:
    """Find images that are stored as plain files.

    Args:
        rows: The images wanted.
        manual_dir: The user's folder; only read.

    Yields:
        Each image found with its verified file.

    Raises:
        SourceError: If a file lies where the image belongs, and is not the image.
    """
    folders = search_folders(manual_dir)
    for row in rows:
        exact = (folder / place for folder in folders for place in _exact_places(row))
        if file := next(filter(Path.is_file, exact), None):
            if wrong := _find_difference(row, file):
                raise SourceError(
                    f"{file} is not the published image: {wrong}. Replace the file, or remove it: "
                    "the image is then fetched from its publisher"
                )
            yield row, file
            continue
        # Whatever commit a clone has checked out, most of its files are those of the pinned commit.
        worktree = filter(Path.is_file, (folder / row.path for folder in folders))
        if file := next((file for file in worktree if not _find_difference(row, file)), None):
            yield row, file


def read_archives(rows: Sequence[Row], manual_dir: Path, keep: Keep) -> None:
    """Take images out of zips and git clones.

    Args:
        rows: The images wanted.
        manual_dir: The user's folder; only read.
        keep: Called with `(row, data, origin)` for each image found, verified.
    """
    folders = search_folders(manual_dir)
    wanted = {row.image_id: row for row in rows}
    for archive in (file for folder in folders for file in sorted(folder.glob("*.zip"))):
        for row, data in _read_zip(list(wanted.values()), archive):
            keep(row, data, str(archive))
            del wanted[row.image_id]
    for clone in (folder for folder in folders if (folder / ".git").exists()):
        for row in list(wanted.values()):
            data = _read_commit(clone, row) if row.revision else b""
            if data and not find_difference(row, data):
                keep(row, data, str(clone))
                del wanted[row.image_id]


def matching_members(rows: Sequence[Row], archive: zipfile.ZipFile) -> Iterator[tuple[Row, zipfile.ZipInfo]]:
    """Find images in a zip by what its directory says of their content.

    Args:
        rows: The images wanted.
        archive: An open zip, local or remote.

    Yields:
        Each image with the first member of its size and CRC-32. Images without such a member are left out.
    """
    members: dict[tuple[int, str], zipfile.ZipInfo] = {}
    for info in archive.infolist():
        members.setdefault((info.file_size, f"{info.CRC:08x}"), info)
    for row in rows:
        if found := members.get((row.bytes, row.crc32)):
            yield row, found


def search_folders(manual_dir: Path) -> list[Path]:
    """Returns where copies may lie: the folder itself and those one level below, in alphabetical order."""
    return [manual_dir, *sorted(child for child in manual_dir.iterdir() if child.is_dir())]


def _exact_places(row: Row) -> list[str]:
    if row.revision:
        return [f"{row.revision}/{row.path}"]
    # Kaggle's archive holds chest_xray/chest_xray besides chest_xray; the folder may also be chest_xray itself.
    return [row.path, f"chest_xray/{row.path}", row.path.removeprefix("chest_xray/")]


def _find_difference(row: Row, file: Path) -> str:
    size = file.stat().st_size
    if size > row.bytes:
        return f"{size} bytes, expected {row.bytes}"
    return find_difference(row, file.read_bytes())


def _read_zip(rows: Sequence[Row], file: Path) -> Iterator[tuple[Row, bytes]]:
    try:
        with zipfile.ZipFile(file) as archive:
            for row, info in matching_members(rows, archive):
                with archive.open(info) as member:
                    # A zip's directory can state a wrong size: never read more than the image has.
                    data = member.read(row.bytes + 1)
                if wrong := find_difference(row, data):
                    log.warning("%s: member %s is not %s: %s", file, info.filename, row.path, wrong)
                else:
                    yield row, data
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        # The images may still come from elsewhere, so a half-downloaded archive is worth a warning, not the build.
        log.warning("%s cannot be read as a zip; it may be incomplete: %s", file, error)


def _read_commit(clone: Path, row: Row) -> bytes:
    command = ["git", "-C", str(clone), "cat-file", "blob", f"{row.revision}:{row.path}"]
    try:
        return subprocess.run(command, capture_output=True, timeout=GIT_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):  # no git here, or the clone lacks the commit
        return b""
