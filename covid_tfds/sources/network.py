"""HTTP requests of the downloads: a time limit for each, a second try after a lost connection, errors in one line.

An error says whether the next file may still come from the same host (`FileUnavailableError`) or not
(`HostUnavailableError`).
"""

import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

import remotezip
import requests
import urllib3

# What a redirect may lead to: never http:// or file://.
ALLOWED_ADDRESSES = ("https://",)
PREFLIGHT_SECONDS = 8
CONNECT_SECONDS = 5
READ_SECONDS = 30  # for each piece of an answer
RETRIES = 2
BACKOFF_SECONDS = 0.5
BUSY = (429, 500, 502, 503, 504)

T = TypeVar("T")


class FileUnavailableError(Exception):
    """A file can't be fetched from its host; other files may be."""


class ConnectionLostError(FileUnavailableError):
    """The connection ended in the middle of a file: worth a second try."""


class HostUnavailableError(Exception):
    """No file can be fetched from this host; requests for others would only take time."""


def timeout() -> tuple[float, float]:
    """Returns the seconds to wait for a connection and for each piece of an answer, as `requests` takes them."""
    return CONNECT_SECONDS, READ_SECONDS


def open_session(retries: int = RETRIES) -> requests.Session:
    """Returns a session that connects to ALLOWED_ADDRESSES only and retries when the host is busy."""
    session = requests.Session()
    session.adapters.clear()
    # Connections are not tried again: the preflight has just made one. A server's own Retry-After may be an hour.
    retry = urllib3.Retry(
        total=retries,
        connect=0,
        read=min(retries, 1),
        status_forcelist=BUSY,
        backoff_factor=BACKOFF_SECONDS,
        respect_retry_after_header=False,
        raise_on_status=False,
    )
    for address in ALLOWED_ADDRESSES:
        session.mount(address, requests.adapters.HTTPAdapter(max_retries=retry))
    return session


def download(session: requests.Session, address: str, most_bytes: int) -> bytes:
    """Returns the content at an address, cut off soon after `most_bytes`.

    Raises:
        FileUnavailableError: If the host refuses this file or the connection breaks off.
        HostUnavailableError: If the host is busy or does not answer.
    """
    try:
        with session.get(address, stream=True, timeout=timeout()) as response:
            if response.status_code != requests.codes.ok:
                kind = HostUnavailableError if response.status_code in BUSY else FileUnavailableError
                raise kind(f"{address}: HTTP {response.status_code} {response.reason}")
            data = bytearray()
            for chunk in response.iter_content(1 << 16):
                data += chunk
                if len(data) > most_bytes:
                    break
            return bytes(data)
    except requests.exceptions.ChunkedEncodingError as error:
        raise _connection_lost(address, error) from error
    except (requests.TooManyRedirects, requests.exceptions.InvalidSchema) as error:
        raise FileUnavailableError(f"{address}: {describe_error(error)}") from error
    except requests.RequestException as error:
        raise HostUnavailableError(f"{address}: {describe_error(error)}") from error


@contextlib.contextmanager
def remote_zip_errors(origin: str) -> Iterator[None]:
    """Turn what a remote zip raises when the connection fails, which comes from three libraries, into the errors above.

    Args:
        origin: The address, and member if any, for the message.
    """
    try:
        yield
    except urllib3.exceptions.ProtocolError as error:
        raise _connection_lost(origin, error) from error
    except (remotezip.RemoteZipError, requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise HostUnavailableError(f"{origin}: {describe_error(error)}") from error


def find_unreachable(addresses: Iterable[str]) -> dict[str, str]:
    """Send every address a short request, in parallel, for `PREFLIGHT_SECONDS` at most.

    Returns:
        `{address: reason}` for those whose host does not answer.
    """
    with open_session(retries=0) as session:

        def connect(address: str) -> None:
            # Any answer will do, an error too: it comes from the host.
            session.head(address, timeout=(CONNECT_SECONDS, CONNECT_SECONDS), allow_redirects=False)

        # A name server that does not answer is waited for longer than any timeout of requests: hence the background.
        answers = {address: _run_in_background(partial(connect, address)) for address in set(addresses)}
        concurrent.futures.wait(answers.values(), timeout=PREFLIGHT_SECONDS)
    reasons = {}
    for address, answer in answers.items():
        if not answer.done():
            reasons[address] = f"{address}: no answer in {PREFLIGHT_SECONDS} s"
        elif error := answer.exception():
            reasons[address] = f"{address}: {describe_error(error)}"
    return reasons


def run_within(seconds: float, work: Callable[[], T], origin: str) -> T:
    """Returns what `work` returns; raises HostUnavailableError if that takes longer, without stopping the work."""
    future = _run_in_background(work)
    concurrent.futures.wait([future], timeout=seconds)
    if not future.done():
        raise HostUnavailableError(f"{origin}: no complete answer within {seconds} seconds")
    return future.result()


def retry_once(work: Callable[[], T]) -> T:
    """Returns what `work` returns, at the second try where the connection broke off at the first."""
    try:
        return work()
    except ConnectionLostError:
        return work()


def describe_error(error: BaseException) -> str:
    """Returns the cause in one line, without the object and pool names that requests and urllib3 wrap around it."""
    cause = error.args[0] if error.args else error
    text = str(getattr(cause, "reason", cause)).strip()
    if text.startswith(("HTTP", "<")) and ": " in text:
        text = text.split(": ", 1)[1]
    return text.splitlines()[0] if text else type(error).__name__


def _connection_lost(origin: str, error: Exception) -> ConnectionLostError:
    return ConnectionLostError(f"{origin}: the connection broke off, {describe_error(error)}")


def _run_in_background(work: Callable[[], T]) -> "concurrent.futures.Future[T]":
    """Run in a thread that, unlike those of a ThreadPoolExecutor, does not keep a finished program from ending."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
