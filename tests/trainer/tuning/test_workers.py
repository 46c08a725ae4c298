import os
import subprocess
import sys
import threading

import grpc
import pytest

from covid_tfds.common.errors import UsageError
from trainer.config import Config
from trainer.tuning import workers

ADDRESS = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": "8000"}
CONFIG = Config(tune=True, output="runs/shared")


@pytest.fixture
def environment(monkeypatch):
    for name in (*ADDRESS, "KERASTUNER_TUNER_ID"):
        monkeypatch.delenv(name, raising=False)

    def put(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize(("tuner_id", "role"), [("chief", "chief"), ("worker-1", "worker")])
def test_the_id_says_the_role(environment, tuner_id, role):
    environment(**ADDRESS, KERASTUNER_TUNER_ID=tuner_id)
    assert workers.find_role(CONFIG) == role


def test_without_the_variables_a_search_is_alone(environment):
    assert workers.find_role(CONFIG) == "alone"


def test_a_missing_variable_is_named(environment):
    environment(**ADDRESS)
    with pytest.raises(UsageError, match="KERASTUNER_TUNER_ID"):
        workers.find_role(CONFIG)


def test_a_worker_needs_the_shared_folder(environment):
    environment(**ADDRESS, KERASTUNER_TUNER_ID="worker-1")
    with pytest.raises(UsageError, match="--output"):
        workers.find_role(Config(tune=True))


@pytest.mark.timeout(120)
def test_a_worker_is_alive_as_long_as_its_process(tmp_path):
    assert not workers.is_alive(tmp_path, "worker-1")
    program = (
        "import sys\nfrom pathlib import Path\nfrom trainer.tuning import workers\n"
        "with workers.registered(Path(sys.argv[1])):\n    print('here', flush=True)\n    sys.stdin.read()"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "KERASTUNER_TUNER_ID": "worker-1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert worker.stdout.readline() == b"here\n"
        assert workers.is_alive(tmp_path, "worker-1")
        assert not workers.is_alive(tmp_path, "worker-2")
    finally:
        worker.kill()
        worker.communicate()
    assert not workers.is_alive(tmp_path, "worker-1")


def test_a_worker_waits_for_no_chief_of_a_finished_run(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(UsageError, match="exists"):
        workers.wait_for_chief(Config(tune=True, output=str(tmp_path / "run")))


def test_a_worker_goes_on_when_the_chief_has_begun(tmp_path, monkeypatch, capsys):
    """It looks, waits, looks again, and prints only once that it waits."""
    project = tmp_path / "run.incomplete" / "tuner"
    project.mkdir(parents=True)
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        assert len(waits) <= 3, "it waits for something else"
        if len(waits) == 3:
            (project / workers.SETTINGS).touch()

    monkeypatch.setattr(workers.time, "sleep", sleep)
    workers.wait_for_chief(Config(tune=True, output=str(tmp_path / "run")))
    assert waits == [workers.POLL_SECONDS] * 3
    assert capsys.readouterr().err.count(str(tmp_path / "run")) == 1


@pytest.mark.timeout(120)
def test_a_second_worker_of_the_same_id_is_refused(tmp_path, environment, monkeypatch):
    environment(**ADDRESS, KERASTUNER_TUNER_ID="worker-1")
    acquire = workers.filelock.FileLock.acquire
    monkeypatch.setattr(workers.filelock.FileLock, "acquire", lambda lock, timeout=0: acquire(lock, timeout=0))
    with workers.registered(tmp_path), pytest.raises(UsageError, match="worker-1"), workers.registered(tmp_path):
        pass


def test_the_watch_takes_back_trials_of_dead_workers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(workers, "WATCH_SECONDS", 0.01)
    called = threading.Event()

    def retry_lost_trials(is_alive):
        lost = [] if called.is_set() or is_alive("worker-1") else ["worker-1"]
        called.set()
        return lost

    with workers.watching(tmp_path, retry_lost_trials):
        assert called.wait(60)
    assert "worker-1" in capsys.readouterr().err


class Lost(grpc.RpcError):
    """An answer that did not come."""

    def __init__(self, status):
        self.status = status

    def code(self):
        return self.status


class FlakyStub:
    """Loses the first answers with `status`, then answers; notes every request."""

    def __init__(self, status, lost):
        self.status, self.lost, self.requests = status, lost, []

    def EndTrial(self, request, **options):
        self.requests.append((request, options))
        if len(self.requests) <= self.lost:
            raise Lost(self.status)
        return "answer"


def test_a_request_is_repeated_while_the_chief_can_not_be_reached(monkeypatch):
    monkeypatch.setattr(workers, "RETRY_SECONDS", 0)
    stub = FlakyStub(grpc.StatusCode.UNAVAILABLE, lost=3)
    assert workers.RetryingStub(stub).EndTrial("trial", timeout=5) == "answer"
    assert stub.requests == [("trial", {"timeout": 5})] * 4


@pytest.mark.parametrize(("status", "seconds"), [(grpc.StatusCode.UNKNOWN, 60), (grpc.StatusCode.UNAVAILABLE, -1)])
def test_other_errors_and_a_lasting_silence_are_raised(monkeypatch, status, seconds):
    monkeypatch.setattr(workers, "LOST_CHIEF_SECONDS", seconds)
    stub = FlakyStub(status, lost=1)
    with pytest.raises(grpc.RpcError):
        workers.RetryingStub(stub).EndTrial("trial")
    assert len(stub.requests) == 1
