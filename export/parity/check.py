"""Compare the artefacts with the Keras model, from file to probability, stage by stage.

    parity = check_parity(Reference(network), folder, images, info)      # about 0.4 s an image on two cores

The first stage that fails shows where to look: a wrong resize shows in grey levels long before it shows, faintly, in a
probability, and hardly ever in a decision.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import tensorflow as tf
from tqdm import tqdm

from covid_tfds.imaging import reader
from covid_tfds.imaging.formats import is_plain
from covid_tfds.imaging.tensorflow_decoder import decode_any_image, decode_image
from export.file_names import ONNX, ONNX_INT8, SAVED_MODEL
from export.graph import saved_model
from export.graph.halves import IMAGE, RESIZED, take_part
from export.graph.network import Network
from export.graph.onnx_graph import AXES
from export.parity.drawn_images import ONLY_BY_READER, draw_batches
from export.parity.int8 import Int8Difference, compare_int8, summarize_int8
from export.parity.metadata import check_metadata
from export.parity.reference import Reference, ReferenceAnswer, compare_heat_maps, compare_log_odds
from export.parity.stages import INT8_STAGES, STAGES, Stages
from export.parity.typicality import compare_typicality, drop_typicality
from export.run_images import EncodedImage
from export.runtime.model_file import CPU, ModelError, open_session
from export.runtime.model_info import ModelInfo
from export.runtime.predictor import Prediction, Predictor

Engine = Callable[[np.ndarray], np.ndarray]  # uint8 [batch, height, width, 3] -> probabilities [batch, K]
BATCH = 4  # images in one call of Keras and of the SavedModel
BFLOAT16_TOLERANCE = 0.05  # its 8 bits of precision move a probability by 0.005, sometimes by more


@dataclass(frozen=True)
class Answers:
    """The answers to one image.

    Attributes:
        reference: Of the Keras model.
        predictions: Of the model files, by their names.
    """

    reference: ReferenceAnswer
    predictions: dict[str, Prediction]


@dataclass(frozen=True)
class Parity:
    """The result of a parity check.

    Attributes:
        stages: Every stage that applies: int8's only if model.int8.onnx is there, training only if an image has the
            run's prediction.
        drawn: The answers to the drawn images, by name.
    """

    stages: Stages
    drawn: dict[str, Answers]


@dataclass(frozen=True)
class _Model:
    """A model file: whole, and up to its resized image."""

    name: str
    predictor: Predictor
    resize: onnxruntime.InferenceSession

    @classmethod
    def load(cls, path: Path) -> _Model:
        return cls(
            path.name, Predictor(path, provider=CPU), open_session(take_part(path.read_bytes(), IMAGE, [RESIZED]))
        )


def check_parity(
    reference: Reference,
    folder: Path,
    images: list[EncodedImage],
    info: ModelInfo,
    precision: str = "float32",
    calibrated_on: Collection[str] = (),
) -> Parity:
    """Compare the artefacts in a folder with the Keras model, and with each other.

    Args:
        reference: The Keras model.
        folder: Holds the SavedModel, model.onnx, model.json and maybe model.int8.onnx.
        images: What to compare on.
        info: The metadata that the run says the float model has.
        precision: In which the run's predictions were computed, "float32" or "bfloat16"; the artefacts compute in
            float32.
        calibrated_on: Names of the images that int8 is not compared on.
    """
    with_int8 = (folder / ONNX_INT8).is_file()
    stages = Stages({stage.stage: stage for stage in (*STAGES, *(INT8_STAGES if with_int8 else ()))})
    if all(image.probabilities is None for image in images):
        del stages["training"]
    elif precision != "float32":
        stages["training"] = dataclasses.replace(stages["training"], tolerance=BFLOAT16_TOLERANCE)
    if info.declined_at is None:
        drop_typicality(stages)
    try:
        models = [_Model.load(folder / name) for name in (ONNX, ONNX_INT8) if (folder / name).is_file()]
    except ModelError as error:
        stages.add("interface", 1, str(error))
        return Parity(stages, {})
    signatures = tf.saved_model.load(str(folder / SAVED_MODEL)).signatures
    check_metadata(stages, folder, {model.name: model.predictor.info for model in models}, info)
    _check_interface(stages, models, signatures, reference.network)
    if not stages["interface"].passed:
        return Parity(stages, {})
    serve_pixels = _make_server(signatures)
    _check_batches(stages, SAVED_MODEL, serve_pixels, reference.network.classes)
    for model in models:
        _check_batches(stages, model.name, _make_engine(model.predictor.session), reference.network.classes)
    drawn: dict[str, Answers] = {}
    seen: list[Int8Difference] = []
    with tqdm(total=len(images), desc="parity", unit="image", disable=None, leave=False) as bar:
        for first in range(0, len(images), BATCH):
            some = images[first : first + BATCH]
            pixels = [
                (decode_image if _is_served(image) else decode_any_image)(image.encoded).numpy() for image in some
            ]
            expected = reference.predict(pixels)
            # Of a file that TensorFlow's decoder alone can't read as training does, the pixels are served as PNG.
            encoded = tf.constant(
                [
                    image.encoded if _is_served(image) else tf.io.encode_png(values).numpy()
                    for image, values in zip(some, pixels, strict=True)
                ]
            )
            served = {name: one.numpy() for name, one in signatures[saved_model.BYTES](encoded).items()}
            for index, (image, answer, values) in enumerate(zip(some, expected, pixels, strict=True)):
                row = {name: one[index] for name, one in served.items()}
                compare_typicality(stages, answer, row, f"{SAVED_MODEL}: {image.name}")
                p = row["probabilities"]
                predictions = _check_image(stages, image, values, answer, p, models, calibrated_on, seen)
                if image.probabilities is None:
                    # The way over pixels differs from that over bytes in the resize alone: a few images show it.
                    over_pixels = serve_pixels(values[None])[0]
                    _check_probabilities(stages, "saved_model", over_pixels, answer.probabilities, image.name)
                    drawn[image.name] = Answers(answer, predictions)
                bar.update()
    summarize_int8(stages, seen)
    return Parity(stages, drawn)


def _is_served(image: EncodedImage) -> bool:
    """Returns whether `serving_bytes` reads the file as training does: plain ones, and those drawn for it."""
    if image.probabilities is None:
        return image.name not in ONLY_BY_READER
    return is_plain(image.encoded)


def _check_interface(stages: Stages, models: list[_Model], signatures, network: Network) -> None:
    """Names, data types and axes of inputs and outputs."""
    batch, height, width = AXES
    typical = network.outputs[2:]
    outputs = {"probabilities": (tf.float32, [None, network.classes])} | {
        name: (tf.float32, [None]) for name in typical
    }
    expected: dict[str, Any] = {
        f"{SAVED_MODEL}: {saved_model.PIXELS}": ([tf.TensorSpec((None, None, None, 3), tf.uint8, "image")], outputs),
        f"{SAVED_MODEL}: {saved_model.BYTES}": ([tf.TensorSpec((None,), tf.string, "image_bytes")], outputs),
    }
    found: dict[str, Any] = {}
    for model in models:
        expected |= {
            f"{model.name}: image": ("tensor(uint8)", [batch, height, width, 3]),
            f"{model.name}: probabilities": ("tensor(float)", [batch, network.classes]),
            f"{model.name}: heatmap": ("tensor(float)", [batch, *network.map_shape]),
            **{f"{model.name}: {name}": ("tensor(float)", [batch]) for name in typical},
        }
        values = (*model.predictor.session.get_inputs(), *model.predictor.session.get_outputs())
        found |= {f"{model.name}: {value.name}": (value.type, value.shape) for value in values}
    for name, function in signatures.items():
        inputs = list(function.structured_input_signature[1].values())
        outputs = {key: (spec.dtype, spec.shape.as_list()) for key, spec in function.structured_outputs.items()}
        found[f"{SAVED_MODEL}: {name}"] = (inputs, outputs)
    for name in expected | found:
        stages.add("interface", found.get(name) != expected.get(name), name)


def _check_batches(stages: Stages, name: str, predict: Engine, classes: int) -> None:
    """Different images at once, one by one, and the first one again; in batches of two sizes."""
    for batch in draw_batches():
        where = f"{name}: {list(batch.shape)}"
        together, again = predict(batch), predict(batch[:1])
        alone = np.concatenate([predict(image[None]) for image in batch])
        stages.add("shapes", together.shape != (len(batch), classes) or alone.shape != together.shape, where)
        if together.shape == alone.shape:
            repeated, of_batch = ("int8_batch",) * 2 if name == ONNX_INT8 else ("repeated", "batch")
            stages.add(repeated, compare_log_odds(again, alone[:1]), where)
            for index in range(len(batch)):
                stages.add(of_batch, compare_log_odds(together[index], alone[index]), f"{where}, image {index}")


def _check_image(
    stages: Stages,
    image: EncodedImage,
    pixels: np.ndarray,
    expected: ReferenceAnswer,
    served: np.ndarray,
    models: list[_Model],
    calibrated_on: Collection[str],
    seen: list[Int8Difference],
) -> dict[str, Prediction]:
    """One image: its file and its pixels, through every artefact. Returns the answers of the model files."""
    _check_probabilities(stages, "saved_model", served, expected.probabilities, image.name)
    read = reader.decode_image(image.encoded).pixels
    same = read.shape == pixels.shape and np.array_equal(read, pixels)
    stages.add("decoders", 0 if same else _compare_pixels(read, pixels), image.name)
    try:
        answers = {model.name: model.predictor.predict(pixels) for model in models}
        from_file = answers[ONNX] if same else models[0].predictor.predict(read)
    except ModelError as error:
        stages.add("shapes", 1, f"{image.name}: {error}")
        return {}
    stages.add("file", _max_difference(_probabilities(from_file), served), image.name)
    if image.probabilities is not None:
        stages.add("training", _max_difference(_probabilities(from_file), np.asarray(image.probabilities)), image.name)
    for model in models:
        (resized,) = model.resize.run([RESIZED], {IMAGE: pixels[None]})
        heatmap = answers[model.name].heatmap
        right = resized[0].shape == expected.resized.shape and heatmap.shape == expected.heatmap.shape
        stages.add("shapes", not right, f"{model.name}: {image.name}")
        if not right:
            return answers
        if model.name == ONNX:
            stages.add("resized", _max_difference(resized[0], expected.resized), image.name)
            _check_probabilities(stages, "onnx", _probabilities(answers[ONNX]), expected.probabilities, image.name)
            stages.add("heatmap", compare_heat_maps(heatmap, expected), image.name)
            compare_typicality(stages, expected, vars(answers[ONNX]), image.name)
        else:
            stages.add("int8_resized", _max_difference(resized[0], expected.resized), image.name)
            if image.name not in calibrated_on:
                seen.append(compare_int8(stages, answers, expected, image))
    return answers


def _check_probabilities(stages: Stages, stage: str, found: np.ndarray, expected: np.ndarray, name: str) -> None:
    stages.add(stage, _max_difference(found, expected), name)
    stages.add("log_odds", compare_log_odds(found, expected), f"{stage}: {name}")


def _make_engine(session: onnxruntime.InferenceSession) -> Engine:
    options = onnxruntime.RunOptions()
    # Else the session keeps the memory of its largest batch.
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return lambda images: session.run(["probabilities"], {IMAGE: images}, options)[0]


def _make_server(signatures) -> Engine:
    return lambda images: signatures[saved_model.PIXELS](image=tf.constant(images))["probabilities"].numpy()


def _probabilities(prediction: Prediction) -> np.ndarray:
    return np.asarray(list(prediction.probabilities.values()))


def _compare_pixels(a: np.ndarray, b: np.ndarray) -> float:
    return _max_difference(a.astype(int), b) if a.shape == b.shape else math.inf


def _max_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.max(np.abs(a - b)))
