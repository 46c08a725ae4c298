"""The commands on few drawn radiographs, as processes of their own, and what each has decided when it is done."""

import contextlib
import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from covid_tfds import phantom

ROOT = Path(__file__).parent.parent.parent
TFDS = Path(sys.executable).with_name("tfds")
METRICS = ("metrics.json", "predictions.csv", "out_of_fold.csv", "history.csv", "saliency.json")


@dataclass(frozen=True)
class Command:
    """A command to be killed. argv: of a folder for its output and one for what it needs.

    final: its result's name in the output folder; writing: what is there when it begins to write the result (a glob);
    outcome: what a result says, without what depends on the clock.
    """

    argv: Callable[[Path, Path], list[str]]
    final: str
    writing: str
    outcome: Callable[[Path], dict]


def train(*flags: str) -> Callable[[Path, Path], list[str]]:
    """A training on 20 drawn radiographs."""

    def argv(out: Path, needs: Path) -> list[str]:
        where = ["--data_dir", str(needs / "data"), "--output", str(out / "run")]
        return [sys.executable, "-m", "trainer", "--demo", "--num_examples", "20", *flags, *where]

    return argv


def of_run(run: Path) -> dict:
    """The metrics of a run folder, and of its search when it had one."""
    found = {name: (run / name).read_text() for name in METRICS}
    if (run / "tuning.csv").exists():
        with (run / "tuning.csv").open(newline="") as file:
            found["trials"] = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
        found["best"] = json.loads((run / "tuning.json").read_text())["best"]
    return found


def of_dataset(folder: Path) -> dict:
    """Every image of a prepared dataset, by id."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    raw = builder.as_dataset(split="all", decoders={"image": tfds.decode.SkipDecoding()})
    return {row["image_id"]: hashlib.sha256(row["image"]).hexdigest() for row in raw.as_numpy_iterator()}


def of_features(folder: Path) -> dict:
    """The features of each image in a cache, whatever shards they lie in."""
    found = {}
    for path in folder.rglob("*.npz"):
        with np.load(path) as shard:
            for name in set(shard.files) - {"key", "images"}:
                for index, image in enumerate(shard["images"]):
                    place = f"{path.parent.name}/{name}/{image}"
                    found[place] = hashlib.sha256(shard[name][:, index].tobytes()).hexdigest()
    return found


def of_external(folder: Path) -> dict:
    """The files of an external validation."""
    return {name: (folder / name).read_text() for name in ("metrics.json", "predictions.csv")}


def shell(script: str, *arguments: str | Path) -> list[str]:
    """A script for `sh` in which $1 is Python and the arguments follow."""
    return ["sh", "-ec", script, "sh", sys.executable, *map(str, arguments)]


def of_export(folder: Path) -> dict:
    """The model file, which is the same for every export of a run, and the right answers beside it."""
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    return {"model.onnx": digest, "golden": (folder / "golden" / "golden.json").read_text()}


COMMANDS = {
    "build": Command(
        lambda out, needs: [str(TFDS), "build", "covid_tfds", "--config", "phantom", "--data_dir", str(out)],
        "covid_tfds/phantom/1.0.0",
        "covid_tfds/phantom/incomplete.*",
        of_dataset,
    ),
    "train": Command(train(), "run", "run.incomplete/predictions.csv", of_run),
    "tutorial": Command(train("--recipe", "tutorial", "--epochs", "4"), "run", "run.incomplete/epochs.npz", of_run),
    "tune": Command(train("--tune", "--trials", "4", "--folds", "2"), "run", "run.incomplete/tuner/trial_0", of_run),
    "export": Command(
        lambda out, needs: [sys.executable, "-m", "export", str(needs / "run"), "--output", str(out / "export")],
        "export",
        "export.incomplete/saved_model",
        of_export,
    ),
    "predict": Command(
        lambda out, needs: [
            *(sys.executable, "-m", "export.predict", str(needs / "run" / "export" / "model.onnx")),
            *(str(needs / "images"), "--csv", str(out / "predictions.csv")),
        ],
        "predictions.csv",
        "predictions.csv.*.incomplete",
        lambda path: {"rows": path.read_text()},
    ),
    "extract": Command(
        lambda out, needs: shell(
            '"$1" -m trainer.extract --dataset "$2" --weights random --features "$3/part"; mv "$3/part" "$3/features"',
            *(needs / "classes", out),
        ),
        "features",
        "part/*/*.npz",
        of_features,
    ),
    "evaluate": Command(
        lambda out, needs: shell(
            '[ -d "$3/run" ] || { cp -r "$2/run" "$3/copy"; mv "$3/copy" "$3/run"; }\n'
            '"$1" -m trainer.evaluate "$3/run" --dataset "$2/classes"',
            *(needs, out),
        ),
        "run/external/classes/metrics.json",
        "run/external/classes",
        lambda path: of_external(path.parent),
    ),
    "audit": Command(
        lambda out, needs: [
            *(sys.executable, "-m", "covid_tfds.audit", "--dataset", str(needs / "classes")),
            *("--output", str(out / "audit")),
        ],
        "audit",
        "audit.incomplete/*",
        lambda path: {"audit.json": (path / "audit.json").read_text()},
    ),
}


def make_needs(needs: Path, name: str) -> None:
    """What a command takes: a prepared dataset, a run, its model and 30 images, or a folder with two classes."""
    if name in ("train", "tutorial", "tune", "export", "predict", "evaluate"):
        environment = {"XDG_CACHE_HOME": str(needs / "cache")}
        check(start(train()(needs, needs), **environment))
    if name == "predict":
        check(start([sys.executable, "-m", "export", str(needs / "run")]))
        (needs / "images").mkdir()
        for index in range(30):
            (needs / "images" / f"{index}.png").write_bytes(phantom.encode_png(phantom.draw(index).image))
    if name in ("extract", "evaluate", "audit"):
        for index in range(100, 140):
            drawn = phantom.draw(index)
            (needs / "classes" / drawn.label).mkdir(parents=True, exist_ok=True)
            (needs / "classes" / drawn.label / f"{index}.png").write_bytes(phantom.encode_png(drawn.image))


def start(argv: list[str], **environment: str) -> subprocess.Popen:
    """A process in a group of its own; what it prints goes to its pipes."""
    return subprocess.Popen(
        argv,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def check(process: subprocess.Popen) -> str:
    """What a process printed; AssertionError unless it ends with code 0."""
    printed = process.communicate(timeout=900)[0]
    assert process.returncode == 0, printed
    return printed


def kill(process: subprocess.Popen, number: int = signal.SIGKILL) -> str:
    """Send the whole group a signal, and return what the process had printed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    return process.communicate(timeout=120)[0]


def run_until(process: subprocess.Popen, condition: Callable[[], bool], seconds: float = 600) -> bool:
    """Wait for a condition; False when the process ended before it."""
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end, "timed out"
        time.sleep(0.005)
    return True
