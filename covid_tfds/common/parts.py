"""Work cut into parts: done one after the other in this process, or as tasks of a Dask cluster.

A part is a picklable function without arguments. When it returns, it has written the part's files under their final
names; what it returns is small and JSON-able. So a part can be repeated, by another worker too, and stopped work
continues with the parts that are missing.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from covid_tfds.common import cli
from covid_tfds.common.errors import UsageError

PACKAGES = ("covid_tfds", "trainer", "export")
TRIES = 2
POLL_SECONDS = 1.0
CONNECT_SECONDS = 15
RESUME = "What is done is kept: the same command continues."


class UnfitWorkerError(Exception):
    """A worker has another version of the code or the model, or does not see the shared folder."""


@dataclass(frozen=True)
class PartResult:
    """The result of one part.

    Attributes:
        number: Key of the part.
        values: What the part returned; empty when it failed.
        worker: Host and process id that did it, as "host:pid".
        error: Why the part failed `TRIES` times; None when it did not.
    """

    number: int
    values: dict = dataclasses.field(default_factory=dict)
    worker: str = ""
    error: str | None = None


def run_parts(
    parts: Mapping[int, Callable[[], dict]], scheduler: str | None = None, patience: float = 300
) -> Iterator[PartResult]:
    """Runs every part and yields each result as soon as it is there.

    A part that raises is tried a second time, then yielded with its error while the others continue.

    Args:
        parts: The parts by number; picklable when there is a scheduler.
        scheduler: Address of a Dask scheduler, `tcp://HOST:8786`; None does all in this process.
        patience: Seconds to wait for a worker, or for a lost scheduler, before giving up.

    Raises:
        UsageError: From a part itself; or the scheduler is not there, lost, or has had no worker for `patience`
            seconds; or a worker is unfit.

    Example:
        >>> [(result.number, result.values) for result in run_parts({0: lambda: {"images": 3}})]
        [(0, {'images': 3})]
    """
    if scheduler is None:
        yield from (_run_here(part, number) for number, part in parts.items())
    else:
        yield from _run_on_cluster(parts, scheduler, patience)


def add_scheduler_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --scheduler and --patience."""
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="Dask scheduler that distributes the parts, tcp://HOST:8786 (default: this process alone)",
    )
    parser.add_argument(
        "--patience",
        type=cli.count,
        default=300,
        metavar="SECONDS",
        help="how long to wait for a worker of --scheduler (default: %(default)s)",
    )


def this_worker() -> str:
    """Returns host and process id, "host:pid"."""
    return f"{socket.gethostname()}:{os.getpid()}"


def dask_worker_threads() -> int | None:
    """Returns how many parts the Dask worker that runs this process takes at once; None outside a Dask worker."""
    if "distributed" not in sys.modules:
        return None
    try:
        return sys.modules["distributed"].get_worker().state.nthreads
    except ValueError:
        return None


@functools.cache
def code_version() -> str:
    """Returns a SHA-256 over the source files of the three packages, to compare a worker's code with the driver's."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[2]
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _run_here(part: Callable[[], dict], number: int) -> PartResult:
    for left in reversed(range(TRIES)):
        try:
            return PartResult(number, part(), this_worker())
        except UsageError:
            raise
        except Exception as error:
            if not left:
                return PartResult(number, worker=this_worker(), error=_in_one_line(error))
    raise AssertionError


def _run_on_worker(part: Callable[[], dict], number: int, version: str) -> PartResult:
    """Runs a part on a Dask worker, after a check that the worker has the same code."""
    if code_version() != version:
        raise UnfitWorkerError(f"worker {this_worker()} has another version of the packages {', '.join(PACKAGES)}")
    try:
        return PartResult(number, part(), this_worker())
    except UsageError as error:
        raise UnfitWorkerError(f"worker {this_worker()}: {error}") from None


def _run_on_cluster(parts: Mapping[int, Callable[[], dict]], scheduler: str, patience: float) -> Iterator[PartResult]:
    distributed = _import_distributed()
    with _connected(distributed, scheduler) as client:
        _check_packages(client, {__name__, *(type(part).__module__ for part in parts.values())})
        futures = {
            client.submit(_run_on_worker, part, number, code_version(), pure=False, retries=TRIES - 1): number
            for number, part in parts.items()
        }
        waiting_since = None
        while futures:
            for future in [future for future in futures if future.done()]:
                try:
                    result = _result(client, future, futures.pop(future))
                except (distributed.client.CancelledError, OSError) as error:
                    raise UsageError(f"The scheduler at {scheduler} no longer answers. {RESUME}") from error
                yield result
                waiting_since = None
            lack = _what_is_lacking(client, scheduler)
            if futures and lack:
                if waiting_since is None:
                    waiting_since = time.monotonic()
                    print(f"Waiting for {lack}, at most {patience:g} s ({len(futures)} parts left)", file=sys.stderr)
                elif time.monotonic() - waiting_since > patience:
                    raise UsageError(f"No {lack} for {patience:g} s: {len(futures)} parts are left. {RESUME}")
            else:
                waiting_since = None
            if futures:
                _wait_a_moment(distributed, client, list(futures))


def _import_distributed():
    try:
        import distributed
    except ImportError as error:
        raise UsageError(f"--scheduler needs Dask ({error}): pip install 'covid-tfds[cluster]'") from error
    # Its own reports of lost connections, tracebacks among them, would stand between our lines.
    for name in logging.root.manager.loggerDict:
        if name.startswith("distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return distributed


@contextlib.contextmanager
def _connected(distributed, scheduler: str):
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(f"--scheduler {scheduler}: no Dask scheduler answers there ({_in_one_line(error)})") from error
    try:
        yield client
    finally:
        # Closing also cancels what is left; a scheduler that is gone must not hold up the end.
        with contextlib.suppress(Exception):
            client.close(timeout=2)


def _check_packages(client, modules: set[str]) -> None:
    """Raises UsageError for a worker that can't import the modules of the parts: it would end at its first task."""
    for module in modules:
        for worker, spec in client.run(importlib.util.find_spec, module, on_error="return").items():
            if spec is None or isinstance(spec, ImportError):  # another error: the worker has just ended
                raise UsageError(f"worker {worker} lacks the package of {module}. {RESUME}")


def _wait_a_moment(distributed, client, futures: list) -> None:
    """Returns when a future is done, or after POLL_SECONDS."""
    try:
        with client.as_current():
            distributed.wait(futures, timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
    except TimeoutError:
        pass
    except distributed.client.CancelledError as error:
        raise UsageError(f"The scheduler at {client.scheduler.address} no longer answers. {RESUME}") from error


def _what_is_lacking(client, scheduler: str) -> str:
    if client.status != "running":
        return f"scheduler at {scheduler}"
    return "" if client.scheduler_info(n_workers=-1)["workers"] else f"worker of {scheduler}"


def _result(client, future, number: int) -> PartResult:
    if future.status == "finished":
        return future.result()
    if future.status in ("cancelled", "lost"):
        raise UsageError(f"The scheduler at {client.scheduler.address} no longer answers. {RESUME}")
    error = future.exception()
    if isinstance(error, UnfitWorkerError):
        raise UsageError(f"{_in_one_line(error)}. {RESUME}")
    return PartResult(number, error=_in_one_line(error))


def _in_one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
