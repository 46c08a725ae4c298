"""`python -m export`: what it refuses, and that it leaves nothing half-done."""

import csv
import dataclasses
import shutil
from pathlib import Path

import pytest

from covid_tfds.common.errors import INTENDED_USE, UsageError
from covid_tfds.common.files import write_checksums, write_text
from covid_tfds.examples import DatasetRequest
from export import __main__, exporting
from export.file_names import ONNX
from export.run_images import read_run_images, sample_evenly
from trainer.run_folder import file_names
from trainer.run_folder.predictions import Prediction
from trainer.run_folder.run import Run, load
from trainer.run_folder.typed_files import write_rows

ROOT = Path(__file__).parents[2]
P = {"covid": 0.5, "normal": 0.5}


def error(capsys) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_help_names_the_intended_use(capsys):
    with pytest.raises(SystemExit) as stopped:
        __main__.main(["--help"])
    assert stopped.value.code == 0
    assert INTENDED_USE in " ".join(capsys.readouterr().out.split())


def test_an_export_holds_these_files(exported):
    names = {
        "saved_model",
        "model.onnx",
        "model.int8.onnx",
        "model.json",
        "golden",
        "web",
        "parity.json",
        "README.md",
        "SHA256SUMS",
    }
    assert {entry.name for entry in exported.iterdir()} == names
    assert not exported.with_name("export.incomplete").exists()


def test_an_existing_output_is_not_touched(trained_run, exported, capsys):
    before = (exported / ONNX).stat().st_mtime_ns
    assert __main__.main([str(trained_run)]) == 2
    assert str(exported) in error(capsys)
    assert (exported / ONNX).stat().st_mtime_ns == before


def test_what_is_no_run_folder_is_refused(tmp_path, capsys):
    assert __main__.main([str(tmp_path / "none")]) == 2
    assert str(tmp_path / "none") in error(capsys)
    assert __main__.main([str(tmp_path)]) == 2
    assert file_names.CONFIG in error(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def copy(trained_run, tmp_path):
    """A copy of the run that may be spoilt; the model is a link."""
    run = tmp_path / "run"
    shutil.copytree(trained_run, run, ignore=shutil.ignore_patterns("export*", file_names.MODEL))
    (run / file_names.MODEL).symlink_to(trained_run / file_names.MODEL)
    return run


def test_a_missing_dataset_is_named(copy, capsys):
    config = dataclasses.replace(load(copy).config, data=DatasetRequest(dataset=str(copy / "radiographs")))
    write_text(copy / file_names.CONFIG, config.to_json())
    write_checksums(copy)
    assert __main__.main([str(copy)]) == 2
    assert f"--dataset {copy / 'radiographs'}" in error(capsys)
    assert not (copy / "export").exists()


def test_a_missing_image_is_named(trained_run):
    run = load(trained_run)
    rows = [*run.predictions[:2], dataclasses.replace(run.predictions[0], image_id="covid/gone.png")]
    with pytest.raises(UsageError, match=r"covid/gone\.png"):
        read_run_images(run, rows)


def test_int8_is_refused_before_any_work_when_images_are_few(copy, capsys):
    rows = [row for row in load(copy).predictions if row.split == "test" or row.label == "covid"]
    write_rows(copy / file_names.PREDICTIONS, Prediction, rows)
    write_checksums(copy)
    assert __main__.main([str(copy), "--int8"]) == 2
    captured = capsys.readouterr()
    assert "--int8" in captured.err
    assert captured.out == ""


def test_parity_is_checked_on_all_images_of_a_small_dataset_and_a_sample_of_a_large_one():
    rows = [Prediction(str(number), "p", "test", "covid", P, "covid", "covid", "") for number in range(1000)]
    assert sample_evenly(rows[:50], exporting.MAX_RUN_IMAGES) == rows[:50]
    chosen = [int(row.image_id) for row in sample_evenly(rows, 100)]
    assert len(set(chosen)) == 100
    assert (chosen[0], chosen[-1]) == (0, 999)


def test_images_come_from_tfds_too(tmp_path):
    """A phantom run: the builder's own bytes, by image_id, from both splits."""
    import tensorflow_datasets as tfds

    import covid_tfds
    from trainer.config import Config

    config = Config(data=DatasetRequest(config="phantom", num_examples=10, data_dir=str(tmp_path)), weights="random")
    builder = covid_tfds.Builder(config=covid_tfds.phantom_config(10), data_dir=tmp_path)
    builder.download_and_prepare()
    raw = builder.as_dataset(split="all", decoders={"image": tfds.decode.SkipDecoding()})
    expected = {row["image_id"].decode(): row["image"] for row in raw.as_numpy_iterator()}
    rows = [Prediction(name, "p", "test", "covid", P, "covid", "covid", "") for name in sorted(expected, reverse=True)][
        :7
    ]
    run = Run(tmp_path, config, None, None, tuple(rows))
    images = read_run_images(run, rows)
    assert [(image.name, image.encoded) for image in images] == [(row.image_id, expected[row.image_id]) for row in rows]


def test_predictions_of_the_run_are_what_is_compared(trained_run):
    with (trained_run / file_names.PREDICTIONS).open(newline="") as file:
        written = {row["image_id"]: float(row["p_covid"]) for row in csv.DictReader(file)}
    images = read_run_images(load(trained_run), load(trained_run).predictions)
    assert {image.name: image.probabilities[0] for image in images} == written
