"""Keep TensorFlow's start-up messages off the terminal: C++ prints them before any Python setting can stop it."""

import contextlib
import gc
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from covid_tfds.common import cli

STDERR = 2  # where native code writes, whatever sys.stderr is: a notebook replaces that one


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Discard what native code writes to standard error while the block imports TensorFlow, and find its devices.

    Exceptions come out of the block as usual, signals after it. A block that does not import TensorFlow does not need
    it either.
    """
    with cli.held(), _discarding(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")  # of tqdm in a notebook without ipywidgets
        yield


@contextlib.contextmanager
def _discarding() -> Iterator[None]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for messages after start-up
    if sys.stderr is None:  # it was closed: what is opened next may have its number
        yield
        return
    kept = os.dup(STDERR)
    sys.stderr.flush()
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), STDERR)
    first, collecting = "tensorflow" not in sys.modules, gc.isenabled()
    if first:
        # The imports make a million objects that live as long as the process: collecting garbage among them, again and
        # again, takes a quarter of the time.
        gc.disable()
    try:
        yield
        if "tensorflow" in sys.modules:
            sys.modules["tensorflow"].config.list_physical_devices()
            sys.modules["tensorflow"].get_logger().setLevel("WARNING")  # as outside a notebook, where it is INFO
            if first:
                gc.freeze()
    finally:
        if collecting:
            gc.enable()
        sys.stderr.flush()
        os.dup2(kept, STDERR)
        os.close(kept)
