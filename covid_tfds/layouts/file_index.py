"""Find the file that a table names: by its path, its path on another computer, its name or its stem."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from covid_tfds.common.names import printable


class FileIndex:
    """The files of a dataset, found by path, end of a path, file name or stem.

    Example:
        >>> index = FileIndex(["covid/a.png", "normal/a.png", "normal/B.png"])
        >>> [index.find(text) for text in ("covid\\\\a.png", "D:/images/normal/a.png", "b.png", "B", "a.png", "c.png")]
        [0, 1, 2, 2, None, None]
    """

    def __init__(self, names: Iterable[str]):
        """Indexes files; names: their paths below the dataset's folder, with forward slashes."""
        self._whole: dict[str, set[int]] = defaultdict(set)
        self._ends: dict[str, set[int]] = defaultdict(set)
        for row, name in enumerate(names):
            parts = name.split("/")
            for start in range(len(parts)):
                end = "/".join(parts[start:])
                for key in {end, end.lower(), _without_suffix(end), _without_suffix(end).lower()}:
                    self._ends[key].add(row)
                    if start == 0:
                        self._whole[key].add(row)

    def find(self, text: str) -> int | None:
        """Returns the row of the one file that a text names; None if there is none, or several."""
        for path in (printable(text), printable(text.replace("\\", "/").removeprefix("./"))):
            parts = path.split("/")
            for key in (path, path.lower()):
                for rows in (self._whole.get(key), self._ends.get(key)):
                    if rows and len(rows) == 1:
                        return min(rows)
            # A path from another computer ends with the path here.
            for start in range(1, len(parts)):
                tail = "/".join(parts[start:])
                for key in (tail, tail.lower()):
                    if len(found := self._whole.get(key, set())) == 1:
                        return min(found)
        return None


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and "/" not in suffix else name
