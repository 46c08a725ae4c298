"""Predict images with an exported model: ONNX Runtime, NumPy, Pillow and pydicom, without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from covid_tfds.imaging.limits import ImageError
from covid_tfds.imaging.reader import DecodedImage, read_image
from export.runtime.model_file import ModelError, check_answers, read_model, run_session
from export.runtime.model_info import DECLINED, DECLINES_NOTHING, ModelInfo
from export.runtime.plausibility import find_warnings
from export.runtime.providers import BEST, open_model

__all__ = ["ImageError", "ModelError", "Prediction", "Predictor"]
OUTPUTS, TYPICALITY = ("probabilities", "heatmap"), ("typicality", "distance")


@dataclass(frozen=True)
class Prediction:
    """The model's answer for one image.

    Attributes:
        probabilities: Probability of each label, in [0, 1], in the order of the labels.
        decision: The label at the operating point: class 0 when its probability is at least the model's threshold, else
            the most probable of the others; "declined" for an image that is declined, unless `answer_anyway`.
        decision_argmax: The most probable label.
        heatmap: float32 [h, w] >= 0, in units of the logit of class 0; its cells divide the whole image evenly.
        warnings: Reasons to doubt the probabilities.
        typicality: How typical the image is of the training images, in (0, 1]; None for a model without that output.
        distance: Its distance to the nearest training images; None for a model without that output.
        declined_because: Why the image is too unlike the training images to decide on, in words with both numbers; None
            for an image that is not declined.
    """

    probabilities: dict[str, float]
    decision: str
    decision_argmax: str
    heatmap: np.ndarray
    warnings: list[str]
    typicality: float | None = None
    distance: float | None = None
    declined_because: str | None = None

    @property
    def declined(self) -> bool:
        """Whether the image is too unlike the training images to decide on."""
        return self.declined_because is not None


class Predictor:
    """An exported model, float or int8, ready to predict.

    For education and research only: never for diagnosis, triage or any decision about a patient.

    Args:
        path: A model.onnx or model.int8.onnx of `python -m export`.
        answer_anyway: Decide on images that are declined, too.
        provider: Execution provider of ONNX Runtime, such as "cpu" or "openvino"; "best" takes the best one that is
            installed and proves itself, see `providers`.
        threads: Number of threads, 0 for `count_threads`.

    Attributes:
        info: The model's metadata, see `ModelInfo`.
        session: The model in ONNX Runtime.
        provider: Short name of the execution provider that runs it.
        notices: Lines for the user: which other provider than the CPU's is used, or why it is not, and that it declines
            no image.

    Raises:
        ModelError: If the file is damaged or not made by `python -m export`, or the provider can't be used.

    Example:
        >>> predictor = Predictor("model.onnx")  # doctest: +SKIP
        >>> predictor.info.labels  # doctest: +SKIP
        ['covid', 'normal']
        >>> prediction = predictor.predict_file("golden/grey-wide.png")  # doctest: +SKIP
        >>> list(prediction.probabilities), prediction.decision in predictor.info.labels  # doctest: +SKIP
        (['covid', 'normal'], True)
        >>> prediction.heatmap.shape, prediction.warnings  # doctest: +SKIP
        ((7, 7), [])
    """

    def __init__(self, path: str | Path, answer_anyway: bool = False, provider: str = BEST, threads: int = 0):
        data = read_model(path)
        self._answer_anyway = answer_anyway
        try:
            opened = open_model(Path(path), data, provider, threads)
        except ModelError:
            raise
        except Exception as error:  # ONNX Runtime raises many kinds of its own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            runtime = f"ONNX Runtime {onnxruntime.__version__}"
            raise ModelError(f"{path} can't be loaded by {runtime}: {reason}") from error
        self.session, self.provider = opened.session, opened.provider
        expected = f"expected a model of `python -m export`, got {path}"
        inputs = {value.name: value.type for value in self.session.get_inputs()}
        outputs = {value.name: value.type for value in self.session.get_outputs()}
        if inputs != {"image": "tensor(uint8)"} or {outputs.get(name) for name in OUTPUTS} != {"tensor(float)"}:
            raise ModelError(f"{expected} with inputs {inputs} and outputs {outputs}.")
        try:
            self.info = ModelInfo.from_metadata(self.session.get_modelmeta().custom_metadata_map)
        except ValueError as error:
            raise ModelError(f"{expected} {error}.") from error
        self.notices = opened.notices if self.info.declined_at is not None else (*opened.notices, DECLINES_NOTHING)
        if any(outputs.get(name) != "tensor(float)" for name in list_outputs(self.info)):
            raise ModelError(f"{expected} that declines images but has outputs {outputs}.")

    def predict(self, image: np.ndarray) -> Prediction:
        """Predict one image.

        Args:
            image: uint8 [height, width, 3], any size, RGB, 0 black to 255 white.

        Raises:
            ValueError: For an array of another data type or shape.
            ModelError: If the model gives no answer, or outputs of another shape, NaN, or numbers that are no
                probabilities.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
            raise ValueError(f"expected uint8 [height, width, 3], got {image.dtype} {list(image.shape)}")
        answers = run_session(self.session, list_outputs(self.info), {"image": image[None]})
        (prediction,) = make_predictions(self.info, answers, 1, self._answer_anyway)
        return dataclasses.replace(prediction, warnings=find_warnings(image))

    def predict_decoded(self, image: DecodedImage) -> Prediction:
        """Predict what `read_image` read; its notes become warnings."""
        prediction = self.predict(image.pixels)
        return dataclasses.replace(prediction, warnings=[*image.notes, *prediction.warnings])

    def predict_file(self, path: str | Path) -> Prediction:
        """Predict an image file: JPEG, PNG, WebP, BMP or DICOM.

        Raises:
            ImageError: If it can't be read.
            ModelError: If the model gives no answer.
        """
        return self.predict_decoded(read_image(path))


def list_outputs(info: ModelInfo) -> tuple[str, ...]:
    """Returns the names of a model's outputs, in the order in which `make_predictions` takes them."""
    return OUTPUTS if info.declined_at is None else OUTPUTS + TYPICALITY


def make_predictions(
    info: ModelInfo, answers: Sequence[np.ndarray], batch: int, answer_anyway: bool
) -> list[Prediction]:
    """Make predictions, without warnings, of what a model answered.

    Args:
        info: The model's metadata.
        answers: Arrays of `list_outputs`, each of `batch` images.
        batch: Number of images.
        answer_anyway: Decide on images that are declined, too.

    Raises:
        ModelError: If they are no answers: of another shape, NaN, or numbers that are no probabilities.
    """
    check_answers(answers, (batch, len(info.labels)))
    columns = [*answers, *[[None] * batch] * (len(OUTPUTS + TYPICALITY) - len(answers))]
    predictions = []
    for probabilities, heatmap, *typical in zip(*columns, strict=True):
        p = probabilities.tolist()
        typicality, distance = (value if value is None else float(value) for value in typical)
        because = info.explain_declined(typicality, distance)
        predictions.append(
            Prediction(
                probabilities=dict(zip(info.labels, p, strict=True)),
                decision=info.decide(p) if because is None or answer_anyway else DECLINED,
                decision_argmax=info.decide_argmax(p),
                heatmap=heatmap,
                warnings=[],
                typicality=typicality,
                distance=distance,
                declined_because=because,
            )
        )
    return predictions
