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
from export.file_names import GOLDEN, GOLDEN_ANSWERS, MODEL_JSON, ONNX, ONNX_INT8, PAGE, PARITY
from export.parity.report import ComparedImages, ParityReport
from export.runtime.predictor import Predictor
from tests.fakes import image_kinds


@pytest.fixture(scope="module")
def text(exported):
    return (exported / PAGE).read_text(encoding="utf-8")


def snippet(text, language):
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    return found


@pytest.fixture(scope="module")
def given(exported, tmp_path_factory):
    """Every golden image, and further kinds of files that snippets must read right."""
    folder = tmp_path_factory.mktemp("kinds")
    kinds = image_kinds.draw_kinds()
    for name in ("turned-6.jpg", "turned-6.png", "grey-profile.jpg", "12-in-16-bit.png", "palette-alpha.png"):
        (folder / name).write_bytes(kinds[name])
    cases = read_json(exported / GOLDEN / GOLDEN_ANSWERS)["cases"]
    return [*(exported / GOLDEN / case["file"] for case in cases), *sorted(folder.iterdir())]


def assert_right(printed, exported, given):
    """A snippet has printed the intended use, and the answers for the given images in their order."""
    predictor = Predictor(exported / ONNX)
    assert printed.startswith(INTENDED_USE)
    assert str(predictor.info.shortcuts_verdict) in printed.splitlines()[1]
    lines = [line.split("\t") for line in printed.splitlines()[2:]]
    assert [line[0] for line in lines] == [str(path) for path in given]
    right = {case["file"]: case["answers"][ONNX] for case in read_json(exported / GOLDEN / GOLDEN_ANSWERS)["cases"]}
    for path, (_, *p, decision, argmax) in zip(given, lines, strict=True):
        expected = predictor.predict_file(path)
        assert list(map(float, p)) == pytest.approx(list(expected.probabilities.values()), abs=1e-5), path.name
        assert (decision, argmax) == (expected.decision, expected.decision_argmax), path.name
        if path.parent.name == GOLDEN:
            assert list(map(float, p)) == pytest.approx(right[path.name]["probabilities"], abs=1e-5), path.name
            assert (decision, argmax) == (right[path.name]["decision"], right[path.name]["decision_argmax"])


def test_the_python_snippet_is_right_for_every_golden_image(text, exported, given):
    command = [sys.executable, "-c", snippet(text, "python"), *map(str, given)]
    done = subprocess.run(command, cwd=exported, capture_output=True, text=True, check=True)
    assert_right(done.stdout, exported, given)


def test_the_javascript_snippet_is_right_for_every_golden_image(text, exported, given, tmp_path):
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    (packages,) = re.findall(r"`npm install (.*?)`", text)
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", *packages.split()]
    done = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm install {packages} failed, is there a network? {done.stderr[-200:]}")
    for name in (ONNX, MODEL_JSON):
        (tmp_path / name).symlink_to(exported / name)
    (name,) = re.findall(r"`node (\S+) golden/\*`", text)
    (tmp_path / name).write_text(snippet(text, "javascript"), encoding="utf-8")
    command = ["node", name, *map(str, given)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert_right(done.stdout, exported, given)


@pytest.mark.trial
def test_the_csharp_snippet_is_right_for_every_golden_image(text, exported, given, tmp_path):
    """Once this has passed, the page need not say any more that the snippet was never run."""
    if not shutil.which("dotnet"):
        pytest.skip("dotnet is not installed")
    assert "never run" in text
    for command in (
        ["new", "console"],
        ["add", "package", "Microsoft.ML.OnnxRuntime"],
        ["add", "package", "SixLabors.ImageSharp"],
    ):
        subprocess.run(["dotnet", *command], cwd=tmp_path, capture_output=True, check=True)
    for name in (ONNX, MODEL_JSON):
        (tmp_path / name).symlink_to(exported / name)
    (tmp_path / "Program.cs").write_text(snippet(text, "csharp"), encoding="utf-8")
    images = [path for path in given if path.suffix == ".png" and not path.name.startswith("12-")]
    command = ["dotnet", "run", "--", *map(str, images)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert_right(done.stdout, exported, images)


@pytest.mark.parametrize("language", ["python", "javascript", "js", "csharp"])
def test_snippets_are_short(text, language):
    lines = [line for line in snippet(text, language).splitlines() if line]
    assert len(lines) <= 50


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
    assert "python -m export.serve web" in text
    assert "{{" not in text
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert "None" not in prose


def test_says_how_good_the_model_is(text, exported):
    test = read_json(exported / MODEL_JSON)["test_metrics"]
    for name in ("sensitivity", "specificity", "AUROC"):
        value, (low, high) = (test[name.lower()][key] for key in ("value", "ci95"))
        assert f"{name} {value:.2f} ({low:.2f} to {high:.2f})" in " ".join(text.split())


@pytest.mark.parametrize("attribution", [None, "By Simonyan and Zisserman, CC BY 4.0."])
def test_names_the_authors_of_trained_weights(exported, tmp_path, attribution):
    folder = shutil.copytree(exported, tmp_path / "export", ignore=shutil.ignore_patterns("saved_model", ONNX_INT8))
    info = dataclasses.replace(Predictor(exported / ONNX).info, attribution=attribution)
    report = ParityReport("pass", [], ComparedImages([], [], []), {})
    page.write_page(folder, info, report, (7, 7), 10, None)
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
