"""Features computed by Beam: the very ones that the trainer computes, whoever computes them and however often."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from covid_tfds.examples import DatasetRequest
from trainer import extract
from trainer.config import Config
from trainer.features import backbone_features
from trainer.features.backbone_features import Backbone, Features
from trainer.features.training_set import load_training_set
from trainer.recipes import DEFAULT

TWO_WORKERS = ["--direct_num_workers", "2", "--direct_running_mode", "multi_processing"]


@pytest.fixture(scope="module")
def films(phantom_folder, tmp_path_factory):
    """The smallest folder that can be split: five of a class."""
    folder = tmp_path_factory.mktemp("films")
    for name in ("covid", "normal"):
        (folder / name).mkdir()
        for film in sorted((phantom_folder / name).iterdir())[:5]:
            shutil.copy(film, folder / name)
    return folder


@pytest.fixture(autouse=True)
def _threads_of_other_tests(monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")


def run(folder, cache, *flags):
    return extract.main(["--dataset", str(folder), "--weights", "random", "--features", str(cache), *flags])


def arrays(file):
    with np.load(file) as stored:
        return {name: stored[name] for name in stored}


def files(cache):
    # A process that is killed leaves what it was writing under a name with a dot.
    return {file.relative_to(cache): file for file in cache.glob("*/[!.]*.npz")}


@pytest.fixture(scope="module")
def stopped(films, tmp_path_factory):
    """An extraction by two workers that Ctrl-C ended after its first file: cache, process, what it said, workers."""
    cache = tmp_path_factory.mktemp("extracted")
    flags = ["--dataset", str(films), "--weights", "random", "--features", str(cache)]
    command = [sys.executable, "-m", "trainer.extract", *flags, *TWO_WORKERS]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not files(cache):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers get it, too
    _, told = process.communicate(timeout=30)
    return cache, process, told, workers


@pytest.fixture(scope="module")
def extracted(films, stopped):
    """The cache that two workers began and one ended."""
    cache = stopped[0]
    before = len(files(cache))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_NUM_INTRAOP_THREADS", "1")
        assert run(films, cache) == 0
    assert len(files(cache)) - before > 0
    return cache


def test_ctrl_c_ends_it_and_its_workers_in_one_line(stopped):
    _, process, told, workers = stopped
    assert process.returncode == 130
    assert "Stopped. What is computed is kept: the same command goes on." in told
    assert "Traceback" not in told
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert len(workers) >= 2
    assert not alive


def test_begun_by_two_workers_and_gone_on_with_it_is_the_trainers_own(films, extracted, tmp_path, monkeypatch):
    examples = load_training_set(Config(data=DatasetRequest(dataset=str(films))))
    train, test = examples.rows("train"), examples.rows("test")
    backbone = Backbone.load("random", 42)
    own = Features(examples, backbone, DEFAULT, 42, tmp_path)
    own.compute(train, DEFAULT.variants)
    own.compute(test, 1)
    assert files(extracted).keys() == files(tmp_path).keys()
    for name, file in files(tmp_path).items():
        mine, theirs = arrays(file), arrays(extracted / name)
        assert mine.keys() == theirs.keys()
        for array in mine.keys() - {"key"}:
            np.testing.assert_allclose(theirs[array], mine[array], atol=1e-5, rtol=1e-5)
    monkeypatch.setattr(backbone_features, "_forward", lambda *_: pytest.fail("computed again"))
    read = Features(examples, backbone, DEFAULT, 42, extracted)
    np.testing.assert_allclose(read.pooled(train, 3), own.pooled(train, 3), atol=1e-5, rtol=1e-5)


def test_only_what_is_missing_is_computed(films, extracted, tmp_path, capsys):
    cache = tmp_path / "cache"
    shutil.copytree(extracted, cache)
    kept = sorted(files(cache).values())
    lost = kept.pop()
    lost.unlink()
    before = {file: file.stat().st_mtime_ns for file in kept}
    assert run(films, cache) == 0
    assert "1 of them computed now" in capsys.readouterr().out
    assert lost.exists()
    assert {file: file.stat().st_mtime_ns for file in kept} == before


def test_what_cannot_be_decoded_is_named_and_the_rest_is_there(films, extracted, tmp_path, capsys):
    folder, cache = tmp_path / "films", tmp_path / "cache"
    shutil.copytree(films, folder)
    shutil.copytree(extracted, cache)
    (folder / "covid" / "torn.png").write_bytes(next((folder / "covid").iterdir()).read_bytes()[:200])
    (folder / "normal" / "page.png").write_bytes(b"<html>")
    assert run(folder, cache) == 2
    told = capsys.readouterr().err
    assert "2 images can't be decoded" in told
    assert "covid/torn.png" in told
    assert "normal/page.png" in told
    assert not list(cache.glob("*.txt"))


def test_a_prepared_dataset_is_read_shard_by_shard(tmp_path, capsys):
    flags = ["--config", "phantom", "--num_examples", "10", "--data_dir", str(tmp_path / "data")]
    cache = tmp_path / "cache"
    assert extract.main([*flags, "--weights", "random", "--recipe", "tutorial", "--features", str(cache)]) == 0
    assert f"features of {8 * 3 + 2} images and variants" in capsys.readouterr().out
    assert len(files(cache)) == 8 * 3 + 2


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--directnumworkers", "2"], "--directnumworkers is no flag of this command, nor of Beam"),
        (["--runner", "NoSuchRunner"], "--runner NoSuchRunner"),
        (["--weights", "missing.h5"], "--weights missing.h5"),
    ],
)
def test_unusable_flags_are_one_line(films, tmp_path, flags, told, capsys):
    assert run(films, tmp_path, *flags) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line


def test_help_needs_neither_tensorflow_nor_beam():
    code = "import sys; from trainer import extract; extract.parser(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"tensorflow", "apache_beam", "keras"} & set(done.stdout.split())


def test_processes_share_the_cores(films, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    weights = tmp_path / "weights.h5"
    weights.write_bytes(b"none")
    assert run(films, tmp_path, "--weights", str(weights), *TWO_WORKERS) == 2
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == "4"
