"""Bytes flipped in every kind of file that is read back: named and refused, or made again, never silently used."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import CHECKSUMS, write_checksums, write_json
from covid_tfds.examples import DatasetRequest
from trainer import evaluate
from trainer.config import Config
from trainer.features.training_set import load_training_set
from trainer.run_folder import file_names
from trainer.run_folder.run import load


def flip(path, at=0.5):
    """Change one bit, at a fraction of the file or at a byte."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * at) if isinstance(at, float) else at] ^= 1
    path.write_bytes(content)


@pytest.fixture
def run(trained_run, tmp_path):
    """A copy of a run folder, to be spoilt."""
    return shutil.copytree(trained_run, tmp_path / "run", ignore=shutil.ignore_patterns("export*"))


@pytest.mark.parametrize("name", [*file_names.READ, CHECKSUMS])
def test_a_damaged_run_folder_is_refused_by_all_that_read_it(run, name, capsys):
    from export import __main__ as export

    load(run)
    sums = (run / CHECKSUMS).read_bytes()
    flip(run / name, sums.index(file_names.METRICS.encode()) - 10 if name == CHECKSUMS else 0.3)
    for command in (evaluate.main, export.main):
        argv = [str(run)] + (["--config", "phantom"] if command is evaluate.main else [])
        assert command(argv) == 2
        error = capsys.readouterr().err.strip()
        assert "\n" not in error
        assert (name if name != CHECKSUMS else str(run)) in error
        assert CHECKSUMS in error
    assert not list(run.glob("export*"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"data": {"from_the_future": 1}}, "from_the_future"),
        ({"from_the_future": 1}, "from_the_future"),
        ({"recipe": "vision_transformer"}, "'vision_transformer'"),
    ],
)
def test_a_config_of_a_newer_version_is_refused(run, change, named, capsys):
    config = json.loads((run / file_names.CONFIG).read_text())
    write_json(run / file_names.CONFIG, config | change)
    write_checksums(run)
    assert evaluate.main([str(run), "--config", "phantom"]) == 2
    assert named in capsys.readouterr().err


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A prepared dataset of ten drawn radiographs, and what is read from it."""

    folder = tmp_path_factory.mktemp("data")
    config = Config(data=DatasetRequest(config="phantom", num_examples=10, data_dir=str(folder)), batch_size=2)
    return folder, config, read(load_training_set(config))


def read(examples):
    encoded = list(examples.read(np.arange(len(examples))))
    return examples.class_names, examples.fingerprint, {k: v.tolist() for k, v in examples.facts.items()}, encoded


def read_or_refused(config):
    """(what is read, "") or (None, the error's line)."""

    try:
        return read(load_training_set(config)), ""
    except UsageError as error:
        return None, str(error)


def test_a_damaged_prepared_dataset_is_named_or_does_no_harm(prepared, tmp_path):
    folder, config, wanted = prepared
    refused = dict.fromkeys(("tfrecord", "dataset_info.json"), 0)
    files = [path for path in folder.rglob("*") if path.is_file() and "1.0.0" in path.parts]
    assert len(files) >= 4
    for path in files:
        for at in (0.02, 0.5, 0.97):
            copy = shutil.copytree(folder, tmp_path / "copy")
            flip(copy / path.relative_to(folder), at)
            found, error = read_or_refused(
                dataclasses.replace(config, data=dataclasses.replace(config.data, data_dir=str(copy)))
            )
            if error:
                assert str(copy) in error
                refused |= {name: count + 1 for name, count in refused.items() if name in path.name}
            else:
                assert repr(found) == repr(wanted), path
            shutil.rmtree(copy)
    assert refused["tfrecord"] == 3 * sum("tfrecord" in path.name for path in files)
    assert refused["dataset_info.json"]


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_a_damaged_onnx_model_is_refused(exported, tmp_path, name):
    from export.runtime import model_file

    for at in (0.001, 0.5, 0.999):
        for file in (name, CHECKSUMS):
            shutil.copy(exported / file, tmp_path)
        flip(tmp_path / name, at)
        with pytest.raises(model_file.ModelError, match=rf"{name}.*{CHECKSUMS}"):
            model_file.read_model(tmp_path / name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")
@pytest.mark.parametrize("name", ["oracle.json", "trial_1/trial.json", "trial_1/result.json", "search.json"])
def test_a_changed_number_in_a_search_is_found(quick, tmp_path, name, capsys):
    """Still JSON, and yet not what was written."""
    from tests.fakes.search_process import interrupt_after, outcome, run_search

    interrupt_after(quick, 3, tmp_path / "run")
    run_search(tmp_path / "whole", 6)
    path = tmp_path / "run.incomplete" / "tuner" / name
    text = path.read_text()
    at = next(i for i, character in enumerate(text) if character.isdigit() and text[i - 1] in " .")
    path.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
    json.loads(path.read_text())
    if name == "search.json":
        with pytest.raises(UsageError, match=r"search\.json"):
            run_search(tmp_path / "run", 6)
        return
    quick.clear()
    run_search(tmp_path / "run", 6)
    assert "damaged" in capsys.readouterr().err
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    assert len(quick) <= 3 + (name == "trial_1/result.json")
