"""Reads hostile files in a process of its own, as `python reading_worker.py READER MODELS`.

For every line on its input, file names with tabs between them, it prints a JSON object: what became of each file
(`outcomes`: "number" or the error's text), the seconds it took and the peak memory above what there was before, in MB.
"""

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

NUMBER = "number"


def training(models: Path) -> Callable[[list[Path]], dict[str, str]]:
    """The files as a training folder: what its error names is taken out, and the rest must then be read."""
    import numpy as np

    from covid_tfds.common.errors import UsageError
    from covid_tfds.datasets import load_examples
    from covid_tfds.examples import DatasetRequest
    from trainer.features import pipelines

    def read(files: list[Path]) -> dict[str, str]:
        folder = models / "folder"
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("covid", "normal"):
            (folder / name).mkdir(parents=True)
            # One that is sound: a class without an image is no training folder.
            shutil.copy(models / "sound.png", folder / name / "sound.png")
        suffixes = (".jpg", ".png")
        copies = {}
        for index, file in enumerate(files):
            copy = folder / ("covid", "normal")[index % 2] / (file.name + suffixes[index // 2 % 2])
            shutil.copy(file, copy)
            copies[copy.relative_to(folder).as_posix()] = file.name
        outcomes = dict.fromkeys(copies.values(), NUMBER)
        examples = load_examples(DatasetRequest(dataset=str(folder)))
        refusal = ""
        try:
            with pipelines.naming_undecodable(examples):
                count = sum(len(images) for images in pipelines.eval_pipeline(examples, np.arange(len(examples)), 8))
            assert count == len(examples)
        except UsageError as error:
            refusal = str(error)
        if refusal:
            assert "\n" not in refusal
            bad = pipelines.undecodable(examples)
            assert bad
            assert not any("sound.png" in name for name in bad)
            for name, why in bad.items():
                outcomes[copies[name]] = why
                (folder / name).unlink()
            rest = load_examples(DatasetRequest(dataset=str(folder)))
            for images in pipelines.eval_pipeline(rest, np.arange(len(rest)), 8):
                assert np.isfinite(images.numpy()).all()
        return outcomes

    return read


def serving(models: Path) -> Callable[[list[Path]], dict[str, str]]:
    """The files as one call of serving_bytes, with sound ones between them whose answer must stay what it is."""
    import numpy as np
    import tensorflow as tf

    signature = tf.saved_model.load(str(models / "saved_model")).signatures["serving_bytes"]
    sound = (models / "sound.png").read_bytes()
    alone = signature(image_bytes=tf.constant([sound]))["probabilities"].numpy()[0]

    def read(files: list[Path]) -> dict[str, str]:
        encoded = [content for file in files for content in (file.read_bytes(), sound)]
        answer = signature(image_bytes=tf.constant(encoded))["probabilities"].numpy()
        assert answer.shape == (2 * len(files), 2)
        np.testing.assert_allclose(answer[1::2], np.tile(alone, (len(files), 1)), atol=1e-6)
        assert (np.isfinite(answer).all(1) | np.isnan(answer).all(1)).all()
        return {
            file.name: NUMBER if np.isfinite(row).all() else "NaN" for file, row in zip(files, answer[::2], strict=True)
        }

    return read


def predictor(models: Path) -> Callable[[list[Path]], dict[str, str]]:
    """The files one by one through the predictor."""
    from export.runtime.predictor import ImageError, Predictor

    model = Predictor(models / "model.onnx")

    def one(file: Path) -> str:
        try:
            outcome = sum(model.predict_file(file).probabilities.values())
        except ImageError as error:
            outcome = str(error)
        assert "\n" not in outcome if isinstance(outcome, str) else math.isfinite(outcome)
        return outcome if isinstance(outcome, str) else NUMBER

    return lambda files: {file.name: one(file) for file in files}


def audit(models: Path) -> Callable[[list[Path]], dict[str, str]]:
    """The files as images that are audited."""
    import numpy as np

    from covid_tfds.audit import pixels
    from tests.fakes.examples import make_examples

    def read(files: list[Path]) -> dict[str, str]:
        names = np.asarray([file.name for file in files])
        examples = make_examples([0] * len(files), [file.read_bytes() for file in files], image_id=names)
        table, _ = pixels.describe_images(examples)
        return {row.image_id: row.problem or NUMBER for row in table.itertuples()}

    return read


READERS = {"training": training, "serving": serving, "predictor": predictor, "audit": audit}


def peak_mb() -> float:
    """The most memory this process has had since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    reader, models = sys.argv[1:]
    read = READERS[reader](Path(models))
    # Whatever a library prints goes to the errors: the answers are the only thing on the output.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps({"ready": reader}), file=out, flush=True)
    for line in sys.stdin:
        files = [Path(name) for name in line.rstrip("\n").split("\t")]
        forget_peak()
        before, started = peak_mb(), time.monotonic()
        outcomes = read(files)
        answer = {"outcomes": outcomes, "seconds": time.monotonic() - started, "mb": peak_mb() - before}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
