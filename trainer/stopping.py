"""SIGTERM ends a command as Ctrl-C does: through the code that keeps what is done and says how to go on."""

from __future__ import annotations

import signal


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
