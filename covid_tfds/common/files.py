"""Read and write files so that a final name never holds half a file: text, JSON, CSV, checksums."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from covid_tfds.common.errors import UsageError

CHECKSUMS = "SHA256SUMS"
SEAL = "sha256"
TABLES = (".csv", ".tsv", ".txt")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; it takes `path`'s name, flushed to disk, when the block ends well.

    Raises:
        UsageError: For an OSError in the block: a full disk, a folder that was removed or can't be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "numbers.txt")
        >>> with atomic(path) as temporary:
        ...     _ = temporary.write_text("1 2 3")
        >>> path.read_text()
        '1 2 3'
    """
    temporary = path.with_name(f".{path.stem}.{socket.gethostname()}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path} can't be written: {_reason(error)}. Correct that and give the same command again: it continues."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _reason(error: OSError) -> str:
    """Returns the system's words for an error, which HDF5 hides in a long message of its own."""
    return os.strerror(error.errno) if error.errno else str(error).strip().splitlines()[0]


def find_cache_folder(name: str) -> Path:
    """Returns covid_tfds/<name> in the user's cache folder ($XDG_CACHE_HOME or ~/.cache); may be deleted any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "covid_tfds" / name


def write_checksums(folder: Path, unlisted: Iterable[str] = ()) -> None:
    """Write SHA256SUMS, as `sha256sum -c` reads it: all files below the folder but `unlisted` files and folders."""
    passed_over = {CHECKSUMS, *unlisted}
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    listed = [path for path in files if passed_over.isdisjoint(path.parts)]
    lines = [f"{sha256(folder / path)}  {path.as_posix()}\n" for path in listed]
    write_text(folder / CHECKSUMS, "".join(lines))


def read_checksums(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file that a folder's SHA256SUMS lists; empty where there is none."""
    try:
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def verify(folder: Path, names: Iterable[str]) -> None:
    """Raise UsageError unless files of a folder are those that its SHA256SUMS lists."""
    listed = read_checksums(folder)
    for name in names:
        if sha256(folder / name) != listed.get(name):
            raise UsageError(
                f"{folder / name} is damaged or was changed: it is not the file that {CHECKSUMS} lists. Restore it or "
                "train again."
            )


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text under a final name in one step."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def to_json(value: Any) -> Any:
    """Turn a result into plain JSON values: dict, list, str, int, float, bool, None.

    Args:
        value: A dataclass, a dict with string keys, a list or tuple, a NumPy scalar or array, a plain value, or any
            nesting of these. A dataclass field that is None and has None as its default is left out.

    Raises:
        TypeError: If a value of another type is in it.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Estimate:
        ...     value: float
        ...     ci95: tuple[float, float] | None = None
        >>> to_json({"auroc": Estimate(np.float32(0.5)), "accuracy": Estimate(1.0, (0.75, 1.0))})
        {'auroc': {'value': 0.5}, 'accuracy': {'value': 1.0, 'ci95': [0.75, 1.0]}}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {field.name: to_json(item) for field, item in fields if not (item is None and field.default is None)}
    if isinstance(value, np.ndarray | np.generic):
        return to_json(value.tolist())
    if isinstance(value, dict):
        if others := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"JSON keys must be str, got {others[0]!r}")
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{type(value).__name__} has no JSON form: expected a dataclass, dict, list, NumPy or plain value")


def write_json(path: Path, value) -> None:
    """Write strict JSON (no NaN; undefined metrics are null)."""
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


def refuse_overwriting(flag: str, output: Path, inputs: Iterable[Path]) -> None:
    """Raise UsageError where an output would replace an input, or a file that is no table of an earlier command.

    Args:
        flag: Names the output in the error.
        output: File or folder to write.
        inputs: What the command reads; a link or another name of the output counts, too.
    """
    if not output.exists():
        return
    if any(path.exists() and path.samefile(output) for path in inputs):
        raise UsageError(f"{flag} {output} is an input of this command, and would be overwritten: choose another name.")
    if output.is_file() and output.suffix.lower() not in TABLES:
        raise UsageError(f"{flag} {output} exists and is no {' or '.join(TABLES)} file: choose another name.")


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[dict]) -> None:
    """Write a CSV file with a header, its lines as `format_csv_row` makes them."""
    names = list(columns)
    write_text(path, "".join(format_csv_row(names, row) for row in [dict(zip(names, names, strict=True)), *rows]))


def format_csv_row(columns: Iterable[str], row: dict) -> str:
    """Returns one line of a CSV file, safe to open in a spreadsheet.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, as OWASP advises, and so does one
    that begins with an apostrophe: `read_csv` takes it away again. Numbers stay as they are.

    Args:
        columns: Keys of the row in the order of the file; missing values stay empty.
        row: Value by column.

    Raises:
        ValueError: If the row has a key that is no column.

    Example:
        >>> format_csv_row(["image", "p_covid"], {"image": "=1+1", "p_covid": -0.5})
        "'=1+1,-0.5\\n"
    """
    text = io.StringIO()
    # Python quotes a carriage return only where it ends lines; unquoted, it would begin a new row.
    has_return = any("\r" in str(value) for value in row.values())
    writer = csv.DictWriter(
        text, list(columns), lineterminator="\n", quoting=csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL
    )
    writer.writerow({name: _no_formula(value) for name, value in row.items()})
    return text.getvalue()


def read_csv(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a file that `write_csv` wrote, as they were given."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, restkey="", restval=""))
    return [{name: value.removeprefix("'") for name, value in row.items() if name} for row in rows]


def _no_formula(value):
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
