import os
import subprocess
import sys
from pathlib import Path

import pytest

from covid_tfds.common.errors import UsageError
from trainer.config import Config
from trainer.tuning import distribution

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
    assert distribution.role(CONFIG) == role


def test_without_the_variables_a_search_is_alone(environment):
    assert distribution.role(CONFIG) == "alone"


def test_a_missing_variable_is_named(environment):
    environment(**ADDRESS)
    with pytest.raises(UsageError, match="KERASTUNER_TUNER_ID is not"):
        distribution.role(CONFIG)


def test_a_worker_needs_the_shared_folder(environment):
    environment(**ADDRESS, KERASTUNER_TUNER_ID="worker-1")
    with pytest.raises(UsageError, match="same --output"):
        distribution.role(Config(tune=True))


def test_a_worker_is_alive_as_long_as_its_process(tmp_path):
    assert not distribution.is_alive(tmp_path, "worker-1")
    program = (
        "import sys\nfrom pathlib import Path\nfrom trainer.tuning import distribution\n"
        "with distribution.present(Path(sys.argv[1])):\n    print('here', flush=True)\n    sys.stdin.read()"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "KERASTUNER_TUNER_ID": "worker-1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert worker.stdout.readline() == b"here\n"
        assert distribution.is_alive(tmp_path, "worker-1")
        assert not distribution.is_alive(tmp_path, "worker-2")
    finally:
        worker.kill()
        worker.communicate()
    assert not distribution.is_alive(tmp_path, "worker-1")


def test_a_worker_waits_for_no_chief_of_a_finished_run(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(UsageError, match="its search is over"):
        distribution.wait_for_chief(tmp_path / "run")


def test_a_worker_goes_on_when_the_chief_has_begun(tmp_path):
    project = Path(tmp_path / "run.incomplete" / "tuner")
    project.mkdir(parents=True)
    (project / distribution.SETTINGS).touch()
    distribution.wait_for_chief(tmp_path / "run")
