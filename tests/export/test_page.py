"""The page for app developers: its snippets run as they stand, its facts are those of the artefacts."""

import dataclasses
import re
import shutil
import subprocess
import sys

import pytest

from covid_tfds.common.errors import INTENDED_USE
from covid_tfds.common.files import CHECKSUMS, read_checksums, read_json, sha256
from export import page
from export.file_names import ONNX, ONNX_INT8, PAGE, PARITY
from export.parity.golden import GoldenCase
from export.parity.report import ComparedImages, ParityReport
from export.runtime.predictor import Predictor


@pytest.fixture(scope="module")
def text(exported):
    return (exported / PAGE).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def p_covid(exported):
    cases = read_json(exported / "golden" / "golden.json")["cases"]
    return next(case["probabilities"][0] for case in cases if case["file"] == "grey-wide.png")


def snippet(text, language):
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    return found


def test_the_python_snippet_runs_and_is_right(text, exported, p_covid):
    done = subprocess.run(
        [sys.executable, "-c", snippet(text, "python")], cwd=exported, capture_output=True, text=True, check=True
    )
    (printed,) = re.findall(r"p_covid ([\d.]+)", done.stdout)
    assert float(printed) == pytest.approx(p_covid, abs=1e-5)
    assert f"p_covid {p_covid:.6f}" in text


@pytest.mark.slow
def test_the_javascript_snippet_runs_and_is_right(text, exported, p_covid, tmp_path):
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    (packages,) = re.findall(r"`npm install (.*?)`", text)
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", *packages.split()]
    done = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm install {packages} failed, is there a network? {done.stderr[-200:]}")
    for name in (ONNX, "golden"):
        (tmp_path / name).symlink_to(exported / name)
    (tmp_path / "snippet.mjs").write_text(snippet(text, "javascript"), encoding="utf-8")
    done = subprocess.run(["node", "snippet.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True)
    printed, shape = re.findall(r"p_covid ([\d.]+), heat map ([\d,]+)", done.stdout)[0]
    assert float(printed) == pytest.approx(p_covid, abs=1e-5)
    assert shape == "1,7,7"


@pytest.mark.parametrize("language", page.SNIPPETS)
def test_snippets_are_short(text, language):
    lines = [
        line
        for line in snippet(text, language).splitlines()
        if line and not line.startswith(("import", "using", "from"))
    ]
    assert len(lines) <= 10


def test_has_the_facts_an_app_developer_needs(text):
    assert text.count(INTENDED_USE) >= 2
    for needed in (
        "threshold",
        "0.4",
        "MONOCHROME1",
        "heat map",
        "must not be used",
        "uint8 [batch, height, width, 3]",
    ):
        assert needed in text
    assert "> SHORTCUT: " in text
    assert "The border tells the classes apart, in a test." in text
    assert "UNTRAINED" in text
    assert "{{" not in text
    assert "None" not in text.replace("[None]", "")


@pytest.mark.parametrize("attribution", [None, "By Simonyan and Zisserman, CC BY 4.0."])
def test_names_the_authors_of_trained_weights(exported, tmp_path, attribution):
    folder = shutil.copytree(exported, tmp_path / "export", ignore=shutil.ignore_patterns("saved_model", ONNX_INT8))
    info = dataclasses.replace(Predictor(exported / ONNX).info, attribution=attribution)
    report = ParityReport("pass", [], ComparedImages([], [], [], []), {})
    case = GoldenCase("grey-wide.png", 1, 1, "", True, [], [0.5, 0.5], [], {})
    page.write_page(folder, info, report, [case], (7, 7), 10)
    assert ("Simonyan" in (folder / PAGE).read_text(encoding="utf-8")) == (attribution is not None)


def test_has_the_parity_table(text, exported):
    for stage in read_json(exported / PARITY)["stages"]:
        assert f"| {stage['stage']} | {stage['compares']} |" in text


def test_every_file_is_in_the_checksums(exported):
    listed = read_checksums(exported)
    files = {file.relative_to(exported).as_posix() for file in exported.rglob("*") if file.is_file()}
    assert set(listed) == files - {CHECKSUMS}
    for name, digest in listed.items():
        assert sha256(exported / name) == digest


def test_golden_images_are_small_enough_to_ship(exported):
    assert sum(file.stat().st_size for file in (exported / "golden").iterdir()) < 600_000
