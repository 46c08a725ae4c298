"""Show the progress of long work and the time left: one refreshed line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time

from tqdm import tqdm

PLAIN = "{desc}: {n_fmt}/{total_fmt} {unit}, {elapsed} elapsed, {remaining} left{postfix}"


class Line:
    """The progress of a piece of work, on standard error.

    Example:
        >>> with Line(total=20, description="features", unit="image") as line:
        ...     for _ in range(20):
        ...         line.advance()
    """

    def __init__(self, total: int, description: str, unit: str, done: int = 0, plain_seconds: float = 10.0):
        """Begin to show progress.

        Args:
            total: Units of work in all.
            description: What the work is.
            unit: What is counted, such as "image".
            done: Units that were done before this process began.
            plain_seconds: The least time between two plain lines.
        """
        self._total, self._description, self._unit, self._initial = total, description, unit, done
        self._done, self._plain_seconds = done, plain_seconds
        self._began = self._printed = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            width = shutil.get_terminal_size().columns  # of an unknown width tqdm would draw nothing
            self._bar = tqdm(total=total, initial=done, desc=description, unit=unit, ncols=width)

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count units that are done; `note` stands at the end of the line."""
        self._done += count
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
            return
        now = time.monotonic()
        if now - self._printed >= self._plain_seconds or self._done >= self._total:
            self._printed = now
            print(self._plain(now - self._began, note), file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Change the end of a terminal's line."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def _plain(self, elapsed: float, note: str) -> str:
        return tqdm.format_meter(
            self._done,
            self._total,
            elapsed,
            prefix=self._description,
            unit=self._unit,
            postfix=note,
            bar_format=PLAIN,
            initial=self._initial,
        )
