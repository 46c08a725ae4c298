"""Make an output folder that gets its final name only when it is complete.

It is made in `<output>.incomplete` and renamed to `<output>` when everything in it is there, SHA256SUMS last.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import filelock

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import write_checksums

LOCK = ".lock"
INCOMPLETE = ".incomplete"


def staging(output: Path) -> Path:
    """Where a run is made before it is complete: beside its final place, on the same file system."""
    return output.with_name(output.name + INCOMPLETE)


def destination(partial: Path) -> Path:
    """The inverse of `staging`."""
    return partial.with_name(partial.name.removesuffix(INCOMPLETE))


@contextlib.contextmanager
def new_folder(output: str | Path, unlisted: Iterable[str] = ()) -> Iterator[Path]:
    """Give a folder to write into, and rename it to `output` when the block ends without an exception.

    Raises UsageError when `output` exists, can't be written, or another process is writing it, and for an OSError in
    the block. After an exception the incomplete folder stays, for a later run with the same output to go on from.
    SHA256SUMS is written last; it leaves out files named `unlisted`.
    """
    output = Path(output)
    if os.path.lexists(output):
        raise UsageError(f"--output {output} exists and is not touched: choose another name or remove it first.")
    partial = staging(output)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(partial / LOCK)
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise UsageError(f"--output {output}: another process is writing this run. Choose another name.") from error
    except OSError as error:
        raise UsageError(f"--output {output} can't be written: {error.strerror or error}. Choose another.") from error
    with lock:
        try:
            yield partial
            _remove_leftovers(partial)
            write_checksums(partial, (LOCK, *unlisted))
            partial.rename(output)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR) and os.path.lexists(output):
                raise UsageError(f"--output {output} appeared meanwhile; this run is in {partial}.") from error
            raise UsageError(f"--output {output}: {error}. What is done stays in {partial}.") from error
        finally:
            _remove_if_empty(partial)
    (output / LOCK).unlink(missing_ok=True)


def _remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed in the middle of `atomic` have left."""
    for path in folder.rglob(".*"):
        if path.is_file() and path.name != LOCK:
            path.unlink()


def _remove_if_empty(partial: Path) -> None:
    """A run that failed before it wrote anything leaves nothing behind."""
    with contextlib.suppress(OSError):
        if sys.exc_info()[0] is not None and [path.name for path in partial.iterdir()] == [LOCK]:
            (partial / LOCK).unlink()
            partial.rmdir()


def clear(folder: Path, keep: Iterable[str] = ()) -> None:
    """Empty a run being made of what a stopped or failed try has left, but for the names to keep."""
    for entry in folder.iterdir():
        if entry.name in (LOCK, *keep):
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
