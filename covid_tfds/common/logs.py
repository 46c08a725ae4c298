"""Keep TensorFlow's start-up messages off the terminal: C++ prints them before any Python setting can stop it."""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from covid_tfds.common import cli


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Discard what native code writes to standard error while the block imports TensorFlow, and find its devices.

    Exceptions come out of the block as usual, signals after it. A block that does not import TensorFlow does not need
    it either.
    """
    with cli.held(), _discarding():
        yield


@contextlib.contextmanager
def _discarding() -> Iterator[None]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for messages after start-up
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError):  # a test or a notebook replaced sys.stderr: nothing to silence
        yield
        return
    sys.stderr.flush()
    kept = os.dup(descriptor)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), descriptor)
    first, collecting = "tensorflow" not in sys.modules, gc.isenabled()
    if first:
        # The imports make a million objects that live as long as the process: collecting garbage among them, again and
        # again, takes a quarter of the time.
        gc.disable()
    try:
        yield
        if "tensorflow" in sys.modules:
            sys.modules["tensorflow"].config.list_physical_devices()
            if first:
                gc.freeze()
    finally:
        if collecting:
            gc.enable()
        sys.stderr.flush()
        os.dup2(kept, descriptor)
        os.close(kept)
