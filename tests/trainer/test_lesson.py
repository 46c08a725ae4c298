"""trainer/lesson.ipynb: its shape, and that it runs and gives the results that are stored in it."""

import ast
import importlib
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs nbformat, of the test extra")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient, of the test extra")

LESSON = Path(__file__).parents[2] / "trainer" / "lesson.ipynb"
PACKAGES = {"covid_tfds", "trainer", "export"}
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


def sections(notebook) -> list[list]:
    """The cells of each section, the heading first."""
    found: list[list] = []
    for cell in notebook.cells:
        if cell.source.startswith("## "):
            found.append([])
        if found:
            found[-1].append(cell)
    return found


def count_pictures(cell) -> int:
    """The images, plots and pages that a code cell shows: galleries count once."""
    shown = [output.data for output in cell.outputs if output.output_type == "execute_result"]
    html = [data.get("text/html", "") for data in shown]
    return sum("image/jpeg" in data for data in shown) + sum(bool(re.search("<(img|iframe)", it)) for it in html)


SECTIONS = [pytest.param(cells, id=cells[0].source.splitlines()[0]) for cells in sections(read())]


@pytest.mark.parametrize("cells", SECTIONS)
def test_a_section_is_a_question_a_short_cell_a_picture_and_an_exercise_with_a_folded_answer(cells):
    question, code, exercise = cells
    assert re.match(r"## \d+\. [^\n]+\?\n", question.source)
    assert 1 <= len([line for line in code.source.splitlines() if line.strip()]) <= MOST_LINES
    assert count_pictures(code) == 1
    assert exercise.source.count("**Exercise.**") == 1
    assert exercise.source.count("<details><summary>Answer</summary>") == exercise.source.count("</details>") == 1


def test_the_sections_are_numbered_and_the_first_cell_is_short():
    assert [int(cells.values[0][0].source.split()[1][:-1]) for cells in SECTIONS] == list(range(1, len(SECTIONS) + 1))
    first = next(cell.source for cell in read().cells if cell.cell_type == "code")
    assert len([line for line in first.splitlines() if line.strip()]) <= MOST_LINES


def test_cells_and_exercises_use_public_names_only():
    exercises = [block for cell in read().cells for block in re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL)]
    code = [cell.source.replace("%pip", "pass  #") for cell in read().cells if cell.cell_type == "code"]
    nodes = [node for block in (*code, *exercises) for node in ast.walk(ast.parse(block))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules = [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    assert {name for name in (*names, *modules) if name.split(".")[0] in PACKAGES} == PACKAGES
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in PACKAGES:
            assert node.attr in importlib.import_module(node.value.id).__all__


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
