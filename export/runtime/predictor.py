"""Predictions from an exported model, with ONNX Runtime, NumPy and Pillow (and pydicom): never TensorFlow.

    predictor = Predictor("export/model.onnx")
    prediction = predictor.predict_file("film.png")
    print(prediction.p_covid, prediction.decision)

For education and research only: never for diagnosis, triage or any decision about a patient.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from covid_tfds.imaging.limits import ImageError
from covid_tfds.imaging.reader import Picture, read_image
from export.runtime import model_file
from export.runtime.model_file import ModelError
from export.runtime.plausibility import warnings_about

__all__ = ["ImageError", "ModelError", "Prediction", "Predictor"]
OUTPUTS = ["probabilities", "heatmap"]
NEEDED = ("labels", "positive_class", "threshold", "heatmap_region", "intended_use")


@dataclass(frozen=True)
class Prediction:
    """What the model says of one image.

    p_covid: in [0, 1]. decision: one of the labels, covid when p_covid >= the model's threshold. heatmap: float32
    [h, w] >= 0, in units of the covid logit; its cells divide the whole image evenly. warnings: reasons not to believe
    the number.
    """

    p_covid: float
    decision: str
    heatmap: np.ndarray
    warnings: list[str]


class Predictor:
    """An exported model, float or int8, loaded and ready."""

    def __init__(self, path: str | Path):
        """Load a model file; raises ModelError when it is damaged or not made by `python -m export`."""
        self.path = Path(path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        data = model_file.read(self.path)
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises many kinds of its own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            runtime = f"ONNX Runtime {onnxruntime.__version__}"
            raise ModelError(f"{self.path} can't be loaded by {runtime}: {reason}") from error
        self._check()

    @functools.cached_property
    def metadata(self) -> dict:
        """What the model file says of itself: labels, threshold, run, dataset, versions and more."""
        stored = self._session.get_modelmeta().custom_metadata_map
        try:
            return {key: json.loads(value) for key, value in stored.items()}
        except ValueError as error:
            raise ModelError(f"{self.path}: expected metadata in JSON, got {error}.") from error

    @property
    def labels(self) -> list[str]:
        """The class names, in the order of the probabilities."""
        return self.metadata["labels"]

    @property
    def positive_class(self) -> str:
        """The class that p_covid is the probability of."""
        return self.metadata["positive_class"]

    @property
    def threshold(self) -> float:
        """The smallest p_covid that is decided as covid."""
        return float(self.metadata["threshold"])

    @property
    def intended_use(self) -> str:
        """What the model may and may not be used for."""
        return self.metadata["intended_use"]

    def predict(self, image: np.ndarray) -> Prediction:
        """Predict one image of any size, uint8 [height, width, 3], RGB, 0 black to 255 white."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
            raise ValueError(f"expected uint8 [height, width, 3], got {image.dtype} {list(image.shape)}")
        probabilities, heatmap = self._session.run(OUTPUTS, {"image": image[None]})
        p_covid = float(probabilities[0, self.labels.index(self.positive_class)])
        return Prediction(p_covid, self.decide(p_covid), heatmap[0], warnings_about(image))

    def decide(self, p_covid: float) -> str:
        """The label for a probability, at the model's threshold."""
        other = next(label for label in self.labels if label != self.positive_class)
        return self.positive_class if p_covid >= self.threshold else other

    def predict_picture(self, picture: Picture) -> Prediction:
        """Predict what `reading.read_image` read; its notes become warnings."""
        prediction = self.predict(picture.pixels)
        return dataclasses.replace(prediction, warnings=[*picture.notes, *prediction.warnings])

    def predict_file(self, path: str | Path) -> Prediction:
        """Predict an image file (JPEG, PNG, WebP, BMP, DICOM); raises ImageError when it can't be read."""
        return self.predict_picture(read_image(path))

    def _check(self) -> None:
        expected = f"expected a model of `python -m export`, got {self.path}"
        inputs = {value.name: value.type for value in self._session.get_inputs()}
        outputs = {value.name for value in self._session.get_outputs()}
        if inputs != {"image": "tensor(uint8)"} or not set(OUTPUTS) <= outputs:
            raise ModelError(f"{expected} with inputs {inputs} and outputs {sorted(outputs)}.")
        missing = [key for key in NEEDED if key not in self.metadata]
        if missing:
            raise ModelError(f"{expected} without {', '.join(missing)} in its metadata.")
        if self.positive_class not in self.labels or len(self.labels) != 2:
            raise ModelError(f"{expected} with labels {self.labels} and positive class {self.positive_class!r}.")
