"""Read an exported .onnx file safely: whole, undamaged, holding all of its weights; and open it in ONNX Runtime."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnxruntime

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import CHECKSUMS, read_checksums


class ModelError(UsageError):
    """A file that is no model of `python -m export`; the message says in one line what was expected and what came."""


def read_model(path: str | Path) -> bytes:
    """Read a model file.

    Raises:
        ModelError: If it can't be read, is damaged (its hash is not that of the SHA256SUMS beside it), or keeps weights
            in other files: those could be any files of this machine.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} can't be opened: {error.strerror or error}") from error
    expected = read_checksums(path.parent).get(path.name)
    if expected is not None and hashlib.sha256(data).hexdigest() != expected:
        raise ModelError(f"{path} is damaged: it is not the file that {CHECKSUMS} lists. Export it again.")
    if names_other_files(data):
        raise ModelError(f"{path} keeps weights in other files, which is refused: export it again, into one file.")
    return data


def names_other_files(model: bytes) -> bool:
    """Returns whether a serialized ONNX model may keep weights in other files.

    A tensor whose values are in a file names it in an entry with the key "location". In protocol buffers a text follows
    its length, here 8, whose last byte is 8, or 0 where it is encoded in more bytes than it needs.
    """
    return b"\x08location" in model or b"\x00location" in model


def open_session(model: bytes, threads: int = 0) -> onnxruntime.InferenceSession:
    """Open a serialized model in ONNX Runtime on the CPU; errors are raised, not printed, too.

    Args:
        model: The bytes of a model.
        threads: Number of threads, 0 for one a core.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal errors only
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
