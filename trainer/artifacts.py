"""The run folder: its file names, and how they are written so that a name never holds half a file. Never TensorFlow.

A run is made in `<output>.incomplete` and renamed to `<output>` when everything in it is there.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

from trainer.config import Config, UsageError

SCHEMA = 1
CONFIG = "config.json"
ENVIRONMENT = "environment.json"
MODEL = "model.keras"
LAST_GOOD = "last_good.keras"
HISTORY = "history.csv"
PLOT = "plot.png"
PREDICTIONS = "predictions.csv"
METRICS = "metrics.json"
OUT_OF_FOLD = "out_of_fold.csv"
EXTERNAL = "external"
TUNER = "tuner"
FOLDS = "folds.json"
TUNING = "tuning.json"
TUNING_TABLE = "tuning.csv"
TUNING_PLOT = "tuning.png"
TENSORBOARD = "tensorboard"
SALIENCY = "saliency.json"
SALIENCY_PICTURES = "saliency"
DATASET = "dataset.json"
REPORT = "report.html"
REPORT_JSON = "report.json"
MODEL_CARD = "MODEL_CARD.md"
LOCK = ".lock"
INCOMPLETE = ".incomplete"
PREDICTION_COLUMNS = ("image_id", "patient_id", "split", "label", "p_covid", "sha256")
OUT_OF_FOLD_COLUMNS = ("image_id", "patient_id", "label", "repeat", "fold", "p_covid")
EXTERNAL_COLUMNS = ("image_id", "patient_id", "label", "p_covid")


FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
@dataclass(frozen=True)
class Run:
    """A finished run folder, read back. predictions: one dict an image, p_covid a float in [0, 1]."""

    path: Path
    config: Config
    environment: dict
    metrics: dict
    predictions: list[dict]

    @property
    def model_path(self) -> Path:
        """The full Keras model: [batch, height, width, 3] in 0..255 -> [batch, 2], covid first."""
        return self.path / MODEL


def load(path: str | Path) -> Run:
    """Read a finished run folder; raises UsageError that names what is missing or was written by a newer version."""
    path = Path(path)
    if not path.is_dir():
        raise UsageError(f"{path}: no such run folder. `python -m trainer` makes one and prints its name.")
    for name in (CONFIG, ENVIRONMENT, MODEL, METRICS, PREDICTIONS):
        if not (path / name).is_file():
            raise UsageError(f"{path} is not a finished run folder: {name} is missing. Run `python -m trainer` again.")
    environment = read_json(path / ENVIRONMENT)
    if environment.get("schema") != SCHEMA:
        raise UsageError(
            f"{path / ENVIRONMENT}: run folder schema {environment.get('schema')}, this version reads {SCHEMA}. "
            "Use the version that wrote it, or train again."
        )
    predictions = [{**row, "p_covid": float(row["p_covid"])} for row in read_csv(path / PREDICTIONS)]
    return Run(
        path=path,
        config=Config.from_json((path / CONFIG).read_text(encoding="utf-8")),
        environment=environment,
        metrics=read_json(path / METRICS),
        predictions=predictions,
    )


def default_output(config: Config) -> Path:
    """runs/<config>-<time>, a name that is not taken."""
    return Path("runs") / f"{config.dataset_name}-{time.strftime('%Y%m%d-%H%M%S')}"


def staging(output: Path) -> Path:
    """Where a run is made before it is complete: beside its final place, on the same file system."""
    return output.with_name(output.name + INCOMPLETE)


def destination(partial: Path) -> Path:
    """The inverse of `staging`."""
    return partial.with_name(partial.name.removesuffix(INCOMPLETE))


@contextlib.contextmanager
def new_run(output: str | Path) -> Iterator[Path]:
    """Give the folder to write a run into, and rename it to `output` when the block ends without an exception.

    Raises UsageError when `output` exists, can't be written, or another process is writing it. After an exception the
    incomplete folder stays, for a later run with the same output to go on from.
    """
    output = Path(output)
    if os.path.lexists(output):
        raise UsageError(f"--output {output} exists and is not touched: choose another name or remove it first.")
    partial = staging(output)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(partial / LOCK)
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise UsageError(f"--output {output}: another process is writing this run. Choose another name.") from error
    except OSError as error:
        raise UsageError(f"--output {output} can't be written: {error.strerror or error}. Choose another.") from error
    with lock:
        try:
            yield partial
        finally:
            _remove_if_empty(partial)
        try:
            partial.rename(output)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise UsageError(f"--output {output} appeared meanwhile; this run is in {partial}.") from error
            raise
    (output / LOCK).unlink(missing_ok=True)


def _remove_if_empty(partial: Path) -> None:
    """A run that failed before it wrote anything leaves nothing behind."""
    if sys.exc_info()[0] is not None and [path.name for path in partial.iterdir()] == [LOCK]:
        (partial / LOCK).unlink()
        partial.rmdir()


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; it takes `path`'s name, flushed to disk, when the block ends well."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text under a final name in one step."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value) -> None:
    """Write strict JSON (no NaN; undefined figures are null)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path):
    """Read a JSON file; raises UsageError that names it when it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is damaged: expected JSON, got {error}. Restore it or train again.") from error


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[dict]) -> None:
    """Write a CSV file with a header.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, as OWASP advises, and so does one
    that begins with an apostrophe: `read_csv` takes it away again. Numbers stay as they are.
    """
    text = io.StringIO()
    names = list(columns)
    plain, quoted = (
        csv.DictWriter(text, names, lineterminator="\n", quoting=q) for q in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
    )
    plain.writeheader()
    for row in rows:
        # Python quotes a carriage return only where it ends lines; unquoted, it would begin a new row.
        writer = quoted if any("\r" in str(value) for value in row.values()) else plain
        writer.writerow({name: _no_formula(value) for name, value in row.items()})
    write_text(path, text.getvalue())


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a file of `write_csv`, as they were given."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, restkey="", restval=""))
    return [{name: value.removeprefix("'") for name, value in row.items() if name} for row in rows]


def _no_formula(value):
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
