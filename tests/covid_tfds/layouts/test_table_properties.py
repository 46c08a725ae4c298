"""A table is read as the plain UTF-8 CSV file of the same content, however it is written, or refused in one line."""

import csv
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import strategies as st

from covid_tfds.common.errors import UsageError
from tests.fakes.layouts import read, write_images
from tests.fakes.properties import check_property, in_two_sizes

COLUMNS = ("path", "label", "patient_id", "age", "source")
TEXT = st.text("aeé äñ,;\t|\"'-1", max_size=8).map(str.strip)


@dataclass(frozen=True)
class Written:
    """The rows of a table, and how they are written."""

    rows: list[tuple[str, ...]]
    encoding: str
    separator: str
    quoting: int
    line_end: str
    blanks: bool
    backslashes: bool
    twice: bool
    empty_lines: bool
    missing: str | None


@st.composite
def tables(draw) -> Written:
    rows = [
        (
            f"films/{number}.png",
            draw(st.sampled_from(["covid", "normal", "Viral Pneumonia"])),
            draw(st.sampled_from(["p1", "p2", "é3", "q4"])),
            draw(st.sampled_from(["63", "007Y", ""])),
            draw(TEXT),
        )
        for number in range(6)
    ]
    return Written(
        rows,
        draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"])),
        draw(st.sampled_from([",", ";", "\t", "|"])),
        draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        draw(st.sampled_from(["\n", "\r\n", "\r"])),
        *(draw(st.booleans()) for _ in range(4)),
        draw(st.sampled_from([None, None, None, "path", "label", "source"])),
    )


def plain(table: Written) -> bytes:
    return as_csv([COLUMNS, *table.rows], ",", csv.QUOTE_MINIMAL, "\n").encode()


def as_csv(rows, separator, quoting, line_end) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=line_end).writerows(rows)
    return text.getvalue()


def as_written(table: Written) -> bytes:
    rows = [*table.rows, *(table.rows[:2] if table.twice else [])]
    if table.backslashes:
        rows = [(row[0].replace("/", "\\"), *row[1:]) for row in rows]
    if table.blanks:
        rows = [tuple(f"{cell} " for cell in row) for row in rows]
    kept = [column for column in COLUMNS if column != table.missing]
    cells = [[row[COLUMNS.index(column)] for column in kept] for row in rows]
    text = as_csv([kept, *cells], table.separator, table.quoting, table.line_end)
    if table.empty_lines:
        text = table.line_end + text + table.line_end * 2
    return text.encode(table.encoding)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("tables"), *(f"films/{number}.png" for number in range(6)))


@in_two_sizes
def test_every_table_is_read_as_the_plain_one(films, examples):
    def check_table(table: Written) -> None:
        with tempfile.NamedTemporaryFile(dir=films, suffix=".csv") as file:
            path = Path(file.name)
            path.write_bytes(plain(table))
            expected = read(path)
            path.write_bytes(as_written(table))
            if table.missing in ("path", "label"):
                with pytest.raises(UsageError, match="--columns"):
                    read(path)
                return
            found = read(path)
        assert found.fingerprint == expected.fingerprint
        assert found.facts["age"].tolist() == pytest.approx(expected.facts["age"].tolist(), nan_ok=True)
        if table.missing is None:
            assert found.facts["source"].tolist() == expected.facts["source"].tolist()

    check_property(examples, tables(), check_table)
