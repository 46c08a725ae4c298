"""Write and read JSON and CSV files of a run folder as dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import dacite

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import read_csv, read_json, to_json, write_csv, write_json

Result = TypeVar("Result")
JSON = dacite.Config(cast=[tuple], strict=True)
CSV = dacite.Config(type_hooks={float: float, int: int})  # a CSV file holds texts
PROBABILITIES, PREFIX = "probabilities", "p_"  # a field that is a column p_<class> for each class


def write_result(path: Path, result: Any) -> None:
    """Writes a dataclass as a JSON file."""
    write_json(path, to_json(result))


def read_result(kind: type[Result], path: Path) -> Result:
    """Returns the dataclass that `write_result` wrote.

    Args:
        kind: The dataclass; its fields may be dataclasses, tuples and dicts of them.
        path: The file.

    Raises:
        UsageError: If the file is no JSON, or its fields are not those of the dataclass.
    """
    return _convert(kind, read_json(path), JSON, path)


def write_rows(path: Path, kind: type, rows: Sequence[Any]) -> None:
    """Writes rows of a dataclass as a CSV file whose columns are its fields.

    Args:
        path: The file.
        kind: The dataclass.
        rows: At least one where it has a field `probabilities`, by class: a column p_<class> for each.
    """
    columns: list[str] = []
    for field in dataclasses.fields(kind):
        columns += (
            [f"{PREFIX}{name}" for name in rows[0].probabilities] if field.name == PROBABILITIES else [field.name]
        )
    write_csv(path, columns, map(_flatten, rows))


def _flatten(row: Any) -> dict[str, Any]:
    values = dict(vars(row))
    return {f"{PREFIX}{name}": p for name, p in values.pop(PROBABILITIES, {}).items()} | values


def read_rows(kind: type[Result], path: Path) -> tuple[Result, ...]:
    """Returns the rows that `write_rows` wrote.

    Args:
        kind: The dataclass; its fields are str, float or int, or `probabilities`.
        path: The file.

    Raises:
        UsageError: If a column is missing or a value is of another type.
    """
    rows: list[dict[str, Any]] = list(read_csv(path))
    if PROBABILITIES in {field.name for field in dataclasses.fields(kind)}:  # type: ignore[arg-type]
        rows = [
            row | {PROBABILITIES: {name[len(PREFIX) :]: p for name, p in row.items() if name.startswith(PREFIX)}}
            for row in rows
        ]
        if rows and not rows[0][PROBABILITIES]:
            raise UsageError(f"{path} is damaged or was written by another version: no column {PREFIX}<class>.")
    return tuple(_convert(kind, row, CSV, path) for row in rows)


def _convert(kind: type[Result], content: Any, config: dacite.Config, path: Path) -> Result:
    try:
        if not isinstance(content, dict):
            raise dacite.WrongTypeError(dict, content)
        return dacite.from_dict(kind, content, config)
    except (dacite.DaciteError, ValueError) as error:
        raise UsageError(
            f"{path} is damaged or was written by another version: expected {kind.__name__}, got {error}. Restore it "
            "or train again."
        ) from error
