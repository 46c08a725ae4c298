"""Proof that the artefacts answer as the Keras model does, from file to probability, stage by stage.

    stages = check(Reference(network), folder, pictures)      # about 0.6 s an image on two cores

The first stage that fails says where to look: a wrong resize shows in grey levels long before it shows, faintly, in a
probability, and hardly ever in a decision.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnxruntime
import tensorflow as tf
from tqdm import tqdm

from covid_tfds.imaging import reader
from covid_tfds.imaging.tensorflow_decoder import decode_image
from export.graph import onnx_graph, saved_model
from export.graph.network import Network
from export.graph.onnx_graph import OUTPUTS, RESIZED
from export.parity import images
from export.parity.reference import Expected, Reference, log_odds
from export.parity.stages import Stage, stages
from export.runtime.predictor import Prediction, Predictor

SAVED_MODEL, FLOAT, INT8 = "saved_model", "model.onnx", "model.int8.onnx"
NO_RELATIVE = 1e-12
BFLOAT16_TOLERANCE = 0.05  # its 8 bits of precision move a probability by 0.005, now and then by more


def check(
    reference: Reference, folder: Path, pictures: list[images.Picture], precision: str = "float32"
) -> dict[str, Stage]:
    """Compare the artefacts in `folder` with the Keras model on `pictures`, and with each other.

    precision: what the run's predictions were computed in ("float32", "bfloat16"); the artefacts compute in float32.
    Returns every stage that applies; int8 only if model.int8.onnx is there, training only if pictures are the run's.
    """
    found = stages()
    if not (folder / INT8).is_file():
        del found["int8"]
    if all(picture.p_covid is None for picture in pictures):
        del found["training"]
    elif precision != "float32":
        found["training"].tolerance = BFLOAT16_TOLERANCE
    data = (folder / FLOAT).read_bytes()
    session = onnx_graph.session(onnx_graph.showing(data, RESIZED))
    served = tf.saved_model.load(str(folder / SAVED_MODEL)).signatures
    _interface(found["interface"], onnx_graph.session(data), served, reference.network)
    if not found["interface"].passed:
        return found
    _batches(found, images.stack(), session, served)
    predictors = [Predictor(folder / name) for name in (FLOAT, INT8) if (folder / name).is_file()]
    for picture in tqdm(pictures, desc="parity", unit="image", disable=None, leave=False):
        pixels = decode_image(picture.encoded).numpy()
        expected = reference(pixels)
        _pixels(found, expected, session.run([*OUTPUTS, RESIZED], {"image": pixels[None]}), picture.name)
        answer = _served(served, pixels[None])[0]
        found["saved_model"].add(_apart(answer, expected.probabilities), picture.name)
        found["log_odds"].add(abs(log_odds(answer) - log_odds(expected.probabilities)), f"saved_model: {picture.name}")
        _files(found, picture, pixels, served, predictors)
    return found


def report(found: dict[str, Stage], pictures: list[images.Picture], left_out: list[str]) -> dict:
    """parity.json: the stages, on which images, with which versions, and the verdict."""
    own = [picture.name for picture in pictures if picture.p_covid is not None]
    return {
        "verdict": "pass" if all(stage.passed for stage in found.values()) else "fail",
        "stages": [
            {"stage": name, **asdict(stage), "verdict": "pass" if stage.passed else "fail"}
            for name, stage in found.items()
        ],
        "images": {
            "of_the_run": own,
            "made_up": [picture.name for picture in pictures if picture.p_covid is None],
            "left_out_as_exif_turns_them": left_out,
        },
        "versions": {"tensorflow": tf.__version__, "onnxruntime": onnxruntime.__version__},
    }


def _interface(stage: Stage, session: onnxruntime.InferenceSession, served, network: Network) -> None:
    axes = list(onnx_graph.AXES)
    batch = axes[0]
    onnx = {value.name: (value.type, value.shape) for value in (*session.get_inputs(), *session.get_outputs())}
    stage.add(onnx.pop("image", None) != ("tensor(uint8)", [*axes, 3]), "model.onnx: image")
    stage.add(onnx.pop("probabilities", None) != ("tensor(float)", [batch, 2]), "model.onnx: probabilities")
    stage.add(onnx.pop("heatmap", None) != ("tensor(float)", [batch, *network.map_shape]), "model.onnx: heatmap")
    stage.add(len(onnx), f"model.onnx: {', '.join(onnx) or 'nothing more'}")
    signatures = {
        saved_model.PIXELS: tf.TensorSpec((None, None, None, 3), tf.uint8, "image"),
        saved_model.BYTES: tf.TensorSpec((None,), tf.string, saved_model.BYTES_INPUT),
    }
    for name, wanted in signatures.items():
        if name not in served:
            stage.add(1, f"saved_model: {name}")
            continue
        inputs = list(served[name].structured_input_signature[1].values())
        outputs = {key: (spec.dtype, spec.shape.as_list()) for key, spec in served[name].structured_outputs.items()}
        stage.add(inputs != [wanted], f"saved_model: input of {name}")
        stage.add(outputs != {"probabilities": (tf.float32, [None, 2])}, f"saved_model: output of {name}")


def _batches(found: dict[str, Stage], batch: np.ndarray, session: onnxruntime.InferenceSession, served) -> None:
    """Different images at once, again, and one by one."""
    engines = {
        FLOAT: lambda images: session.run(["probabilities"], {"image": images})[0],
        SAVED_MODEL: lambda images: _served(served, images),
    }
    for name, engine in engines.items():
        together = engine(batch)
        found["shapes"].add(together.shape != (len(batch), 2), f"{name}: a batch of {list(batch.shape)}")
        again = engine(batch)
        for index, image in enumerate(batch):
            where = f"{name}: image {index} of a batch"
            expected = log_odds(together[index])
            found["repeated"].add(abs(log_odds(again[index]) - expected), where)
            found["batch"].add(abs(log_odds(engine(image[None])[0]) - expected), where)


def _served(signatures, batch: np.ndarray) -> np.ndarray:
    return signatures[saved_model.PIXELS](image=tf.constant(batch))["probabilities"].numpy()


def _pixels(found: dict[str, Stage], expected: Expected, answer: list[np.ndarray], where: str) -> None:
    """ONNX Runtime's answer to the pixels that Keras was given."""
    shapes = [array.shape for array in answer]
    wanted = [(1, 2), (1, *expected.heatmap.shape), (1, *expected.resized.shape)]
    found["shapes"].add(sum(a != b for a, b in zip(shapes, wanted, strict=True)), where)
    if shapes != wanted:
        return
    probabilities, heatmap, resized = (array[0] for array in answer)
    found["resized"].add(_apart(resized, expected.resized), where)
    found["onnx"].add(_apart(probabilities, expected.probabilities), where)
    found["log_odds"].add(abs(log_odds(probabilities) - log_odds(expected.probabilities)), where)
    found["heatmap"].add(_apart(heatmap, expected.heatmap) / max(expected.heat_scale, NO_RELATIVE), where)


def _files(found: dict[str, Stage], picture: images.Picture, pixels: np.ndarray, served, predictors) -> None:
    """The whole way from the file, once with TensorFlow and once without."""
    read = reader.decode(picture.encoded)
    same_shape = read.shape == pixels.shape
    found["decoders"].add(_apart(read.astype(int), pixels) if same_shape else np.inf, picture.name)
    answer = served[saved_model.BYTES](tf.constant([picture.encoded]))["probabilities"].numpy()[0]
    predicted: list[Prediction] = [predictor.predict(read) for predictor in predictors]
    p_covid = predicted[0].p_covid
    found["file"].add(abs(p_covid - answer[0]), picture.name)
    if picture.p_covid is None:
        return
    found["training"].add(abs(p_covid - picture.p_covid), picture.name)
    if len(predicted) > 1:
        found["int8"].add(abs(p_covid - predicted[1].p_covid), picture.name)
        found["int8"].flipped = (found["int8"].flipped or 0) + (predicted[0].decision != predicted[1].decision)


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """The largest absolute difference."""
    return float(np.max(np.abs(a - b)))
