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


@dataclass(frozen=True)
class PartResult:
    """The result of one part.

    Attributes:
        number: Key of the part.
        values: What the part returned; empty when it failed.
        error: Why the part failed `TRIES` times; None when it did not.
    """

    number: int
    values: dict = dataclasses.field(default_factory=dict)
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
    scheduler_help = "Dask scheduler that distributes the parts, tcp://HOST:8786 (default: this process alone)"
    parser.add_argument("--scheduler", metavar="ADDRESS", help=scheduler_help)
    patience_help = "how long to wait for a worker of --scheduler (default: %(default)s)"
    parser.add_argument("--patience", type=cli.count, default=300, metavar="SECONDS", help=patience_help)


def this_worker() -> str:
    """Returns host and process id, "host:pid"."""
    return f"{socket.gethostname()}:{os.getpid()}"


@functools.cache
def code_version() -> str:
    """Returns a SHA-256 over the source files of the three packages, to compare a worker's code with the driver's."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[2]
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _run_here(part: Callable[[], dict], number: int) -> PartResult:
    for _ in range(TRIES):
        try:
            return PartResult(number, part())
        except UsageError:
            raise
        except Exception as error:
            reason = _in_one_line(error)
    return PartResult(number, error=reason)


def _run_on_worker(part: Callable[[], dict], number: int, version: str) -> PartResult:
    """Runs a part on a Dask worker; raises UsageError for a worker with other code, another model or other folders."""
    try:
        if code_version() != version:
            raise UsageError(f"has another version of the packages {', '.join(PACKAGES)}")
        return PartResult(number, part())
    except UsageError as error:
        raise UsageError(f"worker {this_worker()}: {error}") from None


def _run_on_cluster(parts: Mapping[int, Callable[[], dict]], scheduler: str, patience: float) -> Iterator[PartResult]:
    try:
        import distributed
    except ImportError as error:
        raise UsageError(f"--scheduler needs Dask ({error}): pip install 'covid-tfds[cluster]'") from error
    for name in ("distributed", "distributed.client"):  # tracebacks of lost connections would stand between our lines
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"--scheduler {scheduler}: no Dask scheduler answers there ({_in_one_line(error)})") from error
    try:
        _check_packages(client, {__name__, *(type(part).__module__ for part in parts.values())})
        futures = {
            client.submit(_run_on_worker, part, number, code_version(), pure=False, retries=TRIES - 1): number
            for number, part in parts.items()
        }
        yield from _take_results(distributed, client, futures, patience)
    except (distributed.client.CancelledError, OSError) as error:
        raise UsageError(f"The scheduler at {scheduler} no longer answers. {RESUME}") from error
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


def _take_results(distributed, client, futures: dict, patience: float) -> Iterator[PartResult]:
    """Yields the results as they come; raises UsageError after `patience` seconds without a worker or a scheduler."""
    waiting_since = None
    while futures:
        for future in [future for future in futures if future.done()]:
            yield _take_result(future, futures.pop(future))
            waiting_since = None
        lack = _what_is_lacking(client) if futures else ""
        if not lack:
            waiting_since = None
        elif waiting_since is None:
            waiting_since = time.monotonic()
            print(f"Waiting for {lack}, at most {patience:g} s ({len(futures)} parts left)", file=sys.stderr)
        elif time.monotonic() - waiting_since > patience:
            raise UsageError(f"No {lack} for {patience:g} s: {len(futures)} parts are left. {RESUME}")
        with contextlib.suppress(distributed.TimeoutError), client.as_current():
            distributed.wait(list(futures), timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")


def _take_result(future, number: int) -> PartResult:
    if future.status != "error":
        return future.result()  # of a scheduler that is gone: CancelledError
    error = _in_one_line(future.exception())
    if isinstance(future.exception(), UsageError):
        raise UsageError(f"{error}. {RESUME}")
    return PartResult(number, error=error)


def _what_is_lacking(client) -> str:
    if client.status != "running":
        return f"scheduler at {client.scheduler.address}"
    return "" if client.scheduler_info(n_workers=-1)["workers"] else f"worker of {client.scheduler.address}"


def _in_one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
