"""Four classes in the layout of the Radiography Database through all commands, with a small network."""

import csv
import json
import shutil
from pathlib import Path

import pandas
import pytest
from PIL import Image

from covid_tfds import phantom
from covid_tfds.common.files import read_json
from export import __main__ as export_command
from export import exporting, predict
from export.bulk import __main__ as bulk
from export.file_names import GOLDEN, GOLDEN_ANSWERS, MODEL_JSON, ONNX, ONNX_INT8, PARITY
from export.runtime.predictor import Predictor
from trainer import __main__ as trainer_command
from trainer import evaluate
from trainer.benchmark import stand_in
from trainer.features.backbone_features import Backbone
from trainer.run_folder.details import load_details
from trainer.run_folder.run import load

NAMES = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
COLUMNS = [f"p_{name}" for name in NAMES]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("four") / "radiography"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stand_in, "SIZES", dict.fromkeys(NAMES, 15))  # int8 needs ten training images of each
        stand_in.write_stand_in(folder, 60)
    return folder


@pytest.fixture(scope="module")
def trained(images, tiny):
    output = images.parent / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Backbone, "load", lambda *_: tiny)
        argv = ["--dataset", str(images), "--weights", "random", "--epochs", "3", "--output", str(output)]
        assert trainer_command.main(argv) == 0
    return output


@pytest.fixture(scope="module")
def exported(trained):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "MAX_RUN_IMAGES", 8)
        assert export_command.main([str(trained), "--int8"]) == 0
    return trained / "export"


def test_the_run_has_all_four(trained):
    run = load(trained)
    assert run.environment.dataset.class_names == NAMES
    assert [len(row) for row in run.metrics.test.argmax.confusion_matrix] == [4] * 4
    assert set(run.metrics.shortcuts.classes) == set(NAMES[1:])


@pytest.mark.parametrize("model", [ONNX, ONNX_INT8])
def test_parity_and_golden_answers(exported, model):
    assert read_json(exported / PARITY)["verdict"] == "pass"
    assert tuple(read_json(exported / MODEL_JSON)["labels"]) == NAMES
    golden, predictor = read_json(exported / GOLDEN / GOLDEN_ANSWERS), Predictor(exported / model)
    assert tuple(golden["labels"]) == NAMES
    tolerance = golden["tolerances"][model]["probabilities"]
    for case in golden["cases"]:
        answer, found = case["answers"][model], predictor.predict_file(exported / GOLDEN / case["file"])
        assert list(found.probabilities.values()) == pytest.approx(answer["probabilities"], abs=tolerance)
        assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-5)
        assert found.decision_argmax == answer["decision_argmax"]
        assert found.declined == answer["declined"]


def test_predict_and_bulk_have_a_column_of_each_class(exported, images, tmp_path, capsys):
    films = tmp_path / "films"
    films.mkdir()
    for name in NAMES:
        shutil.copy(next((images / name / "images").iterdir()), films)
    shutil.copy(exported / GOLDEN / "noise.png", films)
    table = tmp_path / "table.csv"
    assert predict.main([str(exported / ONNX), str(films), "--json", "--csv", str(table)]) == 0
    records = {Path(one["image"]).name: one for one in map(json.loads, capsys.readouterr().out.splitlines())}
    assert len(records) == 5
    assert records["noise.png"]["declined"]
    with table.open(newline="") as file:
        rows = {Path(row["image"]).name: row for row in csv.DictReader(file)}
    assert bulk.main(["--model", str(exported / ONNX), "--input", str(films), "--output", str(tmp_path / "bulk")]) == 0
    predicted = pandas.read_parquet(tmp_path / "bulk" / "predictions").set_index("image")
    for name, record in records.items():
        in_bulk = predicted.loc[str(films / name)]
        assert sum(record[column] for column in COLUMNS) == pytest.approx(1)
        assert [float(rows[name][column]) for column in COLUMNS] == pytest.approx([record[c] for c in COLUMNS])
        assert in_bulk[COLUMNS].tolist() == pytest.approx([record[c] for c in COLUMNS], abs=1e-6)
        assert in_bulk.decision == record["decision"] == rows[name]["decision"]
        assert in_bulk.decision_argmax == record["decision_argmax"]


def test_another_folder_is_evaluated_by_its_class_names(trained, tmp_path, capsys):
    other = tmp_path / "other"
    for number, name in enumerate(4 * ["covid", "lung opacity", "NORMAL", "Edema"]):
        (other / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(phantom.draw(90_000 + number).image).save(other / name / f"{number}.png")
    run = shutil.copytree(trained, tmp_path / "run")
    assert evaluate.main([str(run), "--dataset", str(other)]) == 0
    (found,) = load_details(run).external
    assert found.metrics.class_of == {"covid": "COVID", "lung opacity": "Lung_Opacity", "NORMAL": "Normal"}
    assert "Viral Pneumonia" in capsys.readouterr().out
