"""SIGTERM ends a command as Ctrl-C does: through the code that keeps what is done and says how to go on.

Commands that run Beam end at once: what they have done is on disk, and Beam's own way out can take for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back until the block has ended: a C extension stopped in its import says it is broken."""
    if threading.current_thread() is not threading.main_thread():  # signals come to the main thread alone
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda it, _: came.append(it)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def end_at_once(told: str) -> None:
    """From now on SIGINT and SIGTERM print `told` and end this process with 130 or 143, and its workers before it."""
    import psutil

    def end(number: int, _: object) -> None:
        # Not print: the signal may have come in the middle of another.
        os.write(sys.stderr.fileno(), f"\n{told}\n".encode())
        # The runner's threads and the workers would print tracebacks as soon as they lose one another.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        workers = psutil.Process().children(recursive=True)
        for act in (psutil.Process.suspend, psutil.Process.kill):
            for worker in workers:
                with contextlib.suppress(psutil.NoSuchProcess):
                    act(worker)
        os._exit(128 + number)

    for number in SIGNALS:
        signal.signal(number, end)
