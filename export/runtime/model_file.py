"""An exported .onnx file, read with suspicion: whole, undamaged, and holding all of its weights itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from covid_tfds.common.errors import UsageError

CHECKSUMS = "SHA256SUMS"

# Field numbers of onnx.proto: the way from a model to its tensors.
GRAPH, FUNCTIONS = 7, 25
PARTS = {
    "model": {GRAPH: "graph", FUNCTIONS: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class ModelError(UsageError):
    """A file that is no model of `python -m export`: one line that says what was expected and what came."""


def read(path: str | Path) -> bytes:
    """The bytes of a model file.

    Raises ModelError when it can't be read, is damaged (its hash is not that of the SHA256SUMS beside it), is no ONNX
    model, or keeps weights in other files: those could be any files of this machine.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} can't be opened: {error.strerror or error}") from error
    expected = _listed(path)
    if expected is not None and hashlib.sha256(data).hexdigest() != expected:
        raise ModelError(f"{path} is damaged: it is not the file that {CHECKSUMS} lists. Export it again.")
    try:
        external = has_external_data(memoryview(data))
    except (IndexError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged or no ONNX model: {error}") from error
    if external:
        raise ModelError(f"{path} keeps weights in other files, which is refused: export it again, into one file.")
    return data


def has_external_data(model: memoryview) -> bool:
    """Whether any tensor of a serialized ModelProto names a file that holds its values.

    Raises ValueError or IndexError for bytes that are no protocol buffer.
    """
    found = {number for number, _ in _fields(model)}
    if GRAPH not in found:
        raise ValueError("it holds no graph")
    return _external(model, "model")


def _external(message: memoryview, kind: str) -> bool:
    for number, value in _fields(message):
        if kind == "tensor":
            if number == EXTERNAL_DATA or (number == DATA_LOCATION and value == 1):
                return True
        elif (part := PARTS[kind].get(number)) and isinstance(value, memoryview) and _external(value, part):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(number, value) of each field of a serialized protocol buffer; weights are passed over, not copied."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = _varint(message, at)
        elif wire in (FIXED64, FIXED32):
            value = 0
            at += 8 if wire == FIXED64 else 4
        elif wire == BYTES:
            size, at = _varint(message, at)
            value = message[at : at + size]
            at += size
        else:
            raise ValueError(f"byte {at} starts no field")
        if at > len(message):
            raise ValueError("it ends in the middle of a field")
        yield number, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    result = shift = 0
    while shift < 70:
        byte = message[at]
        at += 1
        result |= (byte & 127) << shift
        if byte < 128:
            return result, at
        shift += 7
    raise ValueError(f"byte {at} starts no number")


def _listed(path: Path) -> str | None:
    """The hash that a SHA256SUMS in the same folder has for this file."""
    try:
        lines = (path.parent / CHECKSUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in lines:
        digest, _, name = line.partition("  ")
        if name == path.name:
            return digest
    return None
