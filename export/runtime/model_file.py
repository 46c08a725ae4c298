"""Read an exported .onnx file safely: whole, undamaged, holding all of its weights; and open it in ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime

from covid_tfds.common.cores import count_threads
from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import CHECKSUMS, read_checksums

CPU = "cpu"
SUFFIX = "ExecutionProvider"
# Without these, OpenVINO computes in bfloat16 where the processor can, and CUDA in TF32.
FULL_PRECISION = {
    "openvino": {"device_type": "CPU", "load_config": json.dumps({"CPU": {"INFERENCE_PRECISION_HINT": "f32"}})},
    "cuda": {"use_tf32": "0"},
}
MAX_CELLS = 1 << 20  # of a heat map; an export has 49 or 196
ROUNDING = 1e-3  # by which probabilities may miss a sum of 1


class ModelError(UsageError):
    """A file that is no model of `python -m export`; the message says in one line what was expected and what came."""


def read_model(path: str | Path) -> bytes:
    """Read a model file.

    Raises:
        ModelError: If it can't be read, is damaged (its hash is not that of the SHA256SUMS beside it), or keeps weights
            in other files: those could be any files of this machine.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ModelError(f"{path} can't be opened: expected a model file, got a folder or a device")
    try:
        data = path.read_bytes()
        expected = read_checksums(path.parent).get(path.name)
    except OSError as error:
        raise ModelError(f"{error.filename or path} can't be opened: {error.strerror or error}") from error
    if expected is not None and hashlib.sha256(data).hexdigest() != expected:
        raise ModelError(f"{path} is damaged: it is not the file that {CHECKSUMS} lists. Export it again.")
    if names_other_files(data):
        raise ModelError(f"{path} keeps weights in other files, which is refused: export it again, into one file.")
    return data


def names_other_files(model: bytes) -> bool:
    """Returns whether a serialized ONNX model may keep weights in other files.

    A tensor whose values are in a file names it in an entry with the key "location". In protocol buffers a text follows
    its length, here 8, whose last byte is 8, or 0 where it is encoded in more bytes than it needs.
    """
    return b"\x08location" in model or b"\x00location" in model


def list_providers() -> dict[str, str]:
    """Returns the installed execution providers: short name -> ONNX Runtime's own, such as "cpu", "openvino"."""
    # Azure's sends the image to a server.
    names = [name for name in onnxruntime.get_available_providers() if not name.startswith("Azure")]
    return {name.removesuffix(SUFFIX).lower(): name for name in names}


def open_session(model: bytes, threads: int = 0, provider: str = CPU) -> onnxruntime.InferenceSession:
    """Open a serialized model in ONNX Runtime; errors are raised, not printed, too.

    Args:
        model: The bytes of a model.
        threads: Number of threads, 0 for `count_threads`.
        provider: Short name of the execution provider, which computes all that it can; the CPU's computes the rest.

    Raises:
        RuntimeError: If the provider does not start; other kinds for a file that is no model.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal errors only
    options.intra_op_num_threads = threads or count_threads()
    full, cpu = list_providers()[provider], list_providers()[CPU]
    settings = dict(FULL_PRECISION.get(provider, {}))
    if provider == "openvino":
        settings["num_of_threads"] = str(options.intra_op_num_threads)
    chosen = [(full, settings)] if provider == CPU else [(full, settings), (cpu, {})]
    session = onnxruntime.InferenceSession(model, options, providers=chosen)
    if session.get_providers()[0] != full:  # ONNX Runtime goes on with the CPU's
        raise RuntimeError(f"{full} does not start on this machine")
    return session


def run_session(
    session: onnxruntime.InferenceSession, outputs: Sequence[str], inputs: dict[str, np.ndarray]
) -> list[np.ndarray]:
    """Run a model so that a signal ends it, however long it takes.

    Raises:
        ModelError: If ONNX Runtime can't run it: wrong shapes inside, more memory than there is.
    """
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    with ThreadPoolExecutor(1) as pool:
        # Python handles signals between its own instructions, in the main thread: that one waits here.
        running = pool.submit(session.run, list(outputs), inputs, options)
        try:
            return running.result()
        except Exception as error:  # ONNX Runtime raises many kinds of its own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(f"the model can't be run by ONNX Runtime {onnxruntime.__version__}: {reason}") from error
        except BaseException:
            options.terminate = True
            raise


def check_answers(answers: Sequence[np.ndarray], shape: tuple[int, int]) -> None:
    """Raise ModelError unless a model's outputs are answers.

    Args:
        answers: Probabilities float32 [batch, K], K numbers in [0, 1] with a sum of 1 for each image; heat maps
            float32 [batch, h, w] >= 0; and where the model has them typicality and distance, float32 [batch] in [0, 1].
        shape: (batch, K).
    """
    probabilities, heatmap, *typical = answers
    if probabilities.shape != shape:
        raise ModelError(f"the model gives probabilities {list(probabilities.shape)}, expected {list(shape)}")
    if not (np.all(probabilities >= 0) and np.all(np.abs(probabilities.sum(axis=1) - 1) <= ROUNDING)):
        raise ModelError("the model gives numbers that are no probabilities: expected 0 to 1, with a sum of 1")
    if heatmap.ndim != 3 or len(heatmap) != shape[0] or not 0 < heatmap[0].size <= MAX_CELLS:
        raise ModelError(f"the model gives a heat map {list(heatmap.shape)}, expected [{shape[0]}, h, w]")
    if not (np.all(heatmap >= 0) and np.all(np.isfinite(heatmap))):
        raise ModelError("the model gives a heat map with negative or infinite cells")
    for values in typical:
        if values.shape != shape[:1] or not np.all((values >= 0) & (values <= 1 + ROUNDING)):
            raise ModelError(f"the model gives a wrong typicality or distance: expected {shape[0]} numbers from 0 to 1")
