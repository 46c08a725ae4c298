"""Signals: held back while something is imported, and lost neither then nor later."""

import signal
import subprocess
import sys
import zipfile

import pytest

from covid_tfds.common import cli, logs
from trainer.run_folder import keras_file

FRAGILE = """
import signal
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt as stop:  # as pybind11 answers to whatever comes out of an extension's start
    raise ImportError("initialization failed") from stop
"""


@pytest.fixture
def fragile(tmp_path, monkeypatch):
    """The name of a module that takes Ctrl-C, in the midst of its import, for its own failure."""
    (tmp_path / "fragile_extension.py").write_text(FRAGILE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "fragile_extension"
    sys.modules.pop("fragile_extension", None)


def test_ctrl_c_in_an_import_comes_after_it(fragile):
    with pytest.raises(ImportError):
        __import__(fragile)
    with pytest.raises(KeyboardInterrupt), logs.silenced():
        __import__(fragile)
    assert fragile in sys.modules


def test_ctrl_c_while_a_model_is_read_is_not_a_fault_of_the_file(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as stop:
            raise TypeError("could not be deserialized properly") from stop

    monkeypatch.setattr("keras.models.load_model", interrupted)
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(KeyboardInterrupt):
        keras_file.load(tmp_path / "model.keras")


@pytest.mark.parametrize("number", cli.SIGNALS)
def test_held_back_until_the_block_has_ended(number):
    came, reached = [], []
    before = signal.signal(number, lambda it, _: came.append((it, list(reached))))
    try:
        with cli.held():
            signal.raise_signal(number)
            reached.append("the end")
        assert came == [(number, ["the end"])]
        signal.raise_signal(number)
        assert len(came) == 2
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", cli.SIGNALS)
def test_what_ends_a_command_at_once_is_told_although_native_code_is_silenced(number):
    program = f"""
import signal
from covid_tfds.common import cli, logs
cli.end_at_once("Stopped: as told.")
with logs.silenced():
    signal.raise_signal({int(number)})
raise SystemExit("not ended")
"""
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 128 + number
    assert done.stderr.strip() == "Stopped: as told."


def test_what_misses_its_workers_is_not_heard():
    program = """
import signal, subprocess, sys, threading
from covid_tfds.common import cli

def run(worker):
    worker.wait()
    print("lost a worker", file=sys.stderr)

cli.end_at_once("Stopped: as told.")
workers = [subprocess.Popen(["sleep", "60"]) for _ in range(20)]
for worker in workers:
    threading.Thread(target=run, args=[worker]).start()
signal.raise_signal(signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 143
    assert done.stderr.strip() == "Stopped: as told."
