"""Run a command: argv -> options -> one call -> exit code. Errors, Ctrl-C, SIGTERM and SIGHUP end it in one line.

def main(argv: list[str] | None = None) -> int:
    return run_command(argv, parser().parse_args, _audit, stopped=lambda options: "Stopped: nothing is written.")
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn, TypeVar

from covid_tfds.common.errors import UsageError
from covid_tfds.common.names import printable

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, the end of a batch job, a closed terminal
OWN_PACKAGES = ("covid_tfds", "trainer", "export")
BROKEN_PIPE = 128 + signal.SIGPIPE
Options = TypeVar("Options")


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM and SIGHUP, and handled like Ctrl-C: finished work is kept.

    Attributes:
        number: The signal.
    """

    def __init__(self, *message: str, number: int = signal.SIGTERM):
        super().__init__(*message)
        self.number = number


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and whose flags have no abbreviations."""

    def __init__(self, **options: Any):
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Print the error in one line and exit with code 2."""
        self.exit(2, f"error: {printable(message)} (see {self.prog} --help)\n")


def count(text: str) -> int:
    """Returns a flag's value, for `add_argument(type=...)`: a whole number from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {value}")
    return value


def run_command(
    argv: list[str] | None,
    parse: Callable[[list[str] | None], Options],
    run: Callable[[Options], int | None],
    stopped: Callable[[Options], str],
) -> int:
    """Run a command and return its exit code.

    Args:
        argv: Arguments without the program's name; None for those of this process.
        parse: Turns argv into options, such as `ArgumentParser.parse_args` (which exits with code 2 itself).
        run: Does the work and returns the exit code, None for 0.
        stopped: Returns the line printed after a signal: what is kept, and how to continue. An interrupt that was
            raised with a message prints that message instead.

    Returns:
        What `run` returns; 2 after a UsageError or OSError, or where a package is missing, printed as `error: ...` on
        standard error; 130 after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP; 141, without a message, when the
        reader of standard output has ended, as in `... | head`.

    Example:
        >>> from argparse import ArgumentParser
        >>> run_command([], ArgumentParser().parse_args, lambda options: print("done"), lambda options: "Stopped.")
        done
        0
    """
    options = None
    _open_standard_streams()
    try:
        with _signals_as_interrupts():
            try:
                options = parse(argv)
                return run(options) or 0
            finally:
                sys.stdout.flush()  # at its end Python would print a traceback for a closed pipe
    except KeyboardInterrupt as stop:
        message = str(stop) or (stopped(options) if options is not None else "Stopped.")
        with contextlib.suppress(OSError):  # of a terminal that was closed
            print(f"\n{message}", file=sys.stderr, flush=True)
        return 128 + (stop.number if isinstance(stop, Terminated) else signal.SIGINT)
    except BrokenPipeError:
        # What is left is written into nothing when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in OWN_PACKAGES:
            raise
        print(f"error: the package {error.name} is not installed. Install it with pip.", file=sys.stderr)
        return 2
    except (UsageError, OSError) as error:
        reason = str(error)
        if isinstance(error, OSError) and error.filename is not None and error.strerror:
            reason = f"{error.filename}: {error.strerror}"
        print(f"error: {printable(reason)}", file=sys.stderr)
        return 2


def _open_standard_streams() -> None:
    """Open what the caller has closed, and write what a stream's encoding lacks as an escape.

    A closed one would be None in Python; its number, the next file that is opened, would get native code's messages.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))
        with contextlib.suppress(AttributeError):  # a notebook's own streams take every text
            getattr(sys, name).reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Raise Terminated in the main thread on SIGTERM and SIGHUP, where the process has no handler of its own.

    `nohup` is such a handler: it ignores SIGHUP.
    """
    numbers = [one for one in SIGNALS[1:] if _in_main_thread() and signal.getsignal(one) == signal.SIG_DFL]

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated(number=number)

    for number in numbers:
        signal.signal(number, terminate)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _in_main_thread() -> bool:
    """Returns whether this is the main thread: only there does Python deliver signals and allow to set handlers."""
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Hold signals back until the block has ended.

    For imports of C extensions and readers of model files: interrupted, they report that they or the file are broken.
    """
    if not _in_main_thread():
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


def exit_on_signals(message: str) -> None:
    """From now on each of SIGNALS prints `message` and raises SystemExit with 128 and its number.

    For programs whose main function is not ours, such as `tfds`.
    """

    def end(number: int, frame: FrameType | None) -> None:
        print(f"\n{message}", file=sys.stderr)
        sys.exit(128 + number)

    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as `nohup` has it
            signal.signal(number, end)
