"""Read tables: CSV and TSV as spreadsheets write them, and the first sheet of .xlsx files."""

from __future__ import annotations

import csv
import io
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

from covid_tfds.common.errors import UsageError, describe_error
from covid_tfds.common.names import printable

SEPARATORS = ",;\t|"
MAX_FIELD = 10 << 20  # characters; Python's own limit of 128 kB would refuse a report in a cell
# Byte order marks, the longer one first where one begins with another.
MARKS = {b"\xff\xfe\x00\x00": "utf-32", b"\x00\x00\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        path: The file.
        columns: Its column names, without blanks around them.
        rows: The value of each column in each row, without blanks around it; rows without any value are left out.
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[dict[str, str]]

    def find_column(self, *names: str) -> str | None:
        """Returns the first column with one of these names, the first name first; case, blanks and _ don't matter."""
        simple: dict[str, str] = {}
        for column in self.columns:
            simple.setdefault(simplify(column), column)
        return next((simple[name] for name in names if name in simple), None)


def simplify(name: str) -> str:
    """Returns a column's name in lower case, without blanks, hyphens and underscores."""
    return "".join(c for c in name.lower() if c not in " _-.")


def read_table(path: Path) -> Table:
    """Reads a table with a header, in any of the usual encodings, separators and line ends.

    Raises:
        UsageError: If it can't be read, has no header, or names a column twice.
    """
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: expected a table with a header, got a folder or a device.")
    try:
        cells = _read_sheet(path) if path.suffix.lower() == ".xlsx" else _read_text(path)
    except UsageError:
        raise
    except Exception as error:  # openpyxl raises many kinds for a damaged file
        raise UsageError(f"{path}: expected a table with a header, got: {describe_error(error)}.") from error
    rows = [[cell.strip() for cell in row] for row in cells]
    rows = [row for row in rows if any(row)]
    columns = tuple(printable(name) for name in rows[0]) if rows else ()
    named = [name for name in columns if name]
    if not named:
        raise UsageError(f"{path}: expected a table with a header, got an empty file.")
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise UsageError(f"{path}: the column '{twice[0]}' is there twice. Rename or remove one.")
    for number, row in enumerate(rows[1:], start=2):
        if any(row[len(columns) :]):
            raise UsageError(f"{path}: row {number} has more values than the header: {printable(str(row))[:200]}.")
    # A row may end early: spreadsheets leave out separators at the end.
    padded = (dict(zip(columns, [*row, *[""] * len(columns)], strict=False)) for row in rows[1:])
    return Table(path, tuple(named), list(padded))


def _read_text(path: Path) -> list[list[str]]:
    content = path.read_bytes()
    if zipfile.is_zipfile(io.BytesIO(content)):
        raise UsageError(f"{path}: expected a folder or a table, got a zip file. Unpack it first.")
    text = _decode(content)
    header = text.lstrip("\r\n").splitlines()[0] if text.strip() else ""
    separator = max(SEPARATORS, key=header.count)
    before = csv.field_size_limit(MAX_FIELD)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    finally:
        csv.field_size_limit(before)


def _decode(content: bytes) -> str:
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return content.decode(encoding)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # What Windows calls "ANSI"; five of its bytes mean nothing.
        return content.decode("cp1252", "replace")


def _read_sheet(path: Path) -> list[list[str]]:
    import openpyxl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # styles and extensions that openpyxl does not keep
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            return [["" if value is None else str(value) for value in row] for row in book.worksheets[0].values]
        finally:
            book.close()
