"""Keeps TensorFlow's start-up chatter off the terminal: it is printed by C++ before any Python setting can stop it."""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from covid_tfds.common import cli


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """While the block imports TensorFlow and finds its devices, discard what native code writes to standard error.

    Exceptions still come out of the block as usual, signals after it. Needs nothing of TensorFlow itself.
    """
    with cli.held(), _discarding():
        yield


@contextlib.contextmanager
def _discarding() -> Iterator[None]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what comes after start-up heeds it
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
        # The imports make a million objects that live as long as the process: to look for garbage among them, again and
        # again, takes a quarter of their time.
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
