"""What a build needs that TFDS leaves out: one process at a time, and nothing left over of one that was killed."""

import contextlib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import filelock

log = logging.getLogger(__name__)


@contextlib.contextmanager
def alone(data_path: str) -> Iterator[None]:
    """Be the only process that builds a dataset; one that is building it already is waited for.

    What killed builds have left is removed: nobody else can be at work on it. Remote folders (gs://...) know no locks.

    Args:
        data_path: where the prepared dataset goes.

    Raises:
        OSError: its parent folder cannot be written.
    """
    if "://" in data_path:
        yield
        return
    folder = Path(data_path).parent
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
