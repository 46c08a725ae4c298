"""Compare the artefacts with the Keras model, from file to probability, stage by stage.

    stages = check_parity(Reference(network), folder, images)      # about 0.6 s an image on two cores

The first stage that fails shows where to look: a wrong resize shows in grey levels long before it shows, faintly, in a
probability, and hardly ever in a decision.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import tensorflow as tf
from tqdm import tqdm

from covid_tfds.imaging import reader
from covid_tfds.imaging.tensorflow_decoder import decode_image
from export.file_names import ONNX, ONNX_INT8, SAVED_MODEL
from export.graph import onnx_graph, saved_model
from export.graph.network import Network
from export.graph.onnx_graph import OUTPUTS, RESIZED
from export.parity.drawn_images import draw_batch
from export.parity.reference import Reference, ReferenceAnswer, compute_log_odds
from export.parity.stages import STAGES, Stage, Stages
from export.run_images import EncodedImage
from export.runtime.model_file import open_session
from export.runtime.predictor import Predictor

SMALLEST_HEAT = 1e-12  # never divide by less
BFLOAT16_TOLERANCE = 0.05  # its 8 bits of precision move a probability by 0.005, sometimes by more


@dataclass(frozen=True)
class ComparedImages:
    """Names of the images of a parity check.

    Attributes:
        of_the_run: Images of the run.
        made_up: Drawn images.
        left_out_as_exif_turns_them: Images of the run that were not compared: training ignored their EXIF orientation.
    """

    of_the_run: list[str]
    made_up: list[str]
    left_out_as_exif_turns_them: list[str]


@dataclass(frozen=True)
class ParityReport:
    """All of parity.json.

    Attributes:
        verdict: "pass" if every stage passes, else "fail".
        stages: The stages that apply.
        images: Names of the images compared.
        versions: Of the two engines.
    """

    verdict: str
    stages: list[Stage]
    images: ComparedImages
    versions: dict[str, str]


def check_parity(reference: Reference, folder: Path, images: list[EncodedImage], precision: str = "float32") -> Stages:
    """Compare the artefacts in a folder with the Keras model, and with each other.

    Args:
        reference: The Keras model.
        folder: Holds the SavedModel, model.onnx and maybe model.int8.onnx.
        images: What to compare on.
        precision: In which the run's predictions were computed, "float32" or "bfloat16"; the artefacts compute in
            float32.

    Returns:
        Every stage that applies: int8 only if model.int8.onnx is there, training only if an image has the run's
        prediction.
    """
    stages = Stages({stage.stage: stage for stage in STAGES})
    if not (folder / ONNX_INT8).is_file():
        del stages["int8"]
    if all(image.p_covid is None for image in images):
        del stages["training"]
    elif precision != "float32":
        stages["training"] = dataclasses.replace(stages["training"], tolerance=BFLOAT16_TOLERANCE)
    data = (folder / ONNX).read_bytes()
    session = open_session(onnx_graph.expose_tensor(data, RESIZED))
    signatures = tf.saved_model.load(str(folder / SAVED_MODEL)).signatures
    _check_interface(stages, open_session(data), signatures, reference.network)
    if not stages["interface"].passed:
        return stages
    _check_batches(stages, draw_batch(), session, signatures)
    predictors = [Predictor(folder / name) for name in (ONNX, ONNX_INT8) if (folder / name).is_file()]
    for image in tqdm(images, desc="parity", unit="image", disable=None, leave=False):
        pixels = decode_image(image.encoded).numpy()
        answer = reference.predict(pixels)
        _check_onnx(stages, answer, session.run([*OUTPUTS, RESIZED], {"image": pixels[None]}), image.name)
        _check_saved_model(stages, answer, _serve(signatures, pixels[None])[0], image.name)
        _check_file(stages, image, pixels, signatures, predictors)
    return stages


def make_report(stages: Stages, images: list[EncodedImage], left_out: list[str]) -> ParityReport:
    """Returns what parity.json holds."""
    return ParityReport(
        verdict="pass" if all(stage.passed for stage in stages.values()) else "fail",
        stages=list(stages.values()),
        images=ComparedImages(
            of_the_run=[image.name for image in images if image.p_covid is not None],
            made_up=[image.name for image in images if image.p_covid is None],
            left_out_as_exif_turns_them=left_out,
        ),
        versions={"tensorflow": tf.__version__, "onnxruntime": onnxruntime.__version__},
    )


def _check_interface(stages: Stages, session: onnxruntime.InferenceSession, signatures, network: Network) -> None:
    """Names, data types and axes of inputs and outputs."""
    batch, height, width = onnx_graph.AXES
    outputs = {"probabilities": (tf.float32, [None, 2])}
    expected = {
        f"{ONNX}: image": ("tensor(uint8)", [batch, height, width, 3]),
        f"{ONNX}: probabilities": ("tensor(float)", [batch, 2]),
        f"{ONNX}: heatmap": ("tensor(float)", [batch, *network.map_shape]),
        f"{SAVED_MODEL}: {saved_model.PIXELS}": ([tf.TensorSpec((None, None, None, 3), tf.uint8, "image")], outputs),
        f"{SAVED_MODEL}: {saved_model.BYTES}": ([tf.TensorSpec((None,), tf.string, "image_bytes")], outputs),
    }
    found = {f"{ONNX}: {v.name}": (v.type, v.shape) for v in (*session.get_inputs(), *session.get_outputs())}
    for name, function in signatures.items():
        inputs = list(function.structured_input_signature[1].values())
        outputs = {key: (spec.dtype, spec.shape.as_list()) for key, spec in function.structured_outputs.items()}
        found[f"{SAVED_MODEL}: {name}"] = (inputs, outputs)
    for name in expected | found:
        stages.add("interface", found.get(name) != expected.get(name), name)


def _check_batches(stages: Stages, batch: np.ndarray, session: onnxruntime.InferenceSession, signatures) -> None:
    """Different images at once, again, and one by one."""
    engines = {
        ONNX: lambda images: session.run(["probabilities"], {"image": images})[0],
        SAVED_MODEL: lambda images: _serve(signatures, images),
    }
    for name, predict in engines.items():
        together, again = predict(batch), predict(batch)
        stages.add("shapes", together.shape != (len(batch), 2), f"{name}: a batch of {list(batch.shape)}")
        for index, image in enumerate(batch):
            where = f"{name}: image {index} of a batch"
            expected = compute_log_odds(together[index])
            stages.add("repeated", abs(compute_log_odds(again[index]) - expected), where)
            stages.add("batch", abs(compute_log_odds(predict(image[None])[0]) - expected), where)


def _check_onnx(stages: Stages, expected: ReferenceAnswer, outputs: list[np.ndarray], name: str) -> None:
    """ONNX Runtime's answer to the pixels that Keras got."""
    shapes = [output.shape for output in outputs]
    wanted = [(1, 2), (1, *expected.heatmap.shape), (1, *expected.resized.shape)]
    stages.add("shapes", sum(a != b for a, b in zip(shapes, wanted, strict=True)), name)
    if shapes != wanted:
        return
    probabilities, heatmap, resized = (output[0] for output in outputs)
    stages.add("resized", _max_difference(resized, expected.resized), name)
    stages.add("onnx", _max_difference(probabilities, expected.probabilities), name)
    stages.add("log_odds", _log_odds_difference(probabilities, expected.probabilities), name)
    heat_scale = max(expected.heat_scale, SMALLEST_HEAT)
    stages.add("heatmap", _max_difference(heatmap, expected.heatmap) / heat_scale, name)


def _check_saved_model(stages: Stages, expected: ReferenceAnswer, probabilities: np.ndarray, name: str) -> None:
    """The SavedModel's answer to the pixels that Keras got."""
    stages.add("saved_model", _max_difference(probabilities, expected.probabilities), name)
    difference = _log_odds_difference(probabilities, expected.probabilities)
    stages.add("log_odds", difference, f"{SAVED_MODEL}: {name}")


def _check_file(
    stages: Stages, image: EncodedImage, pixels: np.ndarray, signatures, predictors: list[Predictor]
) -> None:
    """The whole way from the file, with TensorFlow and without."""
    read = reader.decode_raster(image.encoded)
    same_shape = read.shape == pixels.shape
    stages.add("decoders", _max_difference(read.astype(int), pixels) if same_shape else math.inf, image.name)
    served = signatures[saved_model.BYTES](tf.constant([image.encoded]))["probabilities"].numpy()[0]
    predictions = [predictor.predict(read) for predictor in predictors]
    p_covid = predictions[0].p_covid
    stages.add("file", abs(p_covid - served[0]), image.name)
    if image.p_covid is None:
        return
    stages.add("training", abs(p_covid - image.p_covid), image.name)
    for int8 in predictions[1:]:
        stages.add("int8", abs(p_covid - int8.p_covid), image.name)
        flipped = (stages["int8"].flipped or 0) + (predictions[0].decision != int8.decision)
        stages["int8"] = dataclasses.replace(stages["int8"], flipped=flipped)


def _serve(signatures, batch: np.ndarray) -> np.ndarray:
    return signatures[saved_model.PIXELS](image=tf.constant(batch))["probabilities"].numpy()


def _max_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.max(np.abs(a - b)))


def _log_odds_difference(a: np.ndarray, b: np.ndarray) -> float:
    return abs(compute_log_odds(a) - compute_log_odds(b))
