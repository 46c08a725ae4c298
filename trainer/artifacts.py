"""The run folder: its file names, and how they are written so that a name never holds half a file. Never TensorFlow.

A run is made in `<output>.incomplete` and renamed to `<output>` when everything in it is there, SHA256SUMS last.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import shutil
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
EPOCHS = "epochs.npz"
CHECKSUMS = "SHA256SUMS"
SEAL = "sha256"
LOCK = ".lock"
INCOMPLETE = ".incomplete"
READ = (CONFIG, ENVIRONMENT, MODEL, METRICS, PREDICTIONS)  # what `load` needs and vouches for
REWRITTEN = (REPORT, REPORT_JSON, MODEL_CARD)  # by `python -m trainer.evaluate`, so that no checksum could stay right
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
PREDICTION_COLUMNS = ("image_id", "patient_id", "split", "label", "p_covid", "sha256")
OUT_OF_FOLD_COLUMNS = ("image_id", "patient_id", "label", "repeat", "fold", "p_covid")
EXTERNAL_COLUMNS = ("image_id", "patient_id", "label", "p_covid")


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
    """Read a finished run folder; raises UsageError that names what is missing, damaged or of a newer version."""
    path = Path(path)
    if not path.is_dir():
        raise UsageError(f"{path}: no such run folder. `python -m trainer` makes one and prints its name.")
    for name in (*READ, CHECKSUMS):
        if not (path / name).is_file():
            raise UsageError(f"{path} is not a finished run folder: {name} is missing. Run `python -m trainer` again.")
    verify(path, READ)
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
    """runs/<config>-<time>: of the last run of the same command that was stopped, or else of now."""
    for partial in sorted(Path("runs").glob(f"{config.dataset_name}-*{INCOMPLETE}"), reverse=True):
        with contextlib.suppress(OSError, ValueError, UsageError, filelock.Timeout):
            same = Config.from_json((partial / CONFIG).read_text(encoding="utf-8")).same_job(config)
            if same and not destination(partial).exists():
                with filelock.FileLock(partial / LOCK).acquire(timeout=0):  # else it is being written right now
                    return destination(partial)
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

    Raises UsageError when `output` exists, can't be written, or another process is writing it, and for an OSError in
    the block. After an exception the incomplete folder stays, for a later run with the same output to go on from.
    SHA256SUMS is written last.
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
            _remove_leftovers(partial)
            write_checksums(partial)
            partial.rename(output)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR) and os.path.lexists(output):
                raise UsageError(f"--output {output} appeared meanwhile; this run is in {partial}.") from error
            raise UsageError(f"--output {output}: {error}. What is done stays in {partial}.") from error
        finally:
            _remove_if_empty(partial)
    (output / LOCK).unlink(missing_ok=True)


def _remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed in the middle of `atomic` have left."""
    for path in folder.rglob(".*"):
        if path.is_file() and path.name != LOCK:
            path.unlink()


def _remove_if_empty(partial: Path) -> None:
    """A run that failed before it wrote anything leaves nothing behind."""
    with contextlib.suppress(OSError):
        if sys.exc_info()[0] is not None and [path.name for path in partial.iterdir()] == [LOCK]:
            (partial / LOCK).unlink()
            partial.rmdir()


def clear(folder: Path, keep: Iterable[str] = ()) -> None:
    """Empty a run being made of what a stopped or failed try has left, but for the names to keep."""
    for entry in folder.iterdir():
        if entry.name in (LOCK, *keep):
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def write_checksums(folder: Path) -> None:
    """Write SHA256SUMS, as `sha256sum -c` reads it: every file in the folder and below but those in REWRITTEN."""
    unlisted = (LOCK, CHECKSUMS, *REWRITTEN)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in unlisted)
    lines = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    write_text(folder / CHECKSUMS, "".join(lines))


def verify(folder: Path, names: Iterable[str]) -> None:
    """Raise UsageError unless files of a folder are those that its SHA256SUMS lists."""
    lines = (folder / CHECKSUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in names:
        if sha256(folder / name) != listed.get(name):
            raise UsageError(
                f"{folder / name} is damaged or was changed: it is not the file that {CHECKSUMS} lists. Restore it or "
                "train again."
            )


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; it takes `path`'s name, flushed to disk, when the block ends well.

    Raises UsageError for an OSError in the block: a full disk, a folder that is gone or can't be written.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path} can't be written: {_reason(error)}. Mend that and give the same command again: it goes on."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _reason(error: OSError) -> str:
    """What the system says; HDF5 tells it in the middle of a long message of its own."""
    return os.strerror(error.errno) if error.errno else str(error).strip().splitlines()[0]


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text under a final name in one step."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value) -> None:
    """Write strict JSON (no NaN; undefined figures are null)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_sealed(path: Path, value: dict) -> None:
    """Write a JSON object with the SHA-256 of its content in it, for files that change too often for SHA256SUMS."""
    write_json(path, {**value, SEAL: _seal(value)})


def read_sealed(path: Path) -> dict:
    """Read what `write_sealed` wrote; raises UsageError that names the file when it is damaged or was changed."""
    value = read_json(path)
    if not isinstance(value, dict) or value.pop(SEAL, None) != _seal(value):
        raise UsageError(f"{path} is damaged or was changed: its content is not what its {SEAL} says")
    return value


def _seal(value: dict) -> str:
    return hashlib.sha256(json.dumps(json.loads(json.dumps(value)), sort_keys=True).encode()).hexdigest()


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
