"""trainer/lesson.ipynb: its shape, and that it runs and gives the results that are stored in it."""

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs nbformat, of the test extra")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient, of the test extra")

LESSON = Path(__file__).parents[2] / "trainer" / "lesson.ipynb"
MOST_LINES = 10
MOST_BYTES = 1_000_000
METRIC = re.compile(r"\b\d\.\d{3}\b")  # as the lesson prints its metrics
VERDICT = re.compile(r"with(?:out)? the square: +(.+)")


def read():
    return nbformat.read(LESSON, as_version=4)


def texts(notebook) -> list[str]:
    """What each code cell printed, or shows as a table."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [
        output.text if output.output_type == "stream" else output.data.get("text/html", "")
        for output in outputs
        if output.get("name") == "stdout" or "<table" in output.get("data", {}).get("text/html", "")
    ]


def metrics(notebook) -> list[float]:
    return [float(number) for text in texts(notebook) for number in METRIC.findall(text)]


def test_cells_are_short_and_each_exercise_has_a_folded_answer():
    cells = read().cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert max(len([line for line in source.splitlines() if line.strip()]) for source in code) <= MOST_LINES
    sections = sum(cell.source.startswith("## ") for cell in cells)
    exercises = [cell.source for cell in cells if "**Exercise.**" in cell.source]
    assert len(exercises) == sections >= 8
    assert all("<details><summary>Answer</summary>" in exercise for exercise in exercises)


def test_the_stored_outputs_are_complete_and_small():
    notebook = read()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert LESSON.stat().st_size < MOST_BYTES
    assert len(metrics(notebook)) >= 12
    assert not re.search(r"/tmp|/home|/root", LESSON.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.timeout(1200)  # 4 minutes on two idle cores
def test_the_lesson_runs_and_gives_the_stored_results(tmp_path, monkeypatch):
    monkeypatch.delenv("COVID_TFDS_MANUAL_DIR", raising=False)
    monkeypatch.delenv("COVID_TFDS_WEIGHTS", raising=False)
    stored, again = read(), read()
    nbclient.NotebookClient(again, timeout=1200, resources={"metadata": {"path": str(LESSON.parent)}}).execute()
    assert metrics(again) == pytest.approx(metrics(stored), abs=1e-3 + 1e-9)
    assert VERDICT.findall("".join(texts(again))) == VERDICT.findall("".join(texts(stored)))
    assert len(VERDICT.findall("".join(texts(stored)))) == 2
