"""The link between the machines of a search is cut for half a minute. Two network namespaces stand for two machines.

python -m pytest -m trial tests/faults/test_link.py
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakes import search_process
from tests.fakes.search_process import outcome

SCRIPT = Path(search_process.__file__)
TRIALS = 40
CUT_SECONDS = 30
CHIEF, WORKER = "10.213.7.1", "10.213.7.2"


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def spaces():
    """Two network namespaces with a link between them, or a skip where they can't be made."""
    names = [f"covid-tfds-{os.getpid()}-{side}" for side in ("chief", "worker")]
    made = []
    try:
        try:
            for name in names:
                ip("netns", "add", name)
                made.append(name)
            ip("link", "add", "c0", "netns", names[0], "type", "veth", "peer", "name", "w0", "netns", names[1])
            for name, device, address in ((names[0], "c0", CHIEF), (names[1], "w0", WORKER)):
                ip("-n", name, "addr", "add", f"{address}/24", "dev", device)
                for one in (device, "lo"):
                    ip("-n", name, "link", "set", one, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"network namespaces can't be made: {error}")
        yield names
    finally:
        for name in made:
            ip("netns", "del", name)


@pytest.mark.trial
@pytest.mark.timeout(1200)
def test_a_cut_link_costs_no_trial(spaces, tmp_path):
    chief_space, worker_space = spaces
    run = tmp_path / "run"

    def start(space, tuner_id):
        address = {"KERASTUNER_ORACLE_IP": CHIEF, "KERASTUNER_ORACLE_PORT": "8000", "KERASTUNER_TUNER_ID": tuner_id}
        command = ["ip", "netns", "exec", space, sys.executable, str(SCRIPT), str(run), str(TRIALS), "random"]
        return subprocess.Popen(command, env={**os.environ, **address}, stderr=subprocess.PIPE, text=True)

    chief, worker = start(chief_space, "chief"), start(worker_space, "worker-1")
    try:
        while not (tmp_path / "run.incomplete" / "tuner" / "trial_04" / "result.json").exists():
            assert chief.poll() is None
            assert worker.poll() is None
            time.sleep(0.05)
        ip("-n", worker_space, "link", "set", "w0", "down")
        time.sleep(CUT_SECONDS)
        ip("-n", worker_space, "link", "set", "w0", "up")
        _, worker_error = worker.communicate()
        _, chief_error = chief.communicate()
    finally:
        for process in (chief, worker):
            process.kill()
            process.wait()
    assert worker.returncode == 0, worker_error
    assert chief.returncode == 0, chief_error
    statuses = [row["status"] for row in outcome(run)["table"]]
    assert statuses == ["completed"] * TRIALS
