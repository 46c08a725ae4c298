"""Where the files of the two publishers lie: folders, zips and clones of the user, else the publishers' own archives.

Nothing is unpacked: a film in a zip is read from the zip by whichever worker needs it, and the zip's own checksum is
looked at every time.
"""

import functools
import json
import logging
import re
import subprocess
import uuid
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import tensorflow_datasets as tfds

from covid_tfds.common.errors import SourceError
from covid_tfds.sources import downloads, manual_dir

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
EXPLAINED = "(layouts: covid_tfds/README.md)"

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where one file lies: `name` is a path, or a member of the zip `archive`; bytes is its size."""

    archive: str
    name: str
    bytes: int


# Files by the path that the publisher gives them: "images/x.jpg", "train/NORMAL/x.jpeg".
Files = dict[str, Place]


def read(place: Place) -> bytes:
    """The bytes of a file, on whichever machine this is called: all must see it under the same path.

    Raises:
        OSError, zipfile.BadZipFile: it cannot be read, or differs from the zip's checksum.
    """
    if not place.archive:
        return Path(place.name).read_bytes()
    return _opened(place.archive).read(place.name)


@functools.lru_cache(maxsize=2)
def _opened(archive: str) -> zipfile.ZipFile:
    # Its directory of some thousand names is read once by each worker rather than once a film.
    return zipfile.ZipFile(archive)


def covid(dl_manager: tfds.download.DownloadManager, user_dir: Path | None) -> Files:
    """Find the COVID-19 repository at the pinned commit, by the hash of its metadata.csv.

    A clone is asked first, at whatever commit it is checked out: git vouches for every byte of the pinned one.

    Args:
        dl_manager: of the build.
        user_dir: the user's folder, or None; only read.

    Returns:
        `metadata.csv`, verified, and every file of `images/`.

    Raises:
        SourceError: it is nowhere to be had; says why.
    """
    for root in _roots(user_dir):
        if (root / ".git").exists() and (archive := _archived(root, Path(dl_manager.download_dir) / "covid_tfds")):
            return _pinned(_in_zip(archive))
        for folder in (root / COMMIT, root):
            if _is_pinned(files := _in_folder(folder, [METADATA, "images/*"])):
                return files
    for archive in _zips(user_dir):
        if _is_pinned(files := _in_zip(archive)):
            return files
    return _pinned(_in_zip(_downloaded(dl_manager, COVID_ARCHIVE)))


def kermany(dl_manager: tfds.download.DownloadManager, user_dir: Path | None) -> Files:
    """Find the archive of Kermany et al., as Kaggle or Mendeley publish it.

    Args:
        dl_manager: of the build.
        user_dir: the user's folder, or None; only read.

    Returns:
        Every file of train, val (which only Kaggle's has) and test. Of Mendeley's zip each byte is verified.

    Raises:
        SourceError: it is nowhere to be had; says why.
    """
    for root in _roots(user_dir):
        for folder in (root, root / "chest_xray"):
            if files := _kermany(_in_folder(folder, ["*/NORMAL/*", "*/PNEUMONIA/*"])):
                return files
    for archive in _zips(user_dir):
        if files := _kermany(_in_zip(archive)):
            if archive.name == KERMANY_ARCHIVE_NAME:
                _check_published(archive)
            return files
    archive = _downloaded(dl_manager, downloads.MENDELEY)
    _check_published(archive)
    return _kermany(_in_zip(archive))


def _roots(user_dir: Path | None) -> list[Path]:
    return manual_dir.roots(user_dir) if user_dir else []


def _zips(user_dir: Path | None) -> Iterator[Path]:
    return (archive for root in _roots(user_dir) for archive in sorted(root.glob("*.zip")))


def _in_folder(folder: Path, patterns: list[str]) -> Files:
    found = (file for pattern in patterns for file in sorted(folder.glob(pattern)) if file.is_file())
    return {file.relative_to(folder).as_posix(): Place("", str(file), file.stat().st_size) for file in found}


def _in_zip(archive: Path) -> Files:
    try:
        members = _opened(str(archive)).infolist()
    except (OSError, zipfile.BadZipFile) as error:
        log.warning("%s cannot be read as a zip, is it complete? %s", archive, error)
        return {}
    names = [info.filename for info in members]
    # GitHub puts a folder with the repository's name around it all; git does not.
    metadata = min((name for name in names if name.rpartition("/")[2] == METADATA), key=len, default="")
    prefix = metadata.removesuffix(METADATA)
    return {info.filename.removeprefix(prefix): Place(str(archive), info.filename, info.file_size) for info in members}


def _kermany(files: Files) -> Files:
    found = {}
    for name, place in files.items():
        if match := KERMANY_FILE.search(name):
            found.setdefault(match[1], place)
    return found


def _is_pinned(files: Files) -> bool:
    if METADATA not in files:
        return False
    if sha256(read(files[METADATA])).hexdigest() == METADATA_SHA256:
        return True
    log.warning("%s is not that of commit %s: passed over", files[METADATA].archive or files[METADATA].name, COMMIT)
    return False


def _check_published(archive: Path) -> None:
    digest = sha256()
    with archive.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if (found := digest.hexdigest()) != KERMANY_ARCHIVE_SHA256:
        raise SourceError(
            f"{archive} is not Mendeley's {KERMANY_ARCHIVE_NAME}: sha256 {found}, expected {KERMANY_ARCHIVE_SHA256}. "
            "Remove it and run the same command again: it is then fetched anew"
        )


def _pinned(files: Files) -> Files:
    if not _is_pinned(files):
        raise SourceError(f"what should be commit {COMMIT} of the COVID-19 repository has not its {METADATA}")
    return files


def _archived(clone: Path, folder: Path) -> Path | None:
    """The pinned commit of a clone as a zip in `folder`; None when the clone lacks it, or git is not installed."""
    archive = folder / f"{COMMIT}.zip"
    if archive.exists():
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{archive.name}.{uuid.uuid4().hex}.incomplete"
    # Not compressed again (-0): radiographs are.
    command = ["git", "-C", str(clone), "archive", "--format=zip", "-0", "-o", str(partial), COMMIT, METADATA, "images"]
    try:
        subprocess.run(command, capture_output=True, timeout=GIT_SECONDS, check=True)
        return partial.replace(archive)
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        log.warning("%s: git has no commit %s there: %s", clone, COMMIT, reason)
        return None
    finally:
        partial.unlink(missing_ok=True)


def _downloaded(dl_manager: tfds.download.DownloadManager, address: str) -> Path:
    # TFDS itself waits four minutes for a network that is not there.
    if not _is_kept(dl_manager, address) and (reason := downloads.unreachable([address])):
        raise SourceError(
            f"{address} cannot be had: {reason[address]}. Run the same command again later, or give your own copy with "
            f"--manual_dir DIR {EXPLAINED}"
        )
    try:
        return Path(dl_manager.download(address))
    except Exception as error:  # TFDS, promise, requests and urllib3 raise many kinds
        raise SourceError(f"{address} cannot be had: {error}. Run the same command again {EXPLAINED}") from error


def _is_kept(dl_manager: tfds.download.DownloadManager, address: str) -> bool:
    notes = Path(dl_manager.download_dir).rglob("*.INFO")
    return any(address in json.loads(note.read_text(encoding="utf-8"))["urls"] for note in notes)
