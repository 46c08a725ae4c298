"""The page in a real browser: the same answers as Python, no request elsewhere, and no bad file stops it."""

import hashlib
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from covid_tfds.common.files import read_json
from covid_tfds.imaging.reader import decode_image
from export import page as page_module
from export.file_names import GOLDEN, GOLDEN_ANSWERS, MODEL_JSON, ONNX, ONNX_INT8
from export.runtime.metadata_schema import FIELDS
from export.runtime.model_info import ModelInfo
from export.runtime.predictor import Predictor
from tests.fakes import browser, image_kinds

# Bytes. An image of 4 million pixels takes 40 MB until it is collected: three may be waiting for that. Measured: -2 MB
# over 184 images; without a release it would be 7,000. What the first 16 take remains taken.
MOST_RISE = 120 * 2**20
FIRST = 16


@pytest.fixture(scope="module", params=[ONNX, ONNX_INT8])
def web(request, webs):
    """The folder web/ with one of the model files."""
    return webs[request.param]


# What does not depend on the model file.
with_one_model = pytest.mark.parametrize("web", [ONNX_INT8], indirect=True)


@pytest.fixture(scope="module")
def page(web, tmp_path_factory):
    """The page, ready."""
    with browser.serve(web) as address, browser.open_browser(tmp_path_factory.mktemp("browser")) as opened:
        assert opened.open(address) == "passed"
        yield opened


@pytest.fixture
def model(web):
    info = read_json(web / MODEL_JSON)
    ((name, file),) = info["files"].items()
    return Predictor(web / name), info, file["tolerance"]


def compare(rows, files, predictor, info, tolerance):
    """The last rows are Python's answers to the files."""
    for row, file in zip(rows[-len(files) :], files, strict=True):
        expected = predictor.predict_file(file)
        assert row["image"] == file.name
        assert row["error"] == "", row
        for label in info["labels"]:
            assert float(row[f"p_{label}"]) == pytest.approx(expected.probabilities[label], abs=tolerance), file.name
        assert (row["decision"], row["decision_argmax"]) == (expected.decision, expected.decision_argmax), file.name
        assert row["warnings"] == "; ".join(expected.warnings), file.name


def test_golden_images_have_the_right_answers(page, web, model):
    _, info, _ = model
    golden = read_json(web / GOLDEN / GOLDEN_ANSWERS)
    cases = golden["cases"]
    rows = page.predict(*[web / GOLDEN / case["file"] for case in cases])
    ((name, _),) = info["files"].items()
    assert len(cases) >= 6
    for row, case in zip(rows[-len(cases) :], cases, strict=True):
        answer = case["answers"][name]
        found = [float(row[f"p_{label}"]) for label in info["labels"]]
        tolerance = golden["tolerances"][name]["probabilities"]
        assert found == pytest.approx(answer["probabilities"], abs=tolerance), case["file"]
        assert (row["decision"], row["decision_argmax"]) == (answer["decision"], answer["decision_argmax"])


def test_files_of_many_kinds_have_pythons_answers(page, model, tmp_path):
    kinds = image_kinds.draw_kinds()
    del kinds["turned-8.webp"]  # refused, see below
    for name in list(kinds)[::2][:20]:
        (tmp_path / name).write_bytes(kinds[name])
    files = sorted(tmp_path.iterdir())
    assert len(files) == 20
    compare(page.predict(*files), files, *model)


@with_one_model
def test_the_pixels_are_those_of_the_python_reader(page):
    kinds = image_kinds.draw_kinds()
    del kinds["turned-8.webp"]  # refused, see below
    for name, content in kinds.items():
        pixels = decode_image(content, name).pixels
        assert page.read_image(name, content) == [*pixels.shape[:2], hashlib.sha256(pixels).hexdigest()], name


@with_one_model
def test_the_snippet_for_browsers_has_the_pixels_of_the_python_reader(page):
    snippet = (page_module.TEMPLATES / "browser.txt").read_text(encoding="utf-8")
    kinds = image_kinds.draw_kinds()
    for name in ("16-bit.png", "alpha.png", "turned-6.jpg", "grey-profile.jpg", "alpha.webp", "colour-420.jpg"):
        pixels = decode_image(kinds[name], name).pixels
        digest = hashlib.sha256(pixels).hexdigest()
        assert page.read_by(snippet, kinds[name]) == [1, *pixels.shape, digest], name


def test_real_radiographs_have_pythons_answers(page, model, manual_dir):
    files = sorted(path for path in manual_dir.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png"))
    some = files[:: len(files) // 10][:10]
    compare(page.predict(*some), some, *model)


@with_one_model
def test_what_it_can_not_read_is_said_and_the_next_image_still_works(page, model, tmp_path):
    kinds = image_kinds.draw_kinds()
    grey = kinds["grey.jpg"]
    white = Image.new("RGB", (9, 9), "white")
    animated = {"save_all": True, "append_images": [Image.new("RGB", (9, 9))]}
    bad = {
        "broken.png": b"no image",
        "empty.jpg": b"",
        "cut.jpg": grey[: len(grey) // 2],
        "cut-head.jpg": grey[:30],
        "huge.png": image_kinds.write_huge_png(30_000),  # 900 million pixels
        "longest.png": image_kinds.encode(Image.new("L", (100_000, 9), 99), "PNG"),  # a canvas has fewer columns
        "image.dcm": b"no DICOM either",
        "image.tif": image_kinds.encode(Image.new("L", (9, 9)), "TIFF"),
        "image.gif": image_kinds.encode(Image.new("L", (9, 9)), "GIF"),
        "scans.jpg": grey[:-2] + b"\xff\xda" * 101,
        "turned-8.webp": kinds["turned-8.webp"],
        "animated.png": image_kinds.encode(white, "PNG", **animated),
        "animated.webp": image_kinds.encode(white, "WEBP", **animated),
        "inks.jpg": image_kinds.remove_adobe_mark(kinds["cmyk.jpg"]),
    }
    for name, content in (bad | {"next.jpg": grey}).items():
        (tmp_path / name).write_bytes(content)
    *rows, good = page.predict(*[tmp_path / name for name in (*bad, "next.jpg")])[-len(bad) - 1 :]
    errors = {row["image"]: row["error"] for row in rows}
    assert all(errors.values()), errors
    assert {row["decision"] for row in rows} == {""}
    assert "30000 x 30000" in errors["huge.png"]
    assert "python -m export.predict MODEL image.dcm --save_png DIR" in errors["image.dcm"]
    assert "--save_png" in errors["image.tif"]
    assert "102" in errors["scans.jpg"]
    compare([good], [tmp_path / "next.jpg"], *model)


@with_one_model
def test_names_can_neither_break_the_page_nor_the_table(page, tmp_path):
    names = ["=1+1.jpg", "<b>bold,\"'.jpg", "胸部.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(image_kinds.draw_kinds()["grey.jpg"])
    rows = page.predict(*[tmp_path / name for name in names])
    assert [row["image"] for row in rows[-3:]] == ["'=1+1.jpg", *names[1:]]
    assert page.run("return document.querySelectorAll('#table b').length") == 0


def test_the_result_shows_answers_heat_map_and_what_the_network_sees(page, model, tmp_path):
    predictor, info, tolerance = model
    file = tmp_path / "shown.jpg"
    file.write_bytes(image_kinds.draw_kinds()["grey.jpg"])
    page.predict(file)
    page.wait_for("document.getElementById('result_title').textContent === 'shown.jpg'")
    expected = predictor.predict_file(file)
    shown = re.findall(r"[01]\.\d{4}", page.text("probabilities"))
    assert list(map(float, shown)) == pytest.approx(list(expected.probabilities.values()), abs=tolerance + 1e-4)
    assert page.text("decisions").count(expected.decision_argmax) >= 1
    page.wait_for("document.getElementById('seen').hasAttribute('aria-label')")
    assert page.run("return document.getElementById('image').getAttribute('aria-label')").startswith("shown.jpg")
    assert ("approximation" in page.text("heat_text")) == ("model.int8.onnx" in info["files"])


@with_one_model
def test_says_what_it_is_and_what_it_is_not_for(page, model):
    _, info, _ = model
    assert info["intended_use"] in page.text("banner")
    assert info["shortcuts_because"] in page.text("because")
    for name in ("sensitivity", "specificity", "auroc"):
        estimate = info["test_metrics"][name]
        shown = [f"{number:.2f}" for number in (estimate["value"], *estimate["ci95"])]
        assert "{} ({} to {})".format(*shown) in page.text("metrics")
    assert page.run("return getComputedStyle(document.getElementById('banner')).position") == "sticky"
    about = page.run("return document.getElementById('about').textContent")
    ((_, file),) = info["files"].items()
    for fact in (file["sha256"], "verified", info["run_id"], info["dataset"]["name"], "MIT"):
        assert fact in about


@with_one_model
def test_decisions_are_those_of_python(page):
    labels = ["a", "b", "c"]
    info = {"labels": labels, "positive_class": "a", "threshold": 0.4, "declined_at": 0.01}
    rules = [
        ([0.4, 0.35, 0.25], 0.5, ["a", "a", False]),
        ([0.39, 0.2, 0.41], 0.5, ["c", "c", False]),
        ([0.39, 0.305, 0.305], 0.5, ["b", "a", False]),
        ([0.9, 0.05, 0.05], 0.01 * (1 + 1e-5), ["declined", "a", True]),
        ([0.9, 0.05, 0.05], None, ["a", "a", False]),
    ]
    for probabilities, typicality, expected in rules:
        found = make_answer(page, info | {"declined_at": typicality and 0.01}, probabilities, typicality)
        assert [found["decision"], found["decision_argmax"], found["declined"]] == expected
    python = ModelInfo(**info, heatmap_region=[0, 0, 1, 1], intended_use="").explain_declined(0.01, 0.5)
    assert make_answer(page, info, [0.9, 0.05, 0.05], 0.01)["declined_because"] == python


@with_one_model
@pytest.mark.parametrize(
    ("probabilities", "typicality", "cells"),
    [
        ([0.9], 0.5, [1.0]),
        ([0.9, 0.9], 0.5, [1.0]),
        ([float("nan"), 1.0], 0.5, [1.0]),
        ([0.9, 0.1], float("nan"), [1.0]),
        ([0.9, 0.1], 7.0, [1.0]),
        ([0.9, 0.1], 0.5, [-1.0]),
        ([0.9, 0.1], 0.5, []),
    ],
)
def test_outputs_that_are_no_answer_are_refused(page, probabilities, typicality, cells):
    info = {"labels": ["a", "b"], "positive_class": "a", "threshold": 0.4, "declined_at": 0.01}
    assert "the model gives no" in make_answer(page, info, probabilities, typicality, cells)
    assert make_answer(page, info, [0.9, 0.1], 0.5)["decision"] == "a"


def make_answer(page, info, probabilities, typicality, cells=(1.0,)):
    """What the page makes of a network's outputs; NaN reaches it as null, which is no number either."""
    values = {"probabilities": probabilities, "typicality": [typicality], "distance": [0.5], "heatmap": list(cells)}
    clean = {name: [None if one != one else one for one in list(data)] for name, data in values.items()}
    outputs = {name: {"data": data, "dims": [1, 1, len(data)]} for name, data in clean.items()}
    return page.call("prediction.js", "makeAnswer", info, outputs)


@with_one_model
def test_memory_stays_flat(page, tmp_path):
    assert predict_many(page, tmp_path, 40) < MOST_RISE


@with_one_model
@pytest.mark.trial
@pytest.mark.timeout(3600)
def test_memory_stays_flat_over_200_images(page, tmp_path):
    rise = predict_many(page, tmp_path, 200)
    print(f"\nrise over {200 - FIRST} images: {rise / 1e6:.0f} MB")
    assert rise < MOST_RISE


def predict_many(page, folder, count):
    """By how many bytes the page grows while it predicts images of 4 million pixels."""
    image = image_kinds.encode(Image.linear_gradient("L").resize((2000, 2000)), "JPEG")
    files = [folder / f"{number}.jpg" for number in range(count)]
    for file in files:
        file.write_bytes(image)
    page.predict(*files[:FIRST])
    before = page.measure_memory()
    page.predict(*files[FIRST:])
    return page.measure_memory() - before


@pytest.fixture
def copied(webs, tmp_path):
    """A copy of web/ to break."""
    return shutil.copytree(webs[ONNX_INT8], tmp_path / "web")


def open_copy(folder, tmp_path):
    """How the self-test of a page ends, and what it says."""
    with browser.serve(folder) as address, browser.open_browser(tmp_path) as page:
        return page.open(address), page.text("status"), address


TEXTS = ["", "a", "a" * 201, "a" * 20_001, "shortcut", "int8"]
NUMBERS = [0, -1, 0.5, 1.5, 1e7, 10**400]
LISTS = [[], [[]], ["a"], ["a", "a"], ["a", "b"], ["a", 1], ["a"] * 101, [0, 0, 1, 1], [1, 0, 0, 1], [0, 0, 1, 2]]
OBJECTS = [{}, {"a": [None, 0.5, "b", False]}, {"a": 10**400}, json.loads('{"a":' * 9 + "1" + "}" * 9)]
ESTIMATE = {"value": 0.5, "ci95": [0.25, 1], "n": 4}
METRICS = {"sensitivity": ESTIMATE, "specificity": ESTIMATE, "balanced_accuracy": ESTIMATE, "auroc": ESTIMATE}
TESTS = [
    {"images": 4, **METRICS},
    {"images": 4, "patients": 2, **METRICS, "auroc": {"value": None, "ci95": None}},
    {"images": 4, **METRICS, "auroc": {"value": 2, "ci95": [0, 1]}},
    {"images": 4, **METRICS, "auroc": {"value": 0.5, "ci95": [0]}},
    {"images": 4, **METRICS, "auroc": {"value": 0.5, "ci95": None}},
    {"images": 4, **METRICS, "auroc": {"value": 0.5}},
    {"images": 4, **METRICS, "auroc": 0.5},
    {"images": 4.5, **METRICS},
    {"images": True, **METRICS},
    {"images": 4, "patients": -1, **METRICS},
    METRICS,
]
ANY_VALUES = [None, True, *TEXTS, *NUMBERS, *LISTS, *OBJECTS, *TESTS]


@with_one_model
def test_model_json_has_the_schema_of_the_metadata(page, model):
    """Every value in every field is refused by the page where Python refuses it, and only there."""
    _, info, _ = model
    for name in FIELDS:
        for value in ANY_VALUES:
            changed = info | {name: value}
            texts = {field: json.dumps(changed[field]) for field in FIELDS if field in changed}
            try:
                ModelInfo.from_metadata(texts)
                is_right = True
            except ValueError:
                is_right = False
            found = page.call("model_info.js", "parseModelInfo", json.dumps(changed))
            assert isinstance(found, dict) == is_right, (name, value, found)
            assert is_right or len(found) < 400


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (r'"threshold": [\d.]+', '"threshold": NaN', "no JSON"),
        (r'"threshold": [\d.]+', '"threshold": null', "threshold"),
        (r'"labels"', '"names"', "labels"),
        (r'"files"', '"file"', "files"),
        (r'"tolerance": [\d.]+', '"tolerance": "0.03"', "files"),
        (r'"sha256": "', '"sha256": "z', "files"),
    ],
)
def test_a_model_json_of_another_shape_blocks_the_page(copied, tmp_path, old, new, named):
    text, count = re.subn(old, new, (copied / MODEL_JSON).read_text(encoding="utf-8"))
    assert count
    (copied / MODEL_JSON).write_text(text, encoding="utf-8")
    state, status, _ = open_copy(copied, tmp_path)
    assert state == "failed"
    assert "model.json" in status
    assert named in status


@pytest.mark.parametrize(
    ("what", "tolerance"),
    [("probabilities", "probabilities"), ("heatmap", "heatmap_relative_to_its_maximum"), ("distance", "distance")],
)
def test_wrong_answers_in_the_self_test_block_the_page(copied, tmp_path, what, tolerance):
    file = copied / GOLDEN / GOLDEN_ANSWERS
    golden = read_json(file)
    for case in golden["cases"]:
        answer = case["answers"][ONNX_INT8]
        answer[what] = (np.asarray(answer[what]) + 1.5 * golden["tolerances"][ONNX_INT8][tolerance]).tolist()
    file.write_text(json.dumps(golden))
    with browser.serve(copied) as address, browser.open_browser(tmp_path) as page:
        assert page.open(address) == "failed"
        assert not page.driver.find_element("id", "files").is_enabled()
        assert page.run("return document.querySelectorAll('#table tbody tr').length") == 0


def test_a_damaged_model_blocks_the_page(copied, tmp_path):
    data = bytearray((copied / ONNX_INT8).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / ONNX_INT8).write_bytes(data)
    state, status, _ = open_copy(copied, tmp_path)
    assert state == "failed"
    assert "damaged" in status


NEEDED = "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; connect-src 'self'; style-src 'self'"


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        ("default-src 'self'", "worker-src 'self' blob:"),
        ("default-src 'self'; worker-src 'self' blob:", "wasm-unsafe-eval"),
        (NEEDED.replace("connect-src 'self'", "connect-src 'none'"), "connect-src"),
        (f"default-src 'none'; {NEEDED}", None),
    ],
)
def test_a_policy_of_the_server_that_forbids_too_much_is_named(webs, tmp_path, policy, named):
    headers = {"Content-Security-Policy": policy}
    with browser.serve_plainly(webs[ONNX_INT8], headers) as address, browser.open_browser(tmp_path) as page:
        assert page.open(address) == ("failed" if named else "passed")
        assert (named or "right answers") in page.text("status")


def test_wrong_types_of_files_do_no_harm(webs, tmp_path):
    types = dict.fromkeys((".onnx", ".json", ".gz", ".png"), "text/html")
    headers = {"X-Content-Type-Options": "nosniff"}
    with browser.serve_plainly(webs[ONNX_INT8], headers, types) as address, browser.open_browser(tmp_path) as page:
        assert page.open(address) == "passed"


@pytest.mark.parametrize("policy", [True, False])
def test_page_and_worker_can_not_ask_another_server(copied, tmp_path, policy):
    """Without the policy they could: so the test would see it."""
    elsewhere = 'await fetch("http://127.0.0.1:9/image").catch(() => {});\n'
    for name in ("worker.js", "app.js"):
        text = (copied / name).read_text(encoding="utf-8")
        (copied / name).write_text(text + elsewhere.replace("image", name), encoding="utf-8")
    if not policy:
        index = (copied / "index.html").read_text(encoding="utf-8")
        (copied / "index.html").write_text(re.sub(r"<meta http-equiv.*?>", "", index), encoding="utf-8")
    state, _, address = open_copy(copied, tmp_path)
    assert state == "passed"
    asked = browser.list_requests(tmp_path, address.rstrip("/"))
    others = {url for url in asked if not url.startswith(address)}
    assert others == (set() if policy else {"http://127.0.0.1:9/app.js", "http://127.0.0.1:9/worker.js"})
    assert any(url.endswith(".wasm.gz") for url in asked)


def test_any_static_host_works_with_one_thread(webs, tmp_path):
    """Also below the root; Python's plain server sends no headers of ours, but the policy of the page is there."""
    with browser.serve_plainly(webs[ONNX_INT8].parent) as address, browser.open_browser(tmp_path) as page:
        assert page.open(f"{address}web/") == "passed"
        assert "one thread" in page.text("status")


def test_three_classes_and_an_image_that_is_declined(three_class_web, tmp_path):
    predictor, info = Predictor(three_class_web / ONNX), read_json(three_class_web / MODEL_JSON)
    files = [three_class_web / GOLDEN / name for name in ("typical.png", "noise.png", "alpha.png")]
    with browser.serve(three_class_web) as address, browser.open_browser(tmp_path) as page:
        assert page.open(address) == "passed"
        rows = page.predict(*files)
        page.wait_for("document.getElementById('result_title').textContent === 'typical.png'")
        assert len(page.text("probabilities").splitlines()) == 1 + 3
        page.run("[...document.querySelectorAll('#table button')][1].click()")
        page.wait_for("document.getElementById('result_title').textContent === 'noise.png'")
        declined, decisions = page.text("declined"), page.text("decisions")
    compare(rows, files, predictor, info, 1e-5)
    assert len(info["labels"]) == 3
    expected = predictor.predict_file(files[1])
    assert (rows[1]["decision"], rows[1]["declined"]) == ("declined", "True")
    assert rows[1]["declined_because"].split(":")[0] == expected.declined_because.split(":")[0]
    assert "typicality" in declined
    assert expected.decision_argmax in decisions


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_fits_the_screen_and_every_control_has_a_name(webs, tmp_path, width, height):
    with browser.serve(webs[ONNX_INT8]) as address, browser.open_browser(tmp_path, width, height) as page:
        assert page.open(address) == "passed"
        page.driver.find_element("id", "examples").click()
        page.wait_for("document.getElementById('seen').hasAttribute('aria-label')")
        assert page.run("return document.documentElement.scrollWidth") <= width
        below = page.run(
            "const [title, banner] = ['result_title', 'banner'].map((id) => document.getElementById(id));"
            "return title.getBoundingClientRect().top - banner.getBoundingClientRect().bottom"
        )
        assert 0 <= below < height / 2
        unnamed = page.run(
            "return [...document.querySelectorAll('button, input, canvas[role]')].filter((element) => !("
            "element.textContent.trim() || element.ariaLabel || element.closest('label')?.textContent.trim()))"
            ".map((element) => element.id)"
        )
        assert unnamed == []
