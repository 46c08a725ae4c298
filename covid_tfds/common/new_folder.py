"""Make an output folder that gets its final name only when it is complete.

It is made in `<output>.incomplete` and renamed to `<output>` when everything in it is there, SHA256SUMS last.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import filelock

from covid_tfds.common import cli
from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import write_checksums

LOCK = ".lock"
INCOMPLETE = ".incomplete"


def staging(output: Path) -> Path:
    """Returns where a folder is made before it is complete: beside its final place, on the same file system."""
    return output.with_name(output.name + INCOMPLETE)


def destination(partial: Path) -> Path:
    """Returns the final place of a folder being made: the inverse of `staging`."""
    return partial.with_name(partial.name.removesuffix(INCOMPLETE))


@contextlib.contextmanager
def new_folder(output: str | Path, unlisted: Iterable[str] = ()) -> Iterator[Path]:
    """Give a folder to write into, and rename it to `output` when the block ends without an exception.

    After an exception the incomplete folder stays, for a later command with the same output to continue, unless
    nothing is in it.

    Args:
        output: Final path of the folder. Folders above it are made, too.
        unlisted: Names of files that SHA256SUMS, which is written last, leaves out.

    Raises:
        UsageError: If `output` exists, can't be written, or another process is writing it; also for an OSError in the
            block.
    """
    output = Path(output)
    if os.path.lexists(output):
        raise UsageError(f"--output {output} exists and is never overwritten: choose another name or remove it first.")
    partial = staging(output)
    with contextlib.ExitStack() as stack:
        with cli.held():  # else a signal between two of these lines would leave an empty folder
            _lock(output, partial, stack)
        try:
            yield partial
            _remove_leftovers(partial)
            write_checksums(partial, (LOCK, *unlisted))
            partial.rename(output)
        except BrokenPipeError:  # of standard output
            raise
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR) and os.path.lexists(output):
                raise UsageError(
                    f"--output {output} was made by another process meanwhile; the results of this command are in "
                    f"{partial}."
                ) from error
            kept = "" if _is_empty(partial) else f" What is done stays in {partial}."
            raise UsageError(f"--output {output}: {error}.{kept}") from error
    (output / LOCK).unlink(missing_ok=True)


def _lock(output: Path, partial: Path, stack: contextlib.ExitStack) -> None:
    """Make and lock the folder; `stack` unlocks it, and removes it when nothing was written."""
    try:
        partial.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(partial / LOCK)
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise UsageError(f"--output {output}: another process is writing it. Choose another name.") from error
    except OSError as error:
        raise UsageError(f"--output {output} can't be written: {error.strerror or error}. Choose another.") from error
    stack.callback(lock.release)
    stack.callback(_remove_if_empty, partial)


def _is_empty(folder: Path) -> bool:
    return [path.name for path in folder.iterdir()] == [LOCK]


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it is there no more when all went well
        if _is_empty(folder):
            (folder / LOCK).unlink()
            folder.rmdir()


def _remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed in the middle of `atomic` have left."""
    for path in folder.rglob(".*"):
        if path.is_file() and path.name != LOCK:
            path.unlink()


def clear(folder: Path, keep: Iterable[str] = ()) -> None:
    """Remove everything from a folder being made except the names to keep."""
    for entry in folder.iterdir():
        if entry.name in (LOCK, *keep):
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
