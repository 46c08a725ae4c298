"""Escape texts of others (names of files, patients) for Markdown, and write tables. No TensorFlow."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any

MARKUP = re.compile(r"[\\`*\[\]|]")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def escaped(value: Any) -> Any:
    """Returns a JSON value or dataclass with every text made harmless, also in a table: one line, no HTML, no markup.

    Example:
        >>> escaped({"image": ["<b>", 1]})
        {'image': ['&lt;b&gt;', 1]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{name: escaped(item) for name, item in vars(value).items()})
    if isinstance(value, dict):
        return {escaped(key): escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(escaped(item) for item in value)
    if not isinstance(value, str):
        return value
    one_line = " ".join(CONTROL.sub(" ", value).split())
    return MARKUP.sub(r"\\\g<0>", one_line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table in GitHub's Markdown, its columns aligned so that it also reads well in a terminal.

    Args:
        header: One text a column.
        rows: The same for each line; texts as they are to stand there, see `escaped`.

    Example:
        >>> print(format_table(["images", "seconds"], [["10", "1.5"]]))
        | images | seconds |
        |--------|---------|
        | 10     | 1.5     |
    """
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    head, *body = (
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )
    return "\n".join([head, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *body])
