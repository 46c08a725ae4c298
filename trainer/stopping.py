"""SIGTERM ends a command as Ctrl-C does: through the code that keeps what is done and says how to go on.

Commands that run Beam end at once: what they have done is on disk, and Beam's own way out can take for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


def on_sigterm() -> None:
    """From now on SIGTERM raises Terminated in the main thread. For a command's own process, not for a library."""

    def terminate(*_: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)


def exit_code(stop: KeyboardInterrupt) -> int:
    """As shells have it: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


def end_at_once(told: str) -> None:
    """From now on SIGINT and SIGTERM print `told` and end this process with 130 or 143, and its workers before it."""
    import psutil

    def end(number: int, _: object) -> None:
        # Workers that lose their runner would fill the terminal with tracebacks.
        for worker in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
        print(f"\n{told}", file=sys.stderr, flush=True)
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
