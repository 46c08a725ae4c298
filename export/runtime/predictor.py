"""Predict images with an exported model: ONNX Runtime, NumPy, Pillow and pydicom, without TensorFlow."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from covid_tfds.imaging.limits import ImageError
from covid_tfds.imaging.reader import DecodedImage, read_image
from export.runtime.model_file import ModelError, open_session, read_model
from export.runtime.model_info import ModelInfo
from export.runtime.plausibility import find_warnings

__all__ = ["ImageError", "ModelError", "Prediction", "Predictor"]
OUTPUTS = ["probabilities", "heatmap"]


@dataclass(frozen=True)
class Prediction:
    """The model's answer for one image.

    Attributes:
        p_covid: Probability of covid, in [0, 1].
        decision: One of the labels: covid when p_covid is at least the model's threshold.
        heatmap: float32 [h, w] >= 0, in units of the covid logit; its cells divide the whole image evenly.
        warnings: Reasons to doubt the probability.
    """

    p_covid: float
    decision: str
    heatmap: np.ndarray
    warnings: list[str]


class Predictor:
    """An exported model, float or int8, ready to predict.

    For education and research only: never for diagnosis, triage or any decision about a patient.

    Args:
        path: A model.onnx or model.int8.onnx of `python -m export`.

    Attributes:
        info: The model's metadata, see `ModelInfo`.

    Raises:
        ModelError: If the file is damaged or not made by `python -m export`.

    Example:
        >>> predictor = Predictor("model.onnx")  # doctest: +SKIP
        >>> predictor.info.labels  # doctest: +SKIP
        ['covid', 'normal']
        >>> prediction = predictor.predict_file("golden/grey-wide.png")  # doctest: +SKIP
        >>> prediction.decision == predictor.info.decide(prediction.p_covid)  # doctest: +SKIP
        True
        >>> prediction.heatmap.shape, prediction.warnings  # doctest: +SKIP
        ((7, 7), [])
    """

    def __init__(self, path: str | Path):
        data = read_model(path)
        try:
            self._session = open_session(data)
        except Exception as error:  # ONNX Runtime raises many kinds of its own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            runtime = f"ONNX Runtime {onnxruntime.__version__}"
            raise ModelError(f"{path} can't be loaded by {runtime}: {reason}") from error
        expected = f"expected a model of `python -m export`, got {path}"
        inputs = {value.name: value.type for value in self._session.get_inputs()}
        outputs = {value.name for value in self._session.get_outputs()}
        if inputs != {"image": "tensor(uint8)"} or not set(OUTPUTS) <= outputs:
            raise ModelError(f"{expected} with inputs {inputs} and outputs {sorted(outputs)}.")
        try:
            self.info = ModelInfo.from_metadata(self._session.get_modelmeta().custom_metadata_map)
        except ValueError as error:
            raise ModelError(f"{expected} {error}.") from error

    def predict(self, image: np.ndarray) -> Prediction:
        """Predict one image.

        Args:
            image: uint8 [height, width, 3], any size, RGB, 0 black to 255 white.

        Raises:
            ValueError: For an array of another data type or shape.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
            raise ValueError(f"expected uint8 [height, width, 3], got {image.dtype} {list(image.shape)}")
        probabilities, heatmap = self._session.run(OUTPUTS, {"image": image[None]})
        p_covid = float(probabilities[0, 0])
        return Prediction(p_covid, self.info.decide(p_covid), heatmap[0], find_warnings(image))

    def predict_decoded(self, image: DecodedImage) -> Prediction:
        """Predict what `read_image` read; its notes become warnings."""
        prediction = self.predict(image.pixels)
        return dataclasses.replace(prediction, warnings=[*image.notes, *prediction.warnings])

    def predict_file(self, path: str | Path) -> Prediction:
        """Predict an image file: JPEG, PNG, WebP, BMP or DICOM.

        Raises:
            ImageError: If it can't be read.
        """
        return self.predict_decoded(read_image(path))
