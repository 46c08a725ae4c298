"""Find the files of the two publishers: folders, zips and clones of the user, else the publishers' own archives.

Nothing is unpacked: an image in a zip is read from the zip by whichever worker needs it, and the zip's own checksum is
compared every time.
"""

import functools
import hashlib
import json
import logging
import re
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import tensorflow_datasets as tfds

from covid_tfds.common import files
from covid_tfds.common.errors import SourceError, UsageError
from covid_tfds.sources import downloads, manual_dir, network

COMMIT = "0f7245db6f5aa4001ea75cf69fe6cfe091928403"  # 2020-06-05
METADATA = "metadata.csv"
METADATA_SHA256 = "933e38b2c77e7c10d0762d219b316c543ae6a81eb153517551c4596d6e349d5e"
COVID_ARCHIVE = f"https://github.com/ieee8023/covid-chestxray-dataset/archive/{COMMIT}.zip"
# Mendeley's: the same images as in Kaggle's, under other names.
KERMANY_ARCHIVE_NAME = "ChestXRay2017.zip"
KERMANY_ARCHIVE_SHA256 = "13efc055629733dbab07877f8b3c9f81097840dbcdaa326a8542322c2281ce36"
# Kaggle's archive holds the tree up to three times, with macOS's resource forks beside it.
KERMANY_FILE = re.compile(r"(?:^|/)((?:train|test|val)/(?:NORMAL|PNEUMONIA)/[^./][^/]*\.jpe?g)$")
GIT_SECONDS = 600
LAYOUTS = "(layouts: covid_tfds/MANUAL.md)"

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where one file lies.

    Attributes:
        archive: The zip that it is in; empty for a plain file.
        name: Its path, or its name in the zip.
        bytes: Its size.
    """

    archive: str
    name: str
    bytes: int

    @property
    def file(self) -> str:
        """The file on disk: the zip, or the file itself."""
        return self.archive or self.name

    def __str__(self) -> str:
        return f"{self.archive} {self.name}".strip()


# Files by the path that the publisher gives them: "images/x.jpg", "train/NORMAL/x.jpeg".
Files = dict[str, Place]


def read_file(place: Place) -> bytes:
    """Returns the bytes of a file, on whichever machine this is called: all must see it under the same path.

    Raises:
        OSError, zipfile.BadZipFile: If it can't be read, or differs from the zip's checksum.
    """
    if not place.archive:
        return Path(place.name).read_bytes()
    return _open_zip(place.archive).read(place.name)


@functools.lru_cache(maxsize=2)
def _open_zip(archive: str) -> zipfile.ZipFile:
    # Its directory of some thousand names is read once by each worker rather than once an image.
    return zipfile.ZipFile(archive)


def find_covid_files(dl_manager: tfds.download.DownloadManager, user_dir: Path | None) -> Files:
    """Find the COVID-19 repository at the pinned commit, by the hash of its metadata.csv.

    A clone comes first, at whatever commit it is checked out: git verifies every byte of the pinned one.

    Args:
        dl_manager: Of the build.
        user_dir: The user's folder, or None; only read.

    Returns:
        `metadata.csv`, verified, and every file of `images/`.

    Raises:
        SourceError: If it can't be fetched; says why.
    """
    for folder in _search_folders(user_dir):
        kept = Path(dl_manager.download_dir) / "covid_tfds"
        if (folder / ".git").exists() and (archive := _archive_commit(folder, kept)):
            return _require_pinned(_list_zip(archive))
        for place in (folder / COMMIT, folder):
            if _is_pinned(found := _list_folder(place, [METADATA, "images/*"])):
                return found
    for archive in _find_zips(user_dir):
        if _is_pinned(found := _list_zip(archive)):
            return found
    return _require_pinned(_list_zip(_download(dl_manager, COVID_ARCHIVE)))


def find_kermany_files(dl_manager: tfds.download.DownloadManager, user_dir: Path | None) -> Files:
    """Find the archive of Kermany et al., as Kaggle or Mendeley publish it.

    Args:
        dl_manager: Of the build.
        user_dir: The user's folder, or None; only read.

    Returns:
        Every file of train, val (which only Kaggle's has) and test. Of Mendeley's zip each byte is verified.

    Raises:
        SourceError: If it can't be fetched; says why.
    """
    for folder in _search_folders(user_dir):
        for place in (folder, folder / "chest_xray"):
            if found := _select_kermany(_list_folder(place, ["*/NORMAL/*", "*/PNEUMONIA/*"])):
                return found
    for archive in _find_zips(user_dir):
        if found := _select_kermany(_list_zip(archive)):
            if archive.name == KERMANY_ARCHIVE_NAME:
                _check_published(archive)
            return found
    archive = _download(dl_manager, downloads.MENDELEY)
    _check_published(archive)
    return _select_kermany(_list_zip(archive))


def _search_folders(user_dir: Path | None) -> list[Path]:
    return manual_dir.search_folders(user_dir) if user_dir else []


def _find_zips(user_dir: Path | None) -> Iterator[Path]:
    return (archive for folder in _search_folders(user_dir) for archive in sorted(folder.glob("*.zip")))


def _list_folder(folder: Path, patterns: list[str]) -> Files:
    found = (file for pattern in patterns for file in sorted(folder.glob(pattern)) if file.is_file())
    return {file.relative_to(folder).as_posix(): Place("", str(file), file.stat().st_size) for file in found}


def _list_zip(archive: Path) -> Files:
    try:
        members = _open_zip(str(archive)).infolist()
    except (OSError, zipfile.BadZipFile) as error:
        log.warning("%s cannot be read as a zip; it may be incomplete: %s", archive, error)
        return {}
    names = [info.filename for info in members]
    # GitHub puts a folder with the repository's name around it all; git does not.
    metadata = min((name for name in names if name.rpartition("/")[2] == METADATA), key=len, default="")
    prefix = metadata.removesuffix(METADATA)
    return {info.filename.removeprefix(prefix): Place(str(archive), info.filename, info.file_size) for info in members}


def _select_kermany(found: Files) -> Files:
    selected: Files = {}
    for name, place in found.items():
        if match := KERMANY_FILE.search(name):
            selected.setdefault(match[1], place)
    return selected


def _is_pinned(found: Files) -> bool:
    if METADATA not in found:
        return False
    if hashlib.sha256(read_file(found[METADATA])).hexdigest() == METADATA_SHA256:
        return True
    log.warning("%s is not that of commit %s: ignored", found[METADATA].file, COMMIT)
    return False


def _require_pinned(found: Files) -> Files:
    if not _is_pinned(found):
        raise SourceError(f"what should be commit {COMMIT} of the COVID-19 repository lacks its {METADATA}")
    return found


def _check_published(archive: Path) -> None:
    if (digest := files.sha256(archive)) != KERMANY_ARCHIVE_SHA256:
        raise SourceError(
            f"{archive} is not Mendeley's {KERMANY_ARCHIVE_NAME}: sha256 {digest}, expected {KERMANY_ARCHIVE_SHA256}. "
            "Remove it and run the same command again: it is then fetched again"
        )


def _archive_commit(clone: Path, folder: Path) -> Path | None:
    """Returns the pinned commit of a clone as a zip in `folder`; None when the clone lacks it, or git is missing."""
    archive = folder / f"{COMMIT}.zip"
    if archive.exists():
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    # Not compressed again (-0): radiographs are.
    command = ["git", "-C", str(clone), "archive", "--format=zip", "-0"]
    try:
        with files.atomic(archive) as partial:
            command += ["-o", str(partial), COMMIT, METADATA, "images"]
            subprocess.run(command, capture_output=True, timeout=GIT_SECONDS, check=True)
    except (UsageError, subprocess.SubprocessError) as error:
        log.warning("%s: git has no commit %s there: %s", clone, COMMIT, getattr(error, "stderr", None) or error)
        return None
    return archive


def _download(dl_manager: tfds.download.DownloadManager, address: str) -> Path:
    # TFDS itself waits four minutes for a network that is not there.
    if not _is_kept(dl_manager, address) and (reasons := network.find_unreachable([address])):
        raise SourceError(
            f"{address} cannot be fetched: {reasons[address]}. Run the same command again later, or give your own copy "
            f"with --manual_dir DIR {LAYOUTS}"
        )
    try:
        return Path(dl_manager.download(address))
    except Exception as error:  # TFDS, promise, requests and urllib3 raise many kinds
        raise SourceError(f"{address} cannot be fetched: {error}. Run the same command again {LAYOUTS}") from error


def _is_kept(dl_manager: tfds.download.DownloadManager, address: str) -> bool:
    notes = Path(dl_manager.download_dir).rglob("*.INFO")
    return any(address in json.loads(note.read_text(encoding="utf-8"))["urls"] for note in notes)
