"""web/ holds all that the page needs, and names no other place."""

import gzip
import re

import pytest

from covid_tfds.common.files import read_json, write_json
from export.file_names import GOLDEN, GOLDEN_ANSWERS, MODEL_JSON, ONNX, ONNX_INT8, WEB
from export.web.assemble import PAGE_FILES, WebRequest, write_web

RUNTIME = {"ort.wasm.min.mjs": b"a runtime", "ort-wasm-simd-threaded.wasm": bytes(1000)}
RUNTIME_FILES = {"runtime/ort.wasm.min.js", "runtime/ort-wasm-simd-threaded.wasm.gz"}
SOURCES = sorted(path for path in PAGE_FILES.iterdir() if path.suffix in (".html", ".js", ".css"))


@pytest.fixture
def folder(tmp_path):
    """What of an export the page is made of."""
    (tmp_path / GOLDEN).mkdir()
    case = {"file": "a.png", "rgb_sha256": "0", "self_test": True, "answers": {ONNX: 1, ONNX_INT8: 2}, "heatmap": []}
    golden = {"labels": ["a", "b"], "tolerances": {ONNX: 1e-5, ONNX_INT8: 0.03}, "cases": [case]}
    write_json(tmp_path / GOLDEN / GOLDEN_ANSWERS, golden)
    for name in (ONNX, ONNX_INT8):
        (tmp_path / name).write_text(name)
    write_json(tmp_path / MODEL_JSON, {"labels": ["a", "b"], "files": {ONNX: {"bytes": 1}, ONNX_INT8: {"bytes": 2}}})
    return tmp_path


@pytest.mark.parametrize(("wanted", "model"), [(None, ONNX_INT8), ("float", ONNX), ("int8", ONNX_INT8)])
def test_holds_one_model_and_all_that_the_page_needs(folder, wanted, model):
    assert write_web(folder, WebRequest(RUNTIME, wanted)) == model
    names = {path.relative_to(folder / WEB).as_posix() for path in (folder / WEB).rglob("*") if path.is_file()}
    others = {"index.html", "app.js", "style.css", "LICENSES.txt", "model.json", "golden/golden.json", *names}
    assert names == {path.name for path in SOURCES} | {model} | RUNTIME_FILES | others
    assert {name for name in names if name.endswith((".onnx", ".py"))} == {model}
    packed = (folder / WEB / "runtime" / "ort-wasm-simd-threaded.wasm.gz").read_bytes()
    assert len(packed) < 100
    assert gzip.decompress(packed) == bytes(1000)
    assert list(read_json(folder / WEB / MODEL_JSON)["files"]) == [model]
    assert read_json(folder / WEB / MODEL_JSON)["labels"] == ["a", "b"]
    golden = read_json(folder / WEB / GOLDEN / GOLDEN_ANSWERS)
    assert list(golden["tolerances"]) == list(golden["cases"][0]["answers"]) == [model]


def test_takes_the_float_model_where_int8_was_left_out(folder):
    (folder / ONNX_INT8).unlink()
    assert write_web(folder, WebRequest(RUNTIME)) == ONNX


def test_the_modules_import_only_what_is_there():
    names = {path.name for path in SOURCES} | RUNTIME_FILES
    for path in SOURCES:
        for imported in re.findall(r'from "\./([^"]+)"', path.read_text(encoding="utf-8")):
            assert imported in names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_source_holds_an_absolute_address_or_markup_from_text(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z0-9-]+\.[a-z]", text)
    assert "innerHTML" not in text
    assert len(text.splitlines()) <= 300


def test_the_policy_allows_this_origin_alone():
    text = (PAGE_FILES / "index.html").read_text(encoding="utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', text)
    rules = {words[0]: words[1:] for words in map(str.split, policy.split(";"))}
    assert rules["default-src"] == ["'none'"]
    assert rules["connect-src"] == ["'self'"]
    assert {source for sources in rules.values() for source in sources} == {
        "'none'",
        "'self'",
        "'wasm-unsafe-eval'",
        "blob:",
        "data:",
    }
    assert 'data-selftest="running"' in text
