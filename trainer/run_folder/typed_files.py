"""Read JSON and CSV files of a run folder into the dataclasses they were written from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import dacite

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import read_csv, read_json

Result = TypeVar("Result")
JSON = dacite.Config(cast=[tuple], strict=True)
CSV = dacite.Config(type_hooks={float: float, int: int})  # a CSV file holds texts


def read_json_as(kind: type[Result], path: Path) -> Result:
    """Returns the content of a JSON file as an instance of a dataclass.

    Args:
        kind: The dataclass; its fields may be dataclasses, tuples and dicts of them.
        path: A file with the JSON that `covid_tfds.common.files.to_json` makes of it.

    Raises:
        UsageError: If the file is no JSON, or its fields are not those of the dataclass.
    """
    return _convert(kind, read_json(path), JSON, path)


def read_csv_as(kind: type[Result], path: Path) -> tuple[Result, ...]:
    """Returns the rows of a CSV file as instances of a dataclass whose fields are named as its columns.

    Args:
        kind: The dataclass; its fields are str, float or int.
        path: A file that `covid_tfds.common.files.write_csv` wrote.

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
