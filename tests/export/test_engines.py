"""Which engines read an export, and how far their answers are from ONNX Runtime's: the table in export/README.md.

python -m pytest -m trial -s tests/export/test_engines.py      # installs each engine in an environment of its own
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from covid_tfds.imaging.reader import decode_image
from export import __main__ as export
from export.file_names import ONNX, ONNX_INT8, SAVED_MODEL
from export.parity.drawn_images import draw_images
from export.run_images import read_run_images
from export.runtime.model_file import open_session
from trainer.run_folder.run import load

pytestmark = [pytest.mark.trial, pytest.mark.timeout(0)]

# Each runs a model (argv 1) on the images of a folder (argv 2) and prints its version and the probabilities as JSON.
PYTHON = """
import json, sys
from pathlib import Path
import numpy as np
model, folder = sys.argv[1], Path(sys.argv[2])
shapes = json.loads((folder / "shapes.json").read_text())
images = [np.fromfile(folder / f"{i}.bin", np.uint8).reshape(1, *shape) for i, shape in enumerate(shapes)]
SETUP
print(json.dumps({"version": version, "p": [np.ravel(predict(image)).tolist() for image in images]}))
"""
ONNXRUNTIME = """
import onnxruntime
version = onnxruntime.__version__
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
predict = lambda image: session.run(["probabilities"], {"image": image})[0]
"""
OPENVINO = """
import openvino
version = openvino.__version__.split("-")[0]
compiled = openvino.Core().compile_model(model, "CPU", OPTIONS)
predict = lambda image: compiled({"image": image})["probabilities"]
"""
OPENCV = """
import cv2
version = cv2.__version__
net = cv2.dnn.readNetFromONNX(model)
def predict(image):
    net.setInput(image, "image")
    return net.forward("probabilities")
"""
TENSORFLOW = """
import tensorflow as tf
version = tf.__version__
serve = tf.saved_model.load(model).signatures["serving_default"]
predict = lambda image: serve(image=tf.constant(image))["probabilities"].numpy()
"""
TFLITE = """
import tensorflow as tf
version = tf.__version__
converter = tf.lite.TFLiteConverter.from_saved_model(model, signature_keys=["serving_default"])
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
interpreter = tf.lite.Interpreter(model_content=converter.convert())
def predict(image):
    runner = interpreter.get_signature_runner("serving_default")
    return runner(image=image)["probabilities"]
"""
NODE = """
const fs = require('fs');
const ort = require(PACKAGE);
const [, , model, folder] = process.argv;
(async () => {
  const session = await ort.InferenceSession.create(PACKAGE.endsWith('node') ? model : fs.readFileSync(model));
  const p = [];
  for (const [i, shape] of JSON.parse(fs.readFileSync(`${folder}/shapes.json`)).entries()) {
    const pixels = new Uint8Array(fs.readFileSync(`${folder}/${i}.bin`));
    const answer = await session.run({image: new ort.Tensor('uint8', pixels, [1, ...shape])}, ['probabilities']);
    p.push(Array.from(answer.probabilities.data));
  }
  console.log(JSON.stringify({version: require(`${PACKAGE}/package.json`).version, p}));
  process.exit(0);
})();
"""


@dataclass(frozen=True)
class Engine:
    """An engine. requires: what pip or npm installs, nothing for this environment; script: what prints its answers."""

    requires: tuple[str, ...]
    script: str
    files: tuple[str, ...] = (ONNX, ONNX_INT8)


def python(setup: str) -> str:
    return PYTHON.replace("SETUP", setup)


def node(package: str) -> Engine:
    # Its package.json is no export of the package, so that it is read by its path.
    version = f"JSON.parse(fs.readFileSync('node_modules/{package}/package.json'))"
    script = NODE.replace("require(`${PACKAGE}/package.json`)", version).replace("PACKAGE", f"'{package}'")
    return Engine((package,), script)


ENGINES = {
    "ONNX Runtime, old": Engine(("onnxruntime==1.16.3", "numpy<2"), python(ONNXRUNTIME)),
    "ONNX Runtime, new": Engine(("onnxruntime",), python(ONNXRUNTIME)),
    "ONNX Runtime, Node": node("onnxruntime-node"),
    "ONNX Runtime, WebAssembly": node("onnxruntime-web"),
    "OpenVINO": Engine(("openvino",), python(OPENVINO.replace("OPTIONS", "{}"))),
    "OpenVINO, f32": Engine(("openvino",), python(OPENVINO.replace("OPTIONS", '{"INFERENCE_PRECISION_HINT": "f32"}'))),
    "OpenCV": Engine(("opencv-python-headless",), python(OPENCV)),
    "TensorFlow": Engine((), python(TENSORFLOW), (SAVED_MODEL,)),
    "TFLite": Engine((), python(TFLITE), (SAVED_MODEL,)),
}
INEXACT = ("OpenVINO",)  # bfloat16 is its default where the processor has it


def install(engine: Engine, folder: Path) -> list[str]:
    """Make an environment with the engine, and return the command that runs a script in it."""
    if not engine.requires:
        return [sys.executable]
    if "require(" in engine.script:
        folder.mkdir(exist_ok=True)
        if not (folder / "node_modules").is_dir():
            subprocess.run(["npm", "install", "--ignore-scripts", "--silent", *engine.requires], cwd=folder, check=True)
        return ["node"]
    if not folder.is_dir():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *engine.requires], check=True)
    return [str(folder / "bin" / "python")]


def write_images(images: list[np.ndarray], folder: Path) -> None:
    folder.mkdir()
    for index, image in enumerate(images):
        image.tofile(folder / f"{index}.bin")
    (folder / "shapes.json").write_text(json.dumps([image.shape for image in images]))


def measure_engines(exported: Path, images: list[np.ndarray], work: Path) -> dict[str, dict[str, float | str]]:
    """Print a row for each engine; returns for each file the largest difference, or what went wrong."""
    write_images(images, work / "images")
    sessions = {name: open_session((exported / name).read_bytes()) for name in (ONNX, ONNX_INT8)}
    expected = {
        name: np.stack([session.run(["probabilities"], {"image": image[None]})[0][0] for image in images])
        for name, session in sessions.items()
    }
    expected[SAVED_MODEL] = expected[ONNX]
    found: dict[str, dict[str, float | str]] = {}
    for name, engine in ENGINES.items():
        folder = work / "-".join(engine.requires).replace("<", "").replace("=", "")
        command, found[name], version = install(engine, folder), {}, "?"
        script = folder / "run.cjs" if command == ["node"] else work / "run.py"
        script.write_text(engine.script)
        for file in engine.files:
            done = subprocess.run(
                [*command, str(script), str(exported / file), str(work / "images")],
                cwd=script.parent,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                lines = [line for line in done.stderr.splitlines() if "rror" in line] or ["?"]
                found[name][file] = lines[-1].strip()[:150]
                continue
            answer = json.loads(done.stdout.strip().splitlines()[-1])
            version = answer["version"]
            found[name][file] = float(np.abs(np.asarray(answer["p"]) - expected[file]).max())
        cells = [f"{value:.1e}" if isinstance(value, float) else value for value in found[name].values()]
        print(f"| {name} | {version} | {' | '.join(cells)} |", flush=True)
    return found


def test_engines(train_imagenet, tmp_path):
    """On the real images of `curated` and on drawn ones."""
    run = load(train_imagenet("curated"))
    exported = tmp_path / "export"
    assert export.main([str(run.path), "--int8", "--output", str(exported)]) in (0, 1)
    encoded = [image.encoded for image in (*read_run_images(run, run.predictions), *draw_images())]
    found = measure_engines(exported, [np.ascontiguousarray(decode_image(one).pixels) for one in encoded], tmp_path)
    for name, differences in found.items():
        for file, difference in differences.items():
            if file != ONNX_INT8:
                assert isinstance(difference, float), (name, difference)
                assert difference < (0.05 if name in INEXACT else 1e-4), name
