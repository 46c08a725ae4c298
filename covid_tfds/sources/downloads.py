"""Fetch images from their publishers.

The COVID-19 repository: raw files of GitHub at the pinned commit. The Kermany set: single files through `kagglehub`,
and what Kaggle does not give from Mendeley's zip of 1.2 GB, of which only the wanted members are read (HTTP Range).

A short request to every host in parallel shows within `network.PREFLIGHT_SECONDS` which of them can be reached at all.
Afterwards a host that stops answering gets no more requests; a single bad file does not stop the others.
"""

import contextlib
import io
import logging
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import remotezip
import requests

from covid_tfds.sources import network
from covid_tfds.sources.integrity import find_difference
from covid_tfds.sources.manifest import Row
from covid_tfds.sources.manual_dir import Keep, matching_members
from covid_tfds.sources.network import FileUnavailableError, HostUnavailableError, describe_error

GITHUB = "https://raw.githubusercontent.com/ieee8023/covid-chestxray-dataset"
KAGGLE = "https://api.kaggle.com"
# With its version, as kagglehub would otherwise ask for the current one before each file.
KAGGLE_HANDLE = "paultimothymooney/chest-xray-pneumonia/versions/2"
MENDELEY = (
    "https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/f12eaf6d-6023-432f-acc9-80c9d7393433"
    "/file_downloaded"
)
# An answer may drip: these are for the whole of a file (4 MB at most) and of the zip's directory.
KAGGLE_FILE_SECONDS = 60
FILE_SECONDS = 120
DIRECTORY_SECONDS = 300

# Reads one image; returns its bytes and the address they came from.
Read = Callable[[Row], tuple[bytes, str]]


class _Route(NamedTuple):
    address: str
    open: Callable[[requests.Session], contextlib.AbstractContextManager[Read]]


def fetch_images(rows: Sequence[Row], keep: Keep) -> dict[str, str]:
    """Fetch images from their publishers.

    Args:
        rows: The images wanted.
        keep: Called with `(row, data, origin)` for each image as soon as it has come, verified.

    Returns:
        `{image_id: reason}` for every image that can't be fetched; the reason names the address.
    """
    rows_of = defaultdict(list)
    for row in rows:
        rows_of[row.source].append(row)
    routes_of = {source: _routes(source) for source in rows_of}
    unreachable = network.find_unreachable(route.address for routes in routes_of.values() for route in routes)

    failures: dict[str, str] = {}
    for source, left in rows_of.items():
        reasons = defaultdict(list)
        for route in routes_of[source]:
            if route.address in unreachable:
                failed = {row.image_id: unreachable[route.address] for row in left}
            else:
                failed = _fetch_by(route, left, keep)
            for image_id, reason in failed.items():
                reasons[image_id].append(reason)
            left = [row for row in left if row.image_id in failed]
        failures |= {row.image_id: "; ".join(reasons[row.image_id]) for row in left}
    return failures


def _routes(source: str) -> list[_Route]:
    if source == "covid-chestxray-dataset":
        return [_Route(GITHUB, _github)]
    return [_Route(KAGGLE, _kaggle), _Route(MENDELEY, _mendeley)]


def _fetch_by(route: _Route, rows: Sequence[Row], keep: Keep) -> dict[str, str]:
    failed = {}
    left = list(rows)
    try:
        with network.open_session() as session, route.open(session) as read:
            while left:
                row = left[0]
                try:
                    data, origin = read(row)
                    if wrong := find_difference(row, data):
                        raise FileUnavailableError(f"{origin}: {wrong}")
                    keep(row, data, origin)
                except FileUnavailableError as error:
                    failed[row.image_id] = str(error)
                left.pop(0)
    except HostUnavailableError as error:
        failed |= {row.image_id: str(error) for row in left}
    return failed


@contextlib.contextmanager
def _github(session: requests.Session) -> Iterator[Read]:
    def read(row: Row) -> tuple[bytes, str]:
        address = f"{GITHUB}/{row.revision}/{quote(row.path)}"
        return _read_file(partial(network.download, session, address, row.bytes), address), address

    yield read


@contextlib.contextmanager
def _kaggle(session: requests.Session) -> Iterator[Read]:
    del session  # kagglehub brings its own
    import kagglehub  # imported late: it configures logging when it is imported

    def read(row: Row) -> tuple[bytes, str]:
        origin = f"{KAGGLE} {KAGGLE_HANDLE} {row.path}"
        download = partial(kagglehub.dataset_download, KAGGLE_HANDLE, path=row.path)
        try:
            # kagglehub waits for ever on a connection that hangs, and draws a progress bar of its own for every file.
            with _silence("kagglehub"):
                return Path(network.run_within(KAGGLE_FILE_SECONDS, download, origin)).read_bytes(), origin
        except HostUnavailableError:
            raise
        except Exception as error:  # of many kinds, none of them documented; Mendeley comes next
            raise HostUnavailableError(f"{origin}: {describe_error(error)}") from error

    yield read


@contextlib.contextmanager
def _mendeley(session: requests.Session) -> Iterator[Read]:
    opening = partial(remotezip.RemoteZip, MENDELEY, session=session, timeout=network.timeout())
    try:
        with network.remote_zip_errors(MENDELEY):
            archive = network.run_within(DIRECTORY_SECONDS, opening, MENDELEY)
    except zipfile.BadZipFile as error:
        raise HostUnavailableError(f"{MENDELEY}: {describe_error(error)}") from error

    def read_member(member: zipfile.ZipInfo, size: int, origin: str) -> bytes:
        with network.remote_zip_errors(origin), archive.open(member) as file:
            return file.read(size + 1)

    def read(row: Row) -> tuple[bytes, str]:
        for _, member in matching_members([row], archive):
            origin = f"{MENDELEY} {member.filename}"
            try:
                return _read_file(partial(read_member, member, row.bytes, origin), origin), origin
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise FileUnavailableError(f"{origin}: {describe_error(error)}") from error
        raise FileUnavailableError(f"{MENDELEY}: no member of {row.bytes} bytes with CRC-32 {row.crc32} for {row.path}")

    with archive:
        yield read


def _read_file(work: Callable[[], bytes], origin: str) -> bytes:
    return network.retry_once(partial(network.run_within, FILE_SECONDS, work, origin))


@contextlib.contextmanager
def _silence(library: str) -> Iterator[None]:
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
