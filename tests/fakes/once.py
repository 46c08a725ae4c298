"""Have one of several test processes make what all of them share."""

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


def make_once(shared: Path, name: str, make: Callable[[], object]) -> None:
    """Have the first process that comes here make something; the others wait for it and take it as it is."""
    done = shared / f"{name}.done"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            make()
            done.touch()
