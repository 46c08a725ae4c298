"""Searches in processes of their own, some of which are killed."""

import signal
import socket
import time

import pytest

from tests.fakes import search_process
from tests.fakes.processes import start_processes
from tests.fakes.search_process import outcome, run_search

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # only so that a search that hangs fails; on a loaded machine one may take minutes
    pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner"),
]


@pytest.fixture
def start():
    """Start a search in a process of its own."""
    with start_processes(search_process.__file__) as start:
        yield start


def wait_until(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.parametrize("tuner", ["bayesian", pytest.param("hyperband", marks=pytest.mark.trial)])
def test_sigkill_and_resume(start, tmp_path, tuner):
    run_search(tmp_path / "whole", 5, tuner)
    process = start(tmp_path / "run", 5, tuner)
    project = tmp_path / "run.incomplete" / "tuner"
    wait_until((project / "trial_2" / "result.json").exists, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = {path: path.stat().st_mtime_ns for path in project.glob("trial_[01]/result.json")}
    assert len(done) == 2
    finished = start(tmp_path / "run", 5, tuner)
    _, err = finished.communicate()
    assert finished.returncode == 0, err
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    for path, written in done.items():
        assert (tmp_path / "run" / path.relative_to(tmp_path / "run.incomplete")).stat().st_mtime_ns == written


def test_a_chief_and_two_workers_of_which_one_is_killed(start, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
    run, stuck = tmp_path / "run", tmp_path / "stuck"
    chief = start(run, 5, "bayesian", KERASTUNER_TUNER_ID="chief", **address)
    doomed = start(run, 5, "bayesian", KERASTUNER_TUNER_ID="worker-1", HANG=str(stuck), **address)
    survivor = start(run, 5, "bayesian", KERASTUNER_TUNER_ID="worker-2", **address)
    wait_until(stuck.exists, doomed)
    doomed.send_signal(signal.SIGKILL)
    doomed.communicate()
    _, survivor_err = survivor.communicate()
    _, chief_err = chief.communicate()
    assert survivor.returncode == 0, survivor_err
    assert chief.returncode == 0, chief_err
    assert "worker-1" in chief_err
    assert "search, as chief: 5/5 trial" in chief_err
    table = outcome(run)["table"]
    assert len(table) == 5
    assert {row["status"] for row in table} == {"completed"}
    assert len({tuple(row.items())[8:] for row in table}) == 5
    assert outcome(run)["summary"]["best"]["score"] == max(float(row["score"]) for row in table)
    assert not list(run.rglob("workers"))
