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
from export.graph.halves import IMAGE, PROBABILITIES, RESIZED, take_part
from export.runtime.model_file import ModelError, check_answer, check_typicality, open_session, run_session
from export.runtime.model_info import ModelInfo
from export.runtime.predictor import TYPICALITY, Predictor


@dataclass(frozen=True)
class Answer:
    """The model's answer for one image.

    Attributes:
        probabilities: In the order of the labels, in [0, 1].
        typicality: In (0, 1]; None for a model without it.
        distance: In [0, 1]; None for a model without it.
    """

    probabilities: list[float]
    typicality: float | None = None
    distance: float | None = None


@dataclass(frozen=True)
class BulkModel:
    """A model ready to predict in batches.

    Attributes:
        info: The model's metadata.
        sha256: Of the model file.
        provider: Execution provider of the forward passes.
        notices: Lines for the user: which other provider than the CPU's is used, or why it is not.
    """

    info: ModelInfo
    sha256: str
    provider: str
    notices: tuple[str, ...]
    _resize: onnxruntime.InferenceSession
    _classify: onnxruntime.InferenceSession
    _outputs: list[str]

    def resize(self, image: np.ndarray) -> np.ndarray:
        """Returns float32 [side, side, 3] of an image, uint8 [height, width, 3]."""
        return self._resize.run([RESIZED], {IMAGE: image[None]})[0][0]  # in a thread, where no signal comes

    def predict(self, resized: np.ndarray) -> list[Answer]:
        """Returns the answers to resized images, float32 [batch, side, side, 3].

        Raises:
            ModelError: If the model gives no answer.
        """
        probabilities, *typical = run_session(self._classify, self._outputs, {RESIZED: resized})
        check_answer(probabilities, None, (len(resized), len(self.info.labels)))
        if typical:
            check_typicality(len(resized), *typical)
        columns = (probabilities.tolist(), *(values.tolist() for values in typical))
        return [Answer(*values) for values in zip(*columns, strict=True)]


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
    outputs = [PROBABILITIES, *([] if whole.info.declined_at is None else TYPICALITY)]
    return BulkModel(
        whole.info,
        hashlib.sha256(data).hexdigest(),
        whole.provider,
        whole.notices,
        open_session(take_part(data, IMAGE, [RESIZED]), threads=1),
        open_session(take_part(data, RESIZED, outputs), threads, whole.provider),
        outputs,
    )


def _download(path: str) -> bytes:
    file_system, name = open_file_system(path)
    try:
        return file_system.cat_file(name)
    except Exception as error:  # each file system raises kinds of its own
        raise ModelError(f"{path} can't be opened: {getattr(error, 'strerror', None) or error}") from error
