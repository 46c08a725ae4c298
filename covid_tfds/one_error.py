"""Under `tfds build`, a `SourceError` ends the program with its message alone.

TFDS's command would print some thirty lines of traceback before it, none of which helps with a missing network.
"""

import sys

from absl import app

from covid_tfds.integrity import SourceError


class _WithoutTraceback(app.ExceptionHandler):
    def wants(self, exc: BaseException) -> bool:
        return isinstance(exc, SourceError)

    def handle(self, exc: BaseException) -> None:
        # Called when nothing is left to run but Python's own report of the error; a notebook never gets here.
        sys.tracebacklimit = 0


def install() -> None:
    """Have programs that run under `absl.app`, such as the `tfds` command, report a `SourceError` by its message."""
    app.install_exception_handler(_WithoutTraceback())
