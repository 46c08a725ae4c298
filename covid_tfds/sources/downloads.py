"""Images from their publishers.

The COVID-19 repository: raw files of GitHub at the pinned commit. The Kermany set: single files through `kagglehub`,
and what Kaggle does not give from Mendeley's zip of 1.2 GB, of which only the wanted members are read (HTTP Range).

A first, short question to every host in parallel tells within `PREFLIGHT_SECONDS` which of them can be reached at all.
Afterwards a host that stops answering is left alone, while a single bad file does not keep the others from coming.
"""

import concurrent.futures
import contextlib
import io
import logging
import threading
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import quote

import remotezip
import requests
import urllib3

from covid_tfds.sources.integrity import difference
from covid_tfds.sources.manifest import Row
from covid_tfds.sources.manual_dir import Keep, matching_members

GITHUB = "https://raw.githubusercontent.com/ieee8023/covid-chestxray-dataset"
KAGGLE = "https://api.kaggle.com"
# With its version, as kagglehub would otherwise ask for the current one before each file.
KAGGLE_HANDLE = "paultimothymooney/chest-xray-pneumonia/versions/2"
MENDELEY = (
    "https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/f12eaf6d-6023-432f-acc9-80c9d7393433"
    "/file_downloaded"
)

# What a redirect may lead to: never http:// or file://.
ALLOWED_ADDRESSES = ("https://",)
PREFLIGHT_SECONDS = 8
CONNECT_SECONDS = 5
READ_SECONDS = 30
KAGGLE_FILE_SECONDS = 60
# READ_SECONDS is for each piece of an answer, and an answer may drip: these are for the whole of a file (4 MB at most)
# and of the zip's directory.
FILE_SECONDS = 120
DIRECTORY_SECONDS = 300
RETRIES = 2
BACKOFF_SECONDS = 0.5
BUSY = (429, 500, 502, 503, 504)


T = TypeVar("T")


class _FileRefusedError(Exception):
    """This file cannot be had from here; the next one may."""


class _BrokenOffError(_FileRefusedError):
    """The connection ended in the middle: worth a second try."""


class _HostUnavailableError(Exception):
    """Nothing can be had from here; asking for the other files would only take time."""


class _Route(NamedTuple):
    address: str
    # Opens the route; what it gives reads one image and says where it was read from.
    open: Callable[[requests.Session], contextlib.AbstractContextManager[Callable[[Row], tuple[bytes, str]]]]


def fetch(rows: Sequence[Row], keep: Keep) -> dict[str, str]:
    """Fetch images from their publishers.

    Args:
        rows: the images wanted.
        keep: called with `(row, data, origin)` for each image as soon as it has come, verified.

    Returns:
        `{image_id: reason}` for every image that could not be had; the reason names the address.
    """
    rows_of = defaultdict(list)
    for row in rows:
        rows_of[row.source].append(row)
    routes_of = {source: _routes(source) for source in rows_of}
    cut_off = unreachable(route.address for routes in routes_of.values() for route in routes)

    failures = {}
    for source, left in rows_of.items():
        reasons = defaultdict(list)
        for route in routes_of[source]:
            if route.address in cut_off:
                failed = {row.image_id: cut_off[route.address] for row in left}
            else:
                failed = _take(route, left, keep)
            for image_id, reason in failed.items():
                reasons[image_id].append(reason)
            left = [row for row in left if row.image_id in failed]
        failures |= {row.image_id: "; ".join(reasons[row.image_id]) for row in left}
    return failures


def _routes(source: str) -> list[_Route]:
    if source == "covid-chestxray-dataset":
        return [_Route(GITHUB, _github)]
    return [_Route(KAGGLE, _kaggle), _Route(MENDELEY, _mendeley)]


def _take(route: _Route, rows: Sequence[Row], keep: Keep) -> dict[str, str]:
    failed = {}
    left = list(rows)
    try:
        with _session(RETRIES) as session, route.open(session) as read:
            while left:
                row = left[0]
                try:
                    data, origin = read(row)
                    if wrong := difference(row, data):
                        raise _FileRefusedError(f"{origin}: {wrong}")
                    keep(row, data, origin)
                except _FileRefusedError as error:
                    failed[row.image_id] = str(error)
                left.pop(0)
    except _HostUnavailableError as error:
        failed |= {row.image_id: str(error) for row in left}
    return failed


@contextlib.contextmanager
def _github(session: requests.Session) -> Iterator[Callable[[Row], tuple[bytes, str]]]:
    def read(row: Row) -> tuple[bytes, str]:
        address = f"{GITHUB}/{row.revision}/{quote(row.path)}"
        download = partial(_get, session, address, row.bytes)
        return _twice(partial(_within, FILE_SECONDS, download, address)), address

    yield read


@contextlib.contextmanager
def _kaggle(session: requests.Session) -> Iterator[Callable[[Row], tuple[bytes, str]]]:
    del session  # kagglehub brings its own
    import kagglehub  # not at the top: it configures logging when it is imported

    def read(row: Row) -> tuple[bytes, str]:
        origin = f"{KAGGLE} {KAGGLE_HANDLE} {row.path}"
        # kagglehub waits for ever on a connection that hangs, and draws a progress bar of its own for every file.
        with _silence("kagglehub"):
            try:
                download = partial(kagglehub.dataset_download, KAGGLE_HANDLE, path=row.path)
                data = Path(_within(KAGGLE_FILE_SECONDS, download, origin)).read_bytes()
            except _HostUnavailableError:
                raise
            except Exception as error:  # of many kinds, none of them documented; Mendeley is asked next
                raise _HostUnavailableError(f"{origin}: {_plain(error)}") from error
        return data, origin

    yield read


@contextlib.contextmanager
def _mendeley(session: requests.Session) -> Iterator[Callable[[Row], tuple[bytes, str]]]:
    try:
        with _as_unavailable(MENDELEY):
            timeout = (CONNECT_SECONDS, READ_SECONDS)
            opening = partial(remotezip.RemoteZip, MENDELEY, session=session, timeout=timeout)
            archive = _within(DIRECTORY_SECONDS, opening, MENDELEY)
    except zipfile.BadZipFile as error:
        raise _HostUnavailableError(f"{MENDELEY}: {_plain(error)}") from error

    def take(member: zipfile.ZipInfo, size: int, origin: str) -> bytes:
        with _as_unavailable(origin), archive.open(member) as file:
            return file.read(size + 1)

    def read(row: Row) -> tuple[bytes, str]:
        for _, member in matching_members([row], archive):
            origin = f"{MENDELEY} {member.filename}"
            try:
                return _twice(partial(_within, FILE_SECONDS, partial(take, member, row.bytes, origin), origin)), origin
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise _FileRefusedError(f"{origin}: {_plain(error)}") from error
        raise _FileRefusedError(f"{MENDELEY}: no member of {row.bytes} bytes with CRC-32 {row.crc32} for {row.path}")

    with archive:
        yield read


def unreachable(addresses: Iterable[str]) -> dict[str, str]:
    """Ask every address something short, in parallel, for `PREFLIGHT_SECONDS` at most.

    Returns:
        `{address: reason}` for those whose host does not answer.
    """
    with _session(retries=0) as session:

        def ask(address: str) -> None:
            # Any answer will do, an error too: it comes from the host.
            session.head(address, timeout=(CONNECT_SECONDS, CONNECT_SECONDS), allow_redirects=False)

        # A name server that does not answer is waited for longer than any timeout of requests: hence the background.
        asked = {address: _in_background(lambda address=address: ask(address)) for address in set(addresses)}
        concurrent.futures.wait(asked.values(), timeout=PREFLIGHT_SECONDS)
    return {
        address: f"{address}: {_plain(answer.exception()) if answer.done() else f'no answer in {PREFLIGHT_SECONDS} s'}"
        for address, answer in asked.items()
        if not answer.done() or answer.exception()
    }


def _session(retries: int) -> requests.Session:
    session = requests.Session()
    session.adapters.clear()
    # Connections are not tried again, the preflight has just made one. A server's own Retry-After may be an hour.
    again = urllib3.Retry(
        total=retries,
        connect=0,
        read=min(retries, 1),
        status_forcelist=BUSY,
        backoff_factor=BACKOFF_SECONDS,
        respect_retry_after_header=False,
        raise_on_status=False,
    )
    for address in ALLOWED_ADDRESSES:
        session.mount(address, requests.adapters.HTTPAdapter(max_retries=again))
    return session


def _get(session: requests.Session, address: str, size: int) -> bytes:
    try:
        with session.get(address, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as response:
            if response.status_code != requests.codes.ok:
                kind = _HostUnavailableError if response.status_code in BUSY else _FileRefusedError
                raise kind(f"{address}: HTTP {response.status_code} {response.reason}")
            data = bytearray()
            for chunk in response.iter_content(1 << 16):
                data += chunk
                if len(data) > size:
                    break
            return bytes(data)
    except requests.exceptions.ChunkedEncodingError as error:
        raise _BrokenOffError(f"{address}: the connection broke off, {_plain(error)}") from error
    except (requests.TooManyRedirects, requests.exceptions.InvalidSchema) as error:
        raise _FileRefusedError(f"{address}: {_plain(error)}") from error
    except requests.RequestException as error:
        raise _HostUnavailableError(f"{address}: {_plain(error)}") from error


@contextlib.contextmanager
def _as_unavailable(origin: str) -> Iterator[None]:
    """Name the address in what a remote zip raises when the connection fails, which comes from three libraries."""
    try:
        yield
    except urllib3.exceptions.ProtocolError as error:
        raise _BrokenOffError(f"{origin}: the connection broke off, {_plain(error)}") from error
    except (remotezip.RemoteZipError, requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _HostUnavailableError(f"{origin}: {_plain(error)}") from error


def _plain(error: BaseException) -> str:
    """The cause in words, without the object and pool names that requests and urllib3 wrap around it."""
    cause = error.args[0] if error.args else error
    text = str(getattr(cause, "reason", cause)).strip()
    if text.startswith(("HTTP", "<")) and ": " in text:
        text = text.split(": ", 1)[1]
    return text.splitlines()[0] if text else type(error).__name__


def _within(seconds: float, work: Callable[[], T], origin: str) -> T:
    """What `work` gives, if it gives it in time; else its host is left alone, and the work to itself."""
    future = _in_background(work)
    concurrent.futures.wait([future], timeout=seconds)
    if not future.done():
        raise _HostUnavailableError(f"{origin}: not done within {seconds} seconds")
    return future.result()


def _twice(work: Callable[[], T]) -> T:
    """Try again, once, where a connection broke off."""
    try:
        return work()
    except _BrokenOffError:
        return work()


def _in_background(work: Callable[[], object]) -> concurrent.futures.Future:
    """Run in a thread that, unlike those of a ThreadPoolExecutor, does not keep a finished program from ending."""
    future = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


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
