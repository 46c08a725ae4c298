"""Files with the same bytes under two labels: find them, write them to a file, leave them out."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import read_csv, refuse_overwriting, write_csv
from covid_tfds.examples import Examples

COLUMNS = ("path", "other_path", "sha256")


def find_conflicts(examples: Examples) -> list[tuple[int, int]]:
    """Returns pairs of rows with the same bytes and different labels: the first image of each label, of each file."""
    rows_of: defaultdict[str, dict[int, list[int]]] = defaultdict(dict)
    for row, (sha256, label) in enumerate(zip(examples.sha256.tolist(), examples.labels.tolist(), strict=True)):
        rows_of[sha256].setdefault(label, []).append(row)
    pairs = []
    for by_label in rows_of.values():
        first, *others = by_label.values()
        pairs += [(first[0], row) for rows in others for row in rows]
        # Every file of a pair is left out by --exclude, so that further copies under the first label are named, too.
        pairs += [(row, others[0][0]) for row in first[1:] if others]
    return pairs


def refuse_conflicts(examples: Examples) -> None:
    """Raises UsageError if files with the same bytes have two labels; names a pair."""
    if pairs := find_conflicts(examples):
        one, other = pairs[0]
        names = [f"{examples.image_id[row]} ({examples.class_names[examples.labels[row]]})" for row in (one, other)]
        raise UsageError(
            f"{examples.name}: {len(pairs)} pair(s) of files have the same bytes under two labels, the first is "
            f"{names[0]} and {names[1]}. Remove the wrong ones, or leave all out: --conflicts FILE writes the pairs, "
            "--exclude FILE leaves both files of each pair out."
        )


def write_conflicts(examples: Examples, path: Path) -> None:
    """Writes the pairs to a CSV file with the columns path, other_path, sha256.

    Raises:
        UsageError: If the file can't be written.
    """
    rows = [
        {"path": examples.image_id[one], "other_path": examples.image_id[other], "sha256": examples.sha256[one]}
        for one, other in find_conflicts(examples)
    ]
    refuse_overwriting("--conflicts", path, [])
    write_csv(path, COLUMNS, rows)


def leave_out_conflicts(examples: Examples, path: Path) -> Examples:
    """Returns the examples without both files of each pair of a file that `write_conflicts` wrote.

    Raises:
        UsageError: If the file can't be read or has other columns.
    """
    try:
        rows = read_csv(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"--exclude {path} can't be read: {error}.") from error
    if any(set(COLUMNS) - set(row) for row in rows):
        raise UsageError(f"--exclude {path}: expected the columns {','.join(COLUMNS)}, as --conflicts writes them.")
    excluded = {row[name] for row in rows for name in ("path", "other_path")}
    return examples.subset(np.flatnonzero(~np.isin(examples.image_id, list(excluded))))
