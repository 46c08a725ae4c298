"""Build a dataset by one process at a time, without leftovers of killed builds, with errors of one line."""

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import filelock
from absl import app

from covid_tfds.common import cli
from covid_tfds.common.errors import SourceError, UsageError

log = logging.getLogger(__name__)


def print_errors_in_one_line() -> None:
    """Make programs that run under `absl.app`, such as the `tfds` command, print a UsageError without a traceback.

    The `tfds` command alone also ends in one line on a signal, with exit code 128 and its number.
    """
    app.install_exception_handler(_WithoutTraceback())
    if Path(sys.argv[0]).stem == "tfds":
        cli.exit_on_signals(
            "Stopped: no incomplete dataset is left, and fetched images are kept. The same command continues."
        )


class _WithoutTraceback(app.ExceptionHandler):
    """Handler of absl.app that removes the traceback of a UsageError: it is long, and its lines are TFDS's own."""

    def wants(self, exc: BaseException) -> bool:
        return isinstance(exc, UsageError)

    def handle(self, exc: BaseException) -> None:
        # Called when nothing is left to run but Python's own report of the error; a notebook never gets here.
        sys.tracebacklimit = 0
        exc.__cause__, exc.__suppress_context__ = None, True


@contextlib.contextmanager
def exclusive_build(data_path: str) -> Iterator[None]:
    """Hold the lock of one dataset while it is built; wait for another process that is building it.

    What killed builds have left is removed. Remote folders (gs://...) can't be locked, and a prepared dataset can be
    read where nothing can be written.

    Args:
        data_path: Where the prepared dataset goes.

    Raises:
        SourceError: If the disk or the folder does not let it; says why.
    """
    with contextlib.ExitStack() as held, _write_errors_in_one_line(data_path):
        if "://" not in data_path:
            try:
                held.enter_context(_lock(Path(data_path)))
            except OSError:
                if not Path(data_path).exists():
                    raise
        yield


@contextlib.contextmanager
def _lock(data_path: Path) -> Iterator[None]:
    folder = data_path.parent
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        log.warning("Another process is building %s: waiting for it", data_path)
        lock.acquire()
    with lock:
        for left in folder.glob("incomplete.*"):
            shutil.rmtree(left)
        yield


@contextlib.contextmanager
def _write_errors_in_one_line(data_path: str) -> Iterator[None]:
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # TFDS raises most errors as a RuntimeError of its own
            cause = cause.__cause__
        tensorflow = sys.modules.get("tensorflow")  # which TFDS imports late, and writes with
        if isinstance(cause, OSError):
            reason = os.strerror(cause.errno) if cause.errno else str(cause)
            reason += f" ({cause.filename})" if cause.filename else ""
        elif tensorflow and isinstance(cause, tensorflow.errors.OpError):
            reason = cause.message.rpartition("; ")[2]
        else:
            raise
        raise SourceError(
            f"{data_path} cannot be prepared: {reason}. Correct that or choose another --data_dir, then give the same "
            "command again"
        ) from error
