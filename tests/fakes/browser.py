"""A headless Chromium, driven by selenium, on the page that `python -m export.serve` serves."""

from __future__ import annotations

import base64
import contextlib
import csv
import functools
import http.server
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

SECONDS = 240  # to wait for the page on a loaded machine
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
)


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder by the command itself; gives its address."""
    command = [sys.executable, "-m", "export.serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield next(word for word in server.stdout.readline().split() if word.startswith("http"))
        finally:
            server.terminate()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Answers with the files of a folder, without a word and without headers of ours."""

    def log_message(self, *_):
        """Print nothing."""


@contextlib.contextmanager
def serve_plainly(
    folder: Path, headers: Mapping[str, str] | None = None, types: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Serve a folder as any static host does, with headers and types of its own; gives its address."""

    class Handler(QuietHandler):
        extensions_map = QuietHandler.extensions_map | dict(types or {})

        def end_headers(self):
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            super().end_headers()

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Page:
    """The page in a browser: what a user does and sees."""

    def __init__(self, driver, downloads: Path):
        self.driver = driver
        self.downloads = downloads

    def open(self, address: str) -> str:
        """Open the page and return how its self-test ended."""
        self.driver.get(address)
        self.wait_for("document.documentElement.dataset.selftest !== 'running'")
        return self.run("return document.documentElement.dataset.selftest")

    def predict(self, *files: Path) -> list[dict[str, str]]:
        """Choose files and return the lines of the CSV file once all are predicted, those of earlier ones, too."""
        self.driver.find_element("id", "files").send_keys("\n".join(map(str, files)))
        self.wait_for("[...document.querySelectorAll('.remarks')].every((cell) => cell.textContent !== 'waiting')")
        return self.download()

    def download(self) -> list[dict[str, str]]:
        """Return the lines of the CSV file."""
        target = self.downloads / "predictions.csv"
        target.unlink(missing_ok=True)
        self.run("document.getElementById('download').click()")  # the banner may lie over it
        end = time.monotonic() + SECONDS
        while not target.exists() and time.monotonic() < end:
            time.sleep(0.05)
        with target.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def text(self, name: str) -> str:
        """Return the text of the element with this id as it is seen."""
        return self.driver.find_element("id", name).text

    def run(self, script: str, *arguments):
        """Run JavaScript."""
        return self.driver.execute_script(script, *arguments)

    def call(self, module: str, function: str, *arguments):
        """Call a function of one of the page's modules; gives an error's text. Python's None is JavaScript's null."""
        script = (
            "const [module, name, given, done] = arguments;"
            "import(new URL(module, location.href).href)"
            ".then((found) => found[name](...given)).then(done, (error) => done(String(error)))"
        )
        return self.driver.execute_async_script(script, module, function, arguments)

    def read_image(self, name: str, content: bytes) -> list:
        """Read an image as the page does: height, width, and SHA-256 of the pixels; a text for an error."""
        script = """
            const { readImage } = await import(new URL("image.js", location.href).href);
            const { width, height, rgb } = await readImage(new File([bytes], name));
            return [height, width, await hash(rgb)];
        """
        return self._read(script, name, content)

    def read_by(self, snippet: str, content: bytes) -> list:
        """Read an image by a snippet's readPixels: shape and SHA-256 of the pixels."""
        script = (
            snippet + "const { rgb, dims } = await readPixels(new Blob([bytes])); return [...dims, await hash(rgb)];"
        )
        return self._read(snippet + script, "", content)

    def _read(self, script: str, name: str, content: bytes) -> list:
        """Run JavaScript that has the bytes of a file and a function for their hash."""
        around = """
            const [name, base64, done] = arguments;
            const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
            const hash = async (array) =>
              [...new Uint8Array(await crypto.subtle.digest("SHA-256", array))]
                .map((byte) => byte.toString(16).padStart(2, "0")).join("");
            (async () => { SCRIPT })().then(done, (error) => done(String(error)));
        """
        wrapped = around.replace("SCRIPT", script)
        return self.driver.execute_async_script(wrapped, name, base64.b64encode(content).decode())

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + SECONDS
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < end, (condition, self.text("status"), self.driver.get_log("browser"))
            time.sleep(0.05)

    def measure_memory(self) -> int:
        """Bytes of the browser and all of its processes; those that several share are counted once."""
        self.driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
        return sum(process.memory_full_info().pss for process in self._processes())

    def measure_cpu(self) -> float:
        """CPU seconds of the browser and all of its processes so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self._processes())

    def _processes(self) -> list[psutil.Process]:
        return psutil.Process(self.driver.service.process.pid).children(recursive=True)


@contextlib.contextmanager
def open_browser(folder: Path, width: int = 1280, height: int = 900) -> Iterator[Page]:
    """Give a page in a new browser whose downloads and network log go into `folder`; skip where there is none."""
    selenium = pytest.importorskip("selenium")
    chromium, driver_program = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver_program):
        pytest.skip("chromium and chromedriver are not installed (apt-get install chromium chromium-driver)")
    from selenium import webdriver

    assert selenium
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--window-size={width},{height}", f"--log-net-log={folder / 'network.json'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_program))
    try:
        driver.set_script_timeout(SECONDS)
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield Page(driver, folder)
    finally:
        driver.quit()


def list_requests(folder: Path, origin: str) -> set[str]:
    """The addresses that pages and workers of an origin asked for, by the browser's own log; after it has ended."""
    text = (folder / "network.json").read_text(encoding="utf-8")
    log = json.loads(text if text.rstrip().endswith("}") else text.rstrip().rstrip(",") + "]}")
    asked = [event["params"] for event in log["events"] if "initiator" in event.get("params", {})]
    return {params["url"] for params in asked if params["initiator"] == origin}
