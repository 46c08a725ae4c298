"""The same thing, very often, in one process: memory stays flat, and no file or thread is left behind.

python -m pytest -m trial tests/faults/test_soak.py -s      # about 15 minutes on 2 cores
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.fakes import small_network
from tests.faults import hostile_files

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def soak(tmp_path, what: str, count: int, *arguments) -> list[dict]:
    command = [sys.executable, str(HERE / "soak_worker.py"), what, str(count), *map(str, arguments)]
    caches = {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(command, env=os.environ | caches, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def check(what: str, samples: list[dict], most_mb_per_thousand: float, started: float) -> None:
    """Nothing is left open, and memory does not grow, by the slope of the last three quarters."""
    settled = samples[len(samples) // 4 :]
    done, mb = np.asarray([[sample["done"], sample["mb"]] for sample in settled], dtype=float).T
    # The median of the slopes of all pairs: TensorFlow's allocator takes and gives back 20 MB now and then.
    slope = stats.theilslopes(mb, done).slope * 1000
    measured = {
        "MB per 1000": round(slope, 3),
        "MB": [round(sample["mb"], 1) for sample in samples[:: len(samples) // 10]],
    }
    measured |= {name: sorted({sample[name] for sample in settled}) for name in ("files", "threads")}
    print(json.dumps({"what": what, "done": int(done[-1]), **measured, "seconds": round(time.monotonic() - started)}))
    assert slope < most_mb_per_thousand
    assert settled[-1]["files"] <= settled[0]["files"]
    assert settled[-1]["threads"] <= settled[0]["threads"]


@pytest.fixture
def images(tmp_path):
    """A folder with sound files of every kind, and as many damaged ones."""
    folder = tmp_path / "images"
    folder.mkdir()
    sound = hostile_files.originals()
    for name, content in [*sound.items(), *hostile_files.mutants(len(sound))]:
        (folder / name).write_bytes(content)
    return folder


def test_hundreds_of_predictions_leave_nothing_open(images, tmp_path):
    model = small_network.export(tmp_path / "models") / small_network.ONNX
    started = time.monotonic()
    samples = soak(tmp_path, "predictions", 400, model, images)
    assert len(samples) == 50
    check("predictions", samples, np.inf, started)


@pytest.mark.trial
def test_ten_thousand_predictions(images, tmp_path):
    model = small_network.export(tmp_path / "models") / small_network.ONNX
    started = time.monotonic()
    check("predictions, small network", soak(tmp_path, "predictions", 10_000, model, images), 1, started)


@pytest.mark.trial
def test_a_thousand_predictions_of_vgg16(images, exported, tmp_path):
    started = time.monotonic()
    check("predictions, VGG16", soak(tmp_path, "predictions", 1000, exported / "model.onnx", images), 10, started)


@pytest.mark.trial
@pytest.mark.parametrize("recipe", ["default", "tutorial"])
def test_two_hundred_epochs(tmp_path, recipe):
    started = time.monotonic()
    samples = soak(tmp_path, "training", 200, recipe, tmp_path / "run")
    assert len(samples) == 200
    check(f"epochs, {recipe}", samples, 100, started)  # 0.1 MB an epoch
