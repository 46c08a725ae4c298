"""An exported model cut in two at its resized image, so that images of different sizes go through it in one batch.

Both halves are made of the model's own nodes: what comes out at the end is what the whole model gives.
"""

from __future__ import annotations

import hashlib

import onnx
import onnxruntime
from apache_beam.io.filesystems import FileSystems
from apache_beam.ml.inference.onnx_inference import OnnxModelHandlerNumpy

from export.runtime.model_file import ModelError, open_session

IMAGE, RESIZED, PROBABILITIES = "image", "resized", "probabilities"
SIDES = ["batch", "side", "side", 3]


class Handler(OnnxModelHandlerNumpy):
    """Beam's ONNX handler for the half behind the resize: float32 [side, side, 3] -> probabilities float32 [2]."""

    def __init__(self, path: str, sha256: str, threads: int, batch_size: int):
        """path: of the whole model, which each worker opens; sha256: what it must find there."""
        super().__init__(path, min_batch_size=batch_size, max_batch_size=batch_size)
        self._sha256, self._threads = sha256, threads

    def load_model(self) -> onnxruntime.InferenceSession:
        """Load the half; raises ModelError when a worker finds another model than was asked for."""
        data = read(self._model_uri)
        if hashlib.sha256(data).hexdigest() != self._sha256:
            raise ModelError(f"{self._model_uri} is another model on this worker than where the work was started.")
        return open_session(half(data, RESIZED, PROBABILITIES), self._threads)


def read(path: str) -> bytes:
    """The bytes of a file on any file system that Beam knows; raises ModelError."""
    try:
        with FileSystems.open(path, compression_type="uncompressed") as file:
            return file.read()
    except Exception as error:  # each of Beam's file systems raises kinds of its own
        raise ModelError(f"{path} can't be opened: {getattr(error, 'strerror', None) or error}") from error


def half(data: bytes, first: str, last: str) -> bytes:
    """The part of a serialized model between two of its tensors; raises ModelError when one of them is not there."""
    whole = onnx.load_model_from_string(data)
    if not any(RESIZED in node.output for node in whole.graph.node):
        raise ModelError(f"expected a model of `python -m export`, with an inner tensor '{RESIZED}'. Export it again.")
    whole.graph.value_info.append(onnx.helper.make_tensor_value_info(RESIZED, onnx.TensorProto.FLOAT, SIDES))
    return onnx.utils.Extractor(whole).extract_model([first], [last]).SerializeToString()
