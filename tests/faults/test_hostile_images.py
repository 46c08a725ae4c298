"""Damaged and hostile image files through everything that reads images, each in a process that may crash or hang.

    python -m pytest -m trial tests/faults/test_hostile_images.py -s      # 5,400 damaged files, 4 readers: see the note

What is expected of every file: an answer or an error, in bounded time and memory, and nothing done to its neighbours.
"""

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.fakes import small_network
from tests.faults import hostile_files
from tests.faults.reading_worker import NUMBER, READERS

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
START_SECONDS = 120
SECONDS = 60  # for one chunk of files, on a machine that may be busy
MB = 1500  # above what the process had before
MOST_MB = 4000  # the same for 50 million pixels, which are 600 MB in three floats


class Reading:
    """A process that reads files: `ask` gives its answers, and starts a new one after a crash or a hang."""

    def __init__(self, reader: str, models: Path):
        self.reader, self.models = reader, models
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._end()

    def ask(self, files: list[Path]) -> dict:
        """What the worker answers for a chunk of files; {"died": why} when it doesn't."""
        if self.process is None:
            command = [sys.executable, str(HERE / "reading_worker.py"), self.reader, str(self.models)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self.process = subprocess.Popen(command, **pipes, env=os.environ | {"PYTHONPATH": str(ROOT)})
            started = self._line(START_SECONDS)
            assert "ready" in started, f"{self.reader} did not start: {started}"
        with contextlib.suppress(BrokenPipeError):  # it has died: `_line` says so
            self.process.stdin.write("\t".join(map(str, files)) + "\n")
            self.process.stdin.flush()
        return self._line(SECONDS)

    def _line(self, seconds: float) -> dict:
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            line = self.process.stdout.readline() if selector.select(seconds) else None
        if line:
            return json.loads(line)
        if line is None:
            self.process.kill()
        code = self.process.wait()
        self._end()
        return {"died": f"no answer in {seconds} s" if line is None else f"exit code {code}"}

    def _end(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def read_all(reader: str, models: Path, files: list[Path], chunk: int) -> list[dict]:
    """The answers of a reader for all files, `chunk` at a time."""
    with Reading(reader, models) as reading:
        return [reading.ask(files[start : start + chunk]) for start in range(0, len(files), chunk)]


def check(reader: str, answers: list[dict], count: int, most_mb: float = MB) -> dict:
    """What a trial came to, as printed; fails on a crash, a hang, a file without an outcome, too much memory."""
    died = [answer["died"] for answer in answers if "died" in answer]
    answers = [answer for answer in answers if "died" not in answer]
    outcomes = Counter(
        "number" if outcome == NUMBER else "error" for answer in answers for outcome in answer["outcomes"].values()
    )
    counts = {
        "reader": reader,
        "files": count,
        **outcomes,
        "died": len(died),
        "slowest_chunk_s": round(max(answer["seconds"] for answer in answers), 2),
        "largest_mb": round(max(answer["mb"] for answer in answers)),
    }
    print(json.dumps(counts))
    assert died == []
    assert outcomes["number"] + outcomes["error"] == count
    assert counts["largest_mb"] < most_mb
    return counts


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A small exported network, and a sound image."""
    folder = small_network.export(tmp_path_factory.mktemp("hostile") / "models")
    (folder / "sound.png").write_bytes(hostile_files.originals()["colour.png"])
    return folder


def written(folder: Path, files) -> list[Path]:
    paths = []
    for name, content in files:
        path = folder / name
        path.write_bytes(content)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nasty")
    files = hostile_files.nasty()
    written(folder, [(name, content) for name, (content, _, _) in files.items()])
    return {folder / name: expected for name, (_, *expected) in files.items()}


@pytest.mark.parametrize("reader", READERS)
def test_files_made_to_harm(reader, models, nasty):
    """Bombs, absurd sizes, polyglots, animations: each as expected, in bounded time and memory."""
    paths = list(nasty)
    # A training folder is read as a whole, which takes its time.
    answers = read_all(reader, models, paths, 10 if reader == "training" else 1)
    check(reader, answers, len(paths))
    assert max(answer["seconds"] for answer in answers) < 20
    outcomes = {name: outcome for answer in answers for name, outcome in answer["outcomes"].items()}
    # All read as the predictor does, but for serving_bytes, which has TensorFlow's decoder alone.
    wrong = {
        path.name: outcomes[path.name]
        for path in paths
        if (outcomes[path.name] == NUMBER) != nasty[path][reader != "serving"]
    }
    assert wrong == {}


@pytest.mark.trial
@pytest.mark.parametrize("reader", READERS)
def test_the_largest_files_that_are_read(reader, models, tmp_path):
    """50 million pixels each: what one image may cost."""
    paths = written(tmp_path, hostile_files.largest().items())
    answers = read_all(reader, models, paths, 1)
    for path, answer in zip(paths, answers, strict=True):
        print(json.dumps({"reader": reader, "file": path.name, **answer}))
        if path.suffix != ".webp" or reader == "predictor":
            assert answer["outcomes"] == {path.name: NUMBER}
    check(reader, answers, len(paths), MOST_MB)


@pytest.mark.parametrize("reader", READERS)
def test_damaged_files(reader, models, tmp_path):
    paths = written(tmp_path, hostile_files.mutants(216))
    counts = check(reader, read_all(reader, models, paths, 72), len(paths))
    # Else the mutations would be too weak or too strong to try anything.
    assert min(counts["number"], counts["error"]) > 10


@pytest.mark.trial
@pytest.mark.parametrize("reader", READERS)
def test_thousands_of_damaged_files(reader, models, tmp_path):
    started = time.monotonic()
    paths = written(tmp_path, hostile_files.mutants(5400))
    check(reader, read_all(reader, models, paths, 72), len(paths))
    print(f"{reader}: {time.monotonic() - started:.0f} s")
    shutil.rmtree(tmp_path)


def test_the_damaged_files_are_the_same_at_every_run():
    first, second = (dict(hostile_files.mutants(40)) for _ in range(2))
    assert first == second
    sound = hostile_files.originals()
    assert sum(content == sound[name[6:]] for name, content in first.items()) <= 2


def test_a_reader_that_dies_or_hangs_is_seen(monkeypatch, models, tmp_path):
    """The trial itself can fail: a worker that crashes or hangs is noticed, and the next files get a new one."""
    good = written(tmp_path, [("good.png", hostile_files.originals()["grey.png"])])
    with Reading("predictor", models) as reading:
        assert reading.ask(good)["outcomes"] == {"good.png": NUMBER}
        os.kill(reading.process.pid, signal.SIGSEGV)
        assert reading.ask(good) == {"died": f"exit code {-signal.SIGSEGV}"}
        assert reading.ask(good)["outcomes"] == {"good.png": NUMBER}
        os.kill(reading.process.pid, signal.SIGSTOP)
        monkeypatch.setattr(sys.modules[__name__], "SECONDS", 0.5)
        assert reading.ask(good) == {"died": "no answer in 0.5 s"}
    with pytest.raises(AssertionError):
        check("predictor", [{"died": "exit code -11"}, {"outcomes": {"a": NUMBER}, "seconds": 1, "mb": 1}], 2)
