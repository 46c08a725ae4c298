"""Ctrl-C and SIGTERM end bulk prediction at once: what is done is on disk, and Beam's own way out can take for ever."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path


def end_at_once(told: str) -> None:
    """From now on SIGINT and SIGTERM print `told` and end this process with 130 or 143, and its workers before it."""

    def end(number: int, _: object) -> None:
        # Workers that lose their runner would fill the terminal with tracebacks.
        for pid in _descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        print(f"\n{told}", file=sys.stderr, flush=True)
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def _descendants(pid: int) -> list[int]:
    """The processes that a process has started, and theirs; none where the system has no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            # The second field is the program's name in brackets, which may hold anything.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = list(children.get(pid, []))
    for child in found:
        found += children.get(child, [])
    return found
