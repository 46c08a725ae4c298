import csv
import dataclasses
import hashlib
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from covid_tfds import phantom
from covid_tfds.common import cli
from covid_tfds.common.files import read_json, to_json
from covid_tfds.datasets import load_examples
from covid_tfds.examples import DatasetRequest
from trainer import evaluate
from trainer.features import pipelines
from trainer.metrics import evaluation
from trainer.run_folder import file_names
from trainer.run_folder.run import load
from trainer.run_folder.typicality import load_reference
from trainer.validation import external


@pytest.fixture(scope="module")
def finished(small_run, tmp_path_factory):
    """A copy of a run: an external validation adds to it."""
    return shutil.copytree(small_run, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def elsewhere(phantom_folder, tmp_path_factory):
    """Three new films a class, one of them known to the run; the other class is called otherwise."""
    folder = tmp_path_factory.mktemp("hospital") / "elsewhere"
    for index in range(100, 106):
        film = phantom.draw(index)
        path = folder / {"covid": "covid", "normal": "other"}[film.label] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(film.image).resize((120, 100)).save(path)
    shutil.copy(next((phantom_folder / "covid").glob("*.png")), folder / "covid" / "copied.png")
    return folder


def digests(folder):
    own = (file_names.CONFIG, file_names.ENVIRONMENT, file_names.MODEL, file_names.METRICS, file_names.PREDICTIONS)
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in own}


def test_a_run_is_judged_elsewhere_and_stays_as_it_was(finished, elsewhere, capsys):
    before = digests(finished)
    assert evaluate.main([str(finished), "--dataset", str(elsewhere)]) == 0
    assert digests(finished) == before
    folder = finished / "external" / "elsewhere"
    assert {path.name for path in folder.iterdir()} == {"metrics.json", "predictions.csv"}
    found = read_json(folder / "metrics.json")
    assert (found["test"]["n"], found["left_out"]) == (6, 1)
    assert found["threshold"] == load(finished).metrics.threshold
    assert found["dataset"]["class_names"] == ["covid", "other"]
    assert "elsewhere" in (finished / "report.html").read_text(encoding="utf-8")
    text = capsys.readouterr().out
    for part in ("cross-validation", "internal test", "external: elsewhere", "sensitivity", "own data: 1"):
        assert part in text
    auroc = found["test"]["auroc"]
    assert f"{auroc['value']:.2f} ({auroc['ci95'][0]:.2f} to {auroc['ci95'][1]:.2f})" in text


def test_images_unlike_the_training_images_are_declined(finished, tmp_path, capsys):
    """Two of four images are noise: the metrics with them, and without them."""
    for index in range(200, 204):
        film = phantom.draw(index)
        path = tmp_path / "half" / film.label / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (90, 100), np.uint8)
        image = Image.fromarray(pixels if index < 202 else film.image).resize((112, 96))
        image.save(path)
    assert evaluate.main([str(finished), "--dataset", str(tmp_path / "half")]) == 0
    found = read_json(finished / "external" / "half" / "metrics.json")
    declined, level = found["declined"], load_reference(finished / file_names.REFERENCE).level
    assert declined["declined_at"] == pytest.approx(level)
    assert 0.5 <= declined["share"]["value"] < 1
    assert found["test"]["n"] == declined["share"]["n"] == 4
    assert declined["answered"]["n"] == round(4 * (1 - declined["share"]["value"]))
    text = capsys.readouterr().out
    assert "without declined" in text
    assert f"{declined['share']['value']:.2f} (" in text
    assert "half without the declined images" in (finished / "report.html").read_text(encoding="utf-8")


def test_the_predictions_are_the_saved_models(finished, elsewhere):
    assert evaluate.main([str(finished), "--dataset", str(elsewhere)]) == 0
    with (finished / "external" / "elsewhere" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["covid"] * 3 + ["other"] * 3
    assert "covid/copied.png" not in [row["image_id"] for row in rows]
    model = keras.models.load_model(finished / "model.keras", safe_mode=True)
    examples = load_examples(DatasetRequest(dataset=str(elsewhere)))
    images = np.concatenate(list(pipelines.eval_pipeline(examples, np.arange(7), 8)))
    told = dict(zip(examples.image_id, model.predict(images, verbose=0)[:, 0], strict=True))
    np.testing.assert_allclose(
        [float(row["p_covid"]) for row in rows], [told[row["image_id"]] for row in rows], atol=1e-5
    )
    p = np.asarray([[float(row[name]) for name in ("p_covid", "p_normal")] for row in rows])
    metrics = evaluation.evaluate(np.repeat([0, 1], 3), p, load(finished).metrics.threshold, ("covid", "normal"))
    assert read_json(finished / "external" / "elsewhere" / "metrics.json")["test"] == to_json(metrics)


def test_images_that_the_run_knows_are_no_external_validation(finished, phantom_folder, capsys):
    assert evaluate.main([str(finished), "--dataset", str(phantom_folder)]) == 2
    assert "all 20 images or their patients are in" in capsys.readouterr().err
    assert not (finished / "external" / phantom_folder.name).exists()


def test_patients_with_the_runs_ids_are_left_out(finished, elsewhere):
    run, examples = load(finished), load_examples(DatasetRequest(dataset=str(elsewhere)))
    assert np.flatnonzero(external.find_known_rows(run, examples)).tolist() == [3]
    patients = [run.predictions[0].patient_id if row == 2 else f"p{row}" for row in range(len(examples))]
    examples = dataclasses.replace(examples, patient_id=np.asarray(patients))
    assert np.flatnonzero(external.find_known_rows(run, examples)).tolist() == [2, 3]


def test_images_turned_and_encoded_again_are_left_out_and_counted(finished, elsewhere, phantom_folder, tmp_path):
    folder = shutil.copytree(elsewhere, tmp_path / "again")
    for number, file in enumerate(sorted((phantom_folder / "normal").iterdir())[:2]):
        Image.open(file).rotate(1).resize((150, 130)).save(folder / "other" / f"turned-{number}.jpg", quality=80)
    assert evaluate.main([str(finished), "--dataset", str(folder)]) == 0
    found = read_json(finished / "external" / "again" / "metrics.json")
    assert (found["test"]["n"], found["left_out"], found["near_duplicates"]) == (6, 3, 2)


def test_without_the_runs_images_near_duplicates_are_not_looked_for(finished, elsewhere, monkeypatch, capsys):
    run, examples = load(finished), load_examples(DatasetRequest(dataset=str(elsewhere)))
    gone = dataclasses.replace(run.config, data=DatasetRequest(dataset="gone"))
    assert external.find_near_duplicates(dataclasses.replace(run, config=gone), examples) is None
    assert "gone" in capsys.readouterr().err


def test_an_undecodable_image_is_named_and_nothing_is_written(finished, elsewhere, tmp_path, capsys):
    broken = shutil.copytree(elsewhere, tmp_path / "broken")
    (broken / "other" / "103.png").write_bytes(b"<html>not found</html>")
    assert evaluate.main([str(finished), "--dataset", str(broken)]) == 2
    assert "other/103.png" in capsys.readouterr().err
    assert not (finished / "external" / "broken").exists()


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (cli.Terminated(), 143)])
def test_a_stop_is_one_line_and_changes_nothing(finished, elsewhere, tmp_path, monkeypatch, capsys, stop, code):
    def stopped(*_):
        raise stop

    monkeypatch.setattr(external, "run_model", stopped)
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    other = shutil.copytree(elsewhere, tmp_path / "another")
    assert evaluate.main([str(finished), "--dataset", str(other)]) == code
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("Stopped. The run is as it was")
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "argv", [[], ["run"], ["run", "--config", "phantom", "--dataset", "."], ["run", "--config", "x"]]
)
def test_bad_flags_exit_with_2(argv):
    with pytest.raises(SystemExit) as stop:
        evaluate.main(argv)
    assert stop.value.code == 2


def test_a_folder_that_is_no_run_gives_one_line(tmp_path, capsys):
    assert evaluate.main([str(tmp_path), "--config", "phantom"]) == 2
    error = capsys.readouterr().err
    assert "not a finished run folder" in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_run_on_curated_is_at_chance_on_source_matched(curated_run, manual_dir, data_dir, tmp_path):
    """The shortcut verdict, and what becomes of near-perfect metrics where the shortcut is gone."""
    run = shutil.copytree(curated_run, tmp_path / "run")
    where = ["--manual_dir", str(manual_dir), "--data_dir", str(data_dir)]
    assert evaluate.main([str(run), "--config", "source_matched", *where]) == 0
    internal = load(run).metrics
    assert internal.shortcuts.verdict == "shortcut"
    assert internal.shortcuts.controls["border_only"].auroc.value > 0.95
    assert internal.cross_validation.auroc.value > 0.95
    found = read_json(run / "external" / "source_matched" / "metrics.json")
    # One more than those of the same patients: the same radiograph in another file.
    assert (found["left_out"], found["near_duplicates"]) == (11, 1)
    assert found["test"]["auroc"]["ci95"][0] < 0.5 < found["test"]["auroc"]["ci95"][1]


@pytest.mark.slow
def test_a_marker_on_the_images_of_one_class_is_a_shortcut(train, tmp_path):
    """Without it the drawn radiographs have none: tests/trainer/test_training.py looks at the demo's verdict."""
    from PIL import ImageDraw

    for index in range(30):
        drawn = phantom.draw(index)
        image = Image.fromarray(drawn.image).resize((224, 224))
        if drawn.label == "covid":
            ImageDraw.Draw(image).rectangle((203, 203, 216, 216), fill=255)
        path = tmp_path / "images" / drawn.label / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    run = train("marked", "--dataset", str(tmp_path / "images"))
    assert load(run).metrics.shortcuts.verdict == "shortcut"
