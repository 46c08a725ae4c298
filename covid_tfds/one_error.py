"""Under `tfds build`, a `SourceError` or a signal ends the program with one message.

TFDS's command would print some thirty lines of traceback before it, none of which helps with a missing network.
"""

import signal
import sys
from pathlib import Path

from absl import app

from covid_tfds.common.errors import SourceError


class _WithoutTraceback(app.ExceptionHandler):
    def wants(self, exc: BaseException) -> bool:
        return isinstance(exc, SourceError)

    def handle(self, exc: BaseException) -> None:
        # Called when nothing is left to run but Python's own report of the error; a notebook never gets here.
        sys.tracebacklimit = 0
        exc.__cause__, exc.__suppress_context__ = None, True


def install() -> None:
    """Have programs that run under `absl.app`, such as the `tfds` command, report a `SourceError` by its message.

    The `tfds` command alone also ends in one line on Ctrl-C and SIGTERM, with exit code 130 or 143.
    """
    app.install_exception_handler(_WithoutTraceback())
    if Path(sys.argv[0]).stem == "tfds":
        end_on_signals("Stopped: no dataset is half prepared, and images that came are kept. The same command goes on.")


def end_on_signals(told: str) -> None:
    """From now on SIGINT and SIGTERM print `told` and raise SystemExit with 130 or 143."""

    def end(number: int, _: object) -> None:
        print(f"\n{told}", file=sys.stderr)
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
