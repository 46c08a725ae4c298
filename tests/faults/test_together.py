"""Two at once: no corruption, and whoever has to wait or to leave says why."""

import functools
import json
import subprocess
import sys

import numpy as np

from covid_tfds.common.files import write_json
from covid_tfds.common.new_folder import new_folder
from covid_tfds.examples import DatasetRequest
from tests.faults import commands
from tests.faults.commands import COMMANDS
from trainer.config import Config
from trainer.features.backbone_features import Features
from trainer.features.training_set import load_training_set
from trainer.recipes import DEFAULT

CACHE = """
import sys
from pathlib import Path
import numpy as np
from covid_tfds.examples import DatasetRequest
from tests.fakes import small_network
from trainer.config import Config
from trainer.features.backbone_features import Backbone, Features
from trainer.features.training_set import load_training_set
from trainer.recipes import DEFAULT
backbone = Backbone(small_network.backbone(), "small")
examples = load_training_set(Config(data=DatasetRequest(dataset=sys.argv[1])))
cached = Features(examples, backbone, DEFAULT, 42, Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
print(cached.pooled(np.arange(20), 3).sum(dtype=np.float64).hex())
"""


def test_two_builds(tmp_path):
    command = COMMANDS["build"]
    one, other = (commands.start(command.argv(tmp_path, tmp_path)) for _ in range(2))
    printed = [commands.check(process) for process in (one, other)]
    assert len(command.outcome(tmp_path / command.final)) == 50
    assert not list(tmp_path.glob("covid_tfds/phantom/incomplete*"))
    assert sum("another process" in text.lower() for text in printed) <= 1
    assert not any("Traceback" in text for text in printed)


def test_two_processes_on_one_feature_cache(phantom_folder, tiny, tmp_path):
    argv = [sys.executable, "-c", CACHE, str(phantom_folder), str(tmp_path / "shared")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    start = functools.partial(subprocess.Popen, argv, cwd=commands.ROOT, **pipes)
    with start() as one, start() as other:
        both = (one, other)
        for process in both:
            assert process.stdout.readline() == "ready\n"
        for process in both:
            process.stdin.write("\n")
            process.stdin.flush()
        sums = [process.communicate(timeout=120)[0].strip() for process in both]
    examples = load_training_set(Config(data=DatasetRequest(dataset=str(phantom_folder))))
    alone = Features(examples, tiny, DEFAULT, 42, tmp_path / "alone")
    wanted = alone.pooled(np.arange(20), 3).sum(dtype=np.float64).hex()
    assert sums == [wanted, wanted]
    files = [path for path in (tmp_path / "shared").rglob("*") if path.is_file()]
    assert len(files) <= 2 * 3
    assert all(path.suffix == ".npz" and not path.name.startswith(".") for path in files)


def test_the_second_training_into_one_output_is_refused(train_tiny, tmp_path, capsys):
    with new_folder(tmp_path / "run") as folder:
        assert train_tiny(tmp_path / "run") == 2
        error = capsys.readouterr().err.strip()
        assert error.splitlines()[-1].startswith(f"error: --output {tmp_path / 'run'}: another process ")
        write_json(folder / "of the first.json", {})
    assert json.loads((tmp_path / "run" / "of the first.json").read_text()) == {}
