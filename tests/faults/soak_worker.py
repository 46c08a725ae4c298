"""Does the same thing very often in one process, as `python soak_worker.py WHAT COUNT ...`, and prints what it costs.

A JSON object: for samples evenly spread over the work, how much was done (`done`), resident memory in MB (`mb`), open
files (`files`) and threads (`threads`).
"""

import contextlib
import gc
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

SAMPLES = 50
samples = []


def sample(done: int) -> None:
    gc.collect()
    status = Path("/proc/self/status").read_text()
    samples.append(
        {
            "done": done,
            "mb": int(status.split("VmRSS:")[1].split()[0]) / 1024,
            "files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208  (it opens the folder for a moment, always)
            "threads": int(status.split("Threads:")[1].split()[0]),
        }
    )


def predictions(count: int, model: str, folder: str) -> None:
    """Predict the files of a folder over and over, sound ones and broken ones."""
    from export.runtime.predictor import ImageError, Predictor

    predictor = Predictor(model)
    files = sorted(Path(folder).iterdir())
    for done in range(1, count + 1):
        with contextlib.suppress(ImageError):
            predictor.predict_file(files[done % len(files)])
        if done % max(1, count // SAMPLES) == 0:
            sample(done)


def training(count: int, recipe: str, output: str) -> None:
    """Train for so many epochs on drawn radiographs with the whole VGG16, and look after each."""
    from trainer import __main__
    from trainer.models import head_fitting
    from trainer.models.checkpoints import EpochCheckpoint

    draws, stop = head_fitting._draw_batches, EpochCheckpoint.on_epoch_end

    def drawn(recipe, folds, steps, seed, epoch):
        if len(folds) == 1:  # the run's own head, not those of its cross-validation
            sample(epoch)
        return draws(recipe, folds, steps, seed, epoch)

    def ended(callback, epoch, logs=None):
        sample(epoch)
        stop(callback, epoch, logs)

    head_fitting._draw_batches, EpochCheckpoint.on_epoch_end = drawn, ended
    few = ["--num_examples", "10", "--batch_size", "4", "--data_dir", f"{output}.data"]
    argv = ["--demo", *few, "--recipe", recipe, "--epochs", str(count), "--output", output]
    assert __main__.main(argv) == 0


if __name__ == "__main__":
    what, count, *rest = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    {"predictions": predictions, "training": training}[what](int(count), *rest)
    print(json.dumps(samples), file=out, flush=True)
