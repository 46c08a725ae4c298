"""How long the page takes: prints the table of export/README.md.

python -m pytest -m trial -s tests/export/web/test_speed.py
"""

import time

import pytest

from export.file_names import ONNX, ONNX_INT8
from export.runtime.predictor import Predictor
from tests.fakes import browser, image_kinds

IMAGES = 10
MEGABYTE = 1e6


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Drawn radiographs of 211 x 263 pixels: nearly all of the time is the network's."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(IMAGES):
        (folder / f"{number}.jpg").write_bytes(image_kinds.draw_kinds()["grey.jpg"])
    return sorted(folder.iterdir())


@pytest.mark.trial
@pytest.mark.parametrize("model", [ONNX, ONNX_INT8])
@pytest.mark.parametrize("serve", [browser.serve_plainly, browser.serve], ids=["1 thread", "all threads"])
def test_seconds_in_the_browser(webs, images, tmp_path, model, serve):
    web = webs[model]
    size = sum(path.stat().st_size for path in web.rglob("*") if path.is_file()) / MEGABYTE
    with serve(web) as address, browser.open_browser(tmp_path) as page:
        empty = page.measure_memory() / MEGABYTE
        start = time.perf_counter()
        assert page.open(address) == "passed"
        ready = time.perf_counter() - start
        page.predict(images[0])
        start, cpu = time.perf_counter(), page.measure_cpu()
        page.predict(*images)
        wall, cpu = (time.perf_counter() - start) / IMAGES, (page.measure_cpu() - cpu) / IMAGES
        memory = page.measure_memory() / MEGABYTE
        threads = page.text("status").rsplit("computes with ", 1)[1]
    print(f"\n{model}, {threads} web/ {size:.0f} MB, ready after {ready:.1f} s, browser {memory:.0f} MB")
    print(f"an image: {wall:.2f} s, {cpu:.2f} CPU seconds; the empty browser: {empty:.0f} MB")


@pytest.mark.trial
@pytest.mark.parametrize("model", [ONNX, ONNX_INT8])
def test_seconds_in_python(webs, images, model):
    predictor = Predictor(webs[model] / model)
    predictor.predict_file(images[0])
    start, cpu = time.perf_counter(), time.process_time()
    for image in images:
        predictor.predict_file(image)
    wall, cpu = (time.perf_counter() - start) / IMAGES, (time.process_time() - cpu) / IMAGES
    print(f"\n{model}, export.predict")
    print(f"an image: {wall:.2f} s, {cpu:.2f} CPU seconds")
