"""`kermany_covid_full` through all commands: three classes, three splits, 200 made-up images, a small network."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from export import __main__ as export_command
from export.runtime.predictor import Predictor
from tests.fakes.kermany_full import covid, expect, kermany, lay_out
from trainer import __main__ as trainer_command
from trainer import evaluate
from trainer.features.backbone_features import Backbone
from trainer.run_folder.details import load_details
from trainer.run_folder.run import load

NAMES = ("covid", "normal", "pneumonia")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny):
    """The folder of the made-up images, that of the prepared datasets, and the run."""
    folder = tmp_path_factory.mktemp("full")
    with pytest.MonkeyPatch.context() as patch:
        covid_files, kermany_files = covid(50), kermany(150)
        expect(patch, covid_files, kermany_files)
        tree = lay_out(folder / "manual", covid_files, kermany_files)
        patch.setattr(Backbone, "load", lambda *_: tiny)
        argv = ["--config", "kermany_covid_full", "--manual_dir", str(tree), "--data_dir", str(folder / "data")]
        argv += ["--weights", "random", "--tune", "--trials", "2", "--folds", "2", "--output", str(folder / "run")]
        assert trainer_command.main(argv) == 0
    return folder / "run"


def test_three_classes_are_searched_trained_and_evaluated(trained):
    run = load(trained)
    assert run.environment.dataset.class_names == NAMES
    assert Counter(row.split for row in run.predictions).keys() == {"train", "test"}
    assert len(run.predictions) == 200
    assert set(run.predictions[0].probabilities) == set(NAMES)
    assert len(run.metrics.test.argmax.confusion_matrix) == 3
    assert set(run.metrics.test.classes) == set(NAMES)
    assert set(run.metrics.shortcuts.classes) == {"normal", "pneumonia"}
    assert run.metrics.test.macro_auroc.value == pytest.approx(
        sum(one.auroc.value for one in run.metrics.test.classes.values()) / 3
    )


def test_another_dataset_is_evaluated_by_its_class_names(trained, data_dir, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    other = ["--config", "phantom_three_classes", "--num_examples", "15", "--data_dir", str(data_dir)]
    assert evaluate.main([str(run), *other]) == 0
    (found,) = load_details(run).external
    assert found.metrics.class_of == {name: name for name in NAMES}
    assert found.metrics.test.n == 15


def test_it_is_exported_and_predicts_all_three(trained, tmp_path):
    run = load(trained)
    assert export_command.main([str(trained), "--output", str(tmp_path / "export")]) == 0
    predictor = Predictor(tmp_path / "export" / "model.onnx")
    assert tuple(predictor.info.labels) == NAMES
    image = next(Path(run.config.data.manual_dir).rglob("*.jpeg"))
    found = predictor.predict_file(image)
    assert set(found.probabilities) == set(NAMES)
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert found.decision_argmax == max(found.probabilities, key=found.probabilities.get)
