"""What a build needs that TFDS leaves out: one process at a time, nothing left of a killed one, errors of one line."""

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import filelock

from covid_tfds.common.errors import SourceError

log = logging.getLogger(__name__)


@contextlib.contextmanager
def alone(data_path: str) -> Iterator[None]:
    """Be the only process that builds a dataset; one that is building it already is waited for.

    What killed builds have left is removed: nobody else can be at work on it. Remote folders (gs://...) know no locks,
    and what is prepared already can be read where nothing can be written.

    Args:
        data_path: where the prepared dataset goes.

    Raises:
        SourceError: the disk or the folder does not let it; says why.
    """
    with contextlib.ExitStack() as held, _of_one_line(data_path):
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
def _of_one_line(data_path: str) -> Iterator[None]:
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        cause = error
        while cause.__cause__ is not None:  # TFDS raises most as a RuntimeError of its own
            cause = cause.__cause__
        tensorflow = sys.modules.get("tensorflow")  # which TFDS writes by, but imports late
        if isinstance(cause, OSError):
            reason = os.strerror(cause.errno) if cause.errno else str(cause)
            reason += f" ({cause.filename})" if cause.filename else ""
        elif tensorflow and isinstance(cause, tensorflow.errors.OpError):
            reason = cause.message.rpartition("; ")[2]
        else:
            raise
        raise SourceError(
            f"{data_path} cannot be prepared: {reason}. Mend that or choose another --data_dir, then give the same "
            "command again"
        ) from error
