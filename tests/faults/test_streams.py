"""Every command with an ended reader, closed streams, an ASCII terminal and names that are not UTF-8."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.commands import ROOT

COMMANDS = {
    "trainer": ["--dataset", "{}"],
    "trainer.evaluate": ["{}", "--config", "phantom"],
    "trainer.extract": ["--dataset", "{}"],
    "trainer.benchmark": ["--verdict", "--weights", "{}"],
    "covid_tfds.audit": ["--dataset", "{}"],
    "export": ["{}"],
    "export.predict": ["{}", "image.png"],
    "export.bulk": ["--model", "{}", "--input", "images", "--output", "predicted"],
    "export.serve": ["{}"],
}
MISSING = b"no such \xe9\x1b[31m\n"  # neither UTF-8 nor harmless on a terminal


def run(module: str, *arguments: str | bytes, redirection: str = "", **options) -> subprocess.CompletedProcess:
    """A command as a shell starts it, with its streams redirected."""
    words = ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-m", module, *arguments]
    return subprocess.run(words, cwd=ROOT, capture_output=True, timeout=240, **options)


def name_missing(module: str, folder: Path) -> list[bytes]:
    """The command's arguments, with something that is not there for its input."""
    path = os.fsencode(folder / "there").removesuffix(b"there") + MISSING
    return [path if argument == "{}" else argument.encode() for argument in COMMANDS[module]]


@pytest.mark.parametrize("module", COMMANDS)
def test_a_missing_input_with_any_name_is_one_printable_line(module, tmp_path):
    env = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = run(module, *name_missing(module, tmp_path), env=env)
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode("ascii").splitlines()
    assert line.startswith("error: ")
    assert line.isprintable()
    assert r"no such \xe9\x1b[31m\n" in line


@pytest.mark.parametrize("module", COMMANDS)
def test_closed_streams_change_no_exit_code(module, tmp_path):
    assert run(module, *name_missing(module, tmp_path), redirection="2>&-").returncode == 2
    assert run(module, "--help", redirection=">&- 2>&- <&-").returncode == 0


@pytest.mark.parametrize("module", COMMANDS)
def test_an_ended_reader_is_no_error(module):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as ended:
        done = subprocess.run(
            [sys.executable, "-m", module, "--help"], cwd=ROOT, stdout=ended, stderr=subprocess.PIPE, timeout=240
        )
    assert done.returncode in (0, 141)  # argparse itself passes over the end of a long help
    assert done.stderr == b""


@pytest.mark.parametrize("redirection", ["2>&-", "| head -1"])
@pytest.mark.parametrize("module", ["covid_tfds.audit", "trainer.extract"])
def test_the_work_is_done_without_standard_error_and_as_long_as_there_is_a_reader(
    module, redirection, phantom_folder, tmp_path
):
    """Both print their first line when all is done but what they say of it."""
    where = "--features" if module == "trainer.extract" else "--output"
    weights = ["--weights", "random"] if module == "trainer.extract" else []
    done = run(
        module,
        *("--dataset", str(phantom_folder), *weights, where, str(tmp_path / "done")),
        redirection=redirection,
    )
    assert done.returncode in (0, 141)
    assert done.stdout
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "done").is_dir()
