"""An exported model cut in two at its resized image, so that images of different sizes go through it in one batch."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from export.bulk.inputs import open_file_system
from export.graph.halves import IMAGE, RESIZED, take_part
from export.runtime.model_file import ModelError, open_session, run_session
from export.runtime.model_info import ModelInfo
from export.runtime.predictor import Prediction, Predictor, list_outputs, make_predictions


@dataclass(frozen=True)
class BulkModel:
    """A model ready to predict in batches.

    Attributes:
        info: The model's metadata.
        sha256: Of the model file.
        provider: Execution provider of the forward passes.
        notices: Lines for the user, as a `Predictor` has them.
    """

    info: ModelInfo
    sha256: str
    provider: str
    notices: tuple[str, ...]
    _resize: onnxruntime.InferenceSession
    _classify: onnxruntime.InferenceSession

    def resize(self, image: np.ndarray) -> np.ndarray:
        """Returns float32 [side, side, 3] of an image, uint8 [height, width, 3]."""
        return self._resize.run([RESIZED], {IMAGE: image[None]})[0][0]  # in a thread, where no signal comes

    def predict(self, resized: np.ndarray, answer_anyway: bool) -> list[Prediction]:
        """Returns the predictions, without warnings, of resized images, float32 [batch, side, side, 3].

        Raises:
            ModelError: If the model gives no answer.
        """
        answers = run_session(self._classify, list_outputs(self.info), {RESIZED: resized})
        return make_predictions(self.info, answers, len(resized), answer_anyway)


@functools.lru_cache(maxsize=1)  # a worker keeps it from part to part
def load_model(path: str, threads: int, provider: str) -> BulkModel:
    """Load a model file of `python -m export`, by any name that fsspec can open.

    Args:
        path: The file.
        threads: Of ONNX Runtime in the forward pass.
        provider: Execution provider of the forward pass, as `Predictor` takes it.

    Raises:
        ModelError: If it can't be opened or is not a model of `python -m export`, or the provider can't be used.
    """
    with tempfile.TemporaryDirectory() as folder:
        local = Path(path)
        if "://" in path:
            local = Path(folder, local.name)
            local.write_bytes(_download(path))
        whole = Predictor(local, provider=provider, threads=threads)
        data = local.read_bytes()
    return BulkModel(
        whole.info,
        hashlib.sha256(data).hexdigest(),
        whole.provider,
        whole.notices,
        open_session(take_part(data, IMAGE, (RESIZED,)), threads=1),
        open_session(take_part(data, RESIZED, list_outputs(whole.info)), threads, whole.provider),
    )


def _download(path: str) -> bytes:
    file_system, name = open_file_system(path)
    try:
        return file_system.cat_file(name)
    except Exception as error:  # each file system raises kinds of its own
        raise ModelError(f"{path} can't be opened: {getattr(error, 'strerror', None) or error}") from error
