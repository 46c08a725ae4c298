"""Searches in processes of their own, some of which are killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakes import search_process
from tests.fakes.search_process import outcome, run_search

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")]

SCRIPT = Path(search_process.__file__)


def start(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition, process, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)


@pytest.mark.parametrize("tuner", ["bayesian", "hyperband"])
def test_sigkill_and_resume(tmp_path, tuner):
    run_search(tmp_path / "whole", 7, tuner)
    process = start(tmp_path / "run", 7, tuner)
    project = tmp_path / "run.incomplete" / "tuner"
    wait_until((project / "trial_3" / "result.json").exists, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = {path: path.stat().st_mtime_ns for path in project.glob("trial_[012]/result.json")}
    assert len(done) == 3
    finished = start(tmp_path / "run", 7, tuner)
    _, err = finished.communicate(timeout=300)
    assert finished.returncode == 0, err
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    for path, written in done.items():
        assert (tmp_path / "run" / path.relative_to(tmp_path / "run.incomplete")).stat().st_mtime_ns == written


def test_a_chief_and_two_workers_of_which_one_is_killed(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
    run, stuck = tmp_path / "run", tmp_path / "stuck"
    chief = start(run, 8, "bayesian", KERASTUNER_TUNER_ID="chief", **address)
    doomed = start(run, 8, "bayesian", KERASTUNER_TUNER_ID="worker-1", HANG=str(stuck), **address)
    survivor = start(run, 8, "bayesian", KERASTUNER_TUNER_ID="worker-2", **address)
    try:
        wait_until(stuck.exists, doomed)
        doomed.send_signal(signal.SIGKILL)
        doomed.communicate()
        _, survivor_err = survivor.communicate(timeout=300)
        _, chief_err = chief.communicate(timeout=300)
    finally:
        for process in (chief, doomed, survivor):
            process.kill()
    assert survivor.returncode == 0, survivor_err
    assert chief.returncode == 0, chief_err
    assert "Worker worker-1 is gone" in chief_err
    assert "search, as chief: 8/8 trial" in chief_err
    table = outcome(run)["table"]
    assert len(table) == 8
    assert {row["status"] for row in table} == {"completed"}
    assert len({tuple(row.items())[8:] for row in table}) == 8
    assert outcome(run)["summary"]["best"]["score"] == max(float(row["score"]) for row in table)
    assert not list(run.rglob("workers"))
