"""The COVID-19 Radiography Database's <class>.metadata.xlsx: the source of each image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from covid_tfds.common.names import printable
from covid_tfds.layouts.file_index import FileIndex
from covid_tfds.layouts.found import FoundImage
from covid_tfds.layouts.tables import read_table

SUFFIX = ".metadata.xlsx"
Parts = tuple[str, ...]


def add_sources(
    images: Sequence[FoundImage], folder: Path, others: Sequence[Parts]
) -> tuple[list[FoundImage], list[Parts]]:
    """Returns the images with the source that a sheet states, and the sheets that were read.

    Args:
        images: Of the dataset.
        folder: The dataset's.
        others: Its files that are no images, below the folder.

    Raises:
        UsageError: If a sheet is damaged.
    """
    sheets = [parts for parts in others if parts[-1].lower().endswith(SUFFIX)]
    result = list(images)
    for parts in sheets:
        table = read_table(folder.joinpath(*parts))
        name, url = table.find_column("filename"), table.find_column("url", "source")
        if name is None or url is None:
            continue
        label = parts[-1][: -len(SUFFIX)].lower()
        rows = [row for row, image in enumerate(result) if image.label.lower() == label]
        index = FileIndex(result[row].name for row in rows)
        for line in table.rows:
            if (found := index.find(line[name])) is not None and line[url]:
                image = result[rows[found]]
                result[rows[found]] = dataclasses.replace(image, facts={**image.facts, "source": printable(line[url])})
    return result, sheets
