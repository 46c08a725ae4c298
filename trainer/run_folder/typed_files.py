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
    """Writes rows of a dataclass as a CSV file whose columns are its fields."""
    write_csv(path, [field.name for field in dataclasses.fields(kind)], map(vars, rows))


def read_rows(kind: type[Result], path: Path) -> tuple[Result, ...]:
    """Returns the rows that `write_rows` wrote.

    Args:
        kind: The dataclass; its fields are str, float or int.
        path: The file.

    Raises:
        UsageError: If a column is missing or a value is of another type.
    """
    return tuple(_convert(kind, row, CSV, path) for row in read_csv(path))


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
