import csv
import doctest

import keras
import numpy as np
import pytest

import trainer
from covid_tfds.common.files import read_json
from covid_tfds.examples import DatasetRequest
from trainer.__main__ import main
from trainer.config import Config
from trainer.features import pipelines
from trainer.features.backbone_features import Backbone
from trainer.features.training_set import load_training_set
from trainer.recipes import TUTORIAL
from trainer.report.terminal import VERDICTS
from trainer.run_folder.run import load


def run(output, *flags):
    assert main([*flags, "--weights", "random", "--output", str(output)]) == 0
    return load(output)


@pytest.fixture
def finished(small_run):
    return load(small_run)


def test_a_run_folder_has_what_it_promises(finished):
    names = {path.name for path in finished.path.iterdir()}
    assert {"config.json", "environment.json", "model.keras", "history.csv", "plot.png"} <= names
    assert {"predictions.csv", "metrics.json", "out_of_fold.csv", "dataset.json", "saliency.json"} <= names
    assert {"typicality.npz", "typicality.json", "typicality"} <= names
    assert {"report.html", "report.json", "MODEL_CARD.md"} <= names
    assert not [name for name in names if name.startswith(".")]
    assert not list(finished.path.rglob("*.xplane.pb"))  # a profile, without --profile


def test_the_report_shows_this_run(finished):
    page = (finished.path / "report.html").read_text(encoding="utf-8")
    assert "not done" not in page.split('id="external"')[0]
    shown = [i for i in read_json(finished.path / "saliency.json")["images"] if i["overlay"]]
    assert {i["image_id"] for i in shown if i["group"] == "test"} == {
        row.image_id for row in finished.predictions if row.split == "test"
    }
    pairs = [image["pair"] for image in read_json(finished.path / "typicality.json")["images"] if image["pair"]]
    assert len(pairs) == 4
    assert page.count("data:image/jpeg") == len(shown) + len(pairs)
    assert all(i["image_id"] in page for i in shown)


def test_the_example_of_the_package_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (test,) = doctest.DocTestFinder(recurse=False).find(trainer)
    for example in test.examples:
        example.options.clear()  # which skip it where nobody wants ten seconds of training
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test) == (0, 7)


def test_metrics_have_the_agreed_shape(finished):
    metrics = finished.metrics
    assert metrics.positive_class == "covid"
    assert metrics.test.n == 4
    assert metrics.cross_validation.n == 20
    for section in (metrics.test, metrics.cross_validation):
        for name in ("accuracy", "sensitivity", "specificity", "auroc", "pr_auc", "brier"):
            estimate = getattr(section, name)
            assert estimate.ci95[0] <= estimate.value <= estimate.ci95[1]
    assert metrics.operating_point.test.sensitivity == metrics.test.sensitivity
    assert metrics.threshold == metrics.operating_point.threshold
    assert metrics.temperature == metrics.calibration.temperature
    assert metrics.shortcuts.model.auroc == metrics.cross_validation.auroc
    assert set(metrics.shortcuts.controls) == {
        "border_only",
        "lungs_blacked_out",
        "thumbnail_16x16",
        "file_facts",
        "mean_brightness",
        "untrained_backbone",
        "permuted_labels",
    }


def test_metrics_follow_from_the_predictions(finished):
    test = [row for row in finished.predictions if row.split == "test"]
    right = [(row.p_positive >= finished.metrics.threshold) == (row.label == "covid") for row in test]
    assert finished.metrics.test.accuracy.value == np.mean(right)
    (tp, fn), (fp, tn) = finished.metrics.test.confusion_matrix
    assert tp + fn + fp + tn == len(test)


def test_the_saved_model_gives_the_predictions(finished, phantom_folder):
    examples = load_training_set(Config(data=DatasetRequest(dataset=str(phantom_folder))))
    loaded = keras.models.load_model(finished.model_path, safe_mode=True)
    images = np.concatenate(list(pipelines.eval_pipeline(examples, np.arange(len(examples)), 8)))
    told = [row.p_positive for row in finished.predictions]
    np.testing.assert_allclose(loaded.predict(images, verbose=0)[:, 0], told, atol=1e-5)


def test_history_has_a_row_an_epoch(finished):
    with (finished.path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(rows[0])


def test_the_environment_says_what_the_figures_depend_on(finished):
    environment = finished.environment
    assert environment.seed == 42
    assert environment.weights.trained is False
    assert len(environment.weights.sha256) == len(environment.dataset.fingerprint) == 64
    assert {"tensorflow", "keras", "numpy", "python"} <= set(environment.versions)
    assert any("UNTRAINED" in note for note in environment.notes)
    assert any("patients.csv" in note for note in environment.notes)


def test_the_same_seed_gives_the_same_run(finished, phantom_folder, tmp_path):
    again = run(tmp_path / "again", "--dataset", str(phantom_folder), "--epochs", "4")
    for name in ("metrics.json", "history.csv", "predictions.csv"):
        assert (again.path / name).read_bytes() == (finished.path / name).read_bytes()
    assert again.environment.run_id == finished.environment.run_id


def test_the_terminal_shows_figures_and_verdict_and_names_the_report(phantom_folder, tmp_path, capsys):
    finished = run(tmp_path / "run", "--dataset", str(phantom_folder), "--epochs", "1")
    text = capsys.readouterr().out
    assert "precision    recall  f1-score" in text
    for line in ("Confusion matrix", "sensitivity", "specificity", "95 % CI", "UNTRAINED", str(finished.path)):
        assert line in text
    assert str(finished.path / "report.html") in text
    assert text.count("=" * 88) == 2
    verdict = text.split("=" * 88)[1]
    assert VERDICTS[finished.metrics.shortcuts.verdict] in verdict
    strongest = finished.metrics.shortcuts.strongest
    assert f"{finished.metrics.shortcuts.controls[strongest].auroc.value:.2f}" in verdict
    assert f"{finished.metrics.shortcuts.model.auroc.value:.2f}" in verdict


def test_an_existing_output_gives_one_line(finished, phantom_folder, capsys):
    before = (finished.path / "metrics.json").read_bytes()
    code = main(["--dataset", str(phantom_folder), "--weights", "random", "--output", str(finished.path)])
    assert code == 2
    assert "exists" in capsys.readouterr().err
    assert (finished.path / "metrics.json").read_bytes() == before


def test_an_unreadable_image_gives_one_line_that_names_it(phantom_folder, tmp_path, capsys):
    import shutil

    folder = shutil.copytree(phantom_folder, tmp_path / "copied")
    (folder / "covid" / "phantom-00000.png").write_bytes(b"<html>not found</html>")
    code = main(["--dataset", str(folder), "--weights", "random", "--output", str(tmp_path / "run")])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert "covid/phantom-00000.png" in error
    assert not (tmp_path / "run").exists()


def test_the_tutorial_recipe_end_to_end(phantom_folder, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(Backbone, "load", lambda *_: tiny)
    finished = run(tmp_path / "run", "--dataset", str(phantom_folder), "--recipe", "tutorial", "--epochs", "2")
    assert finished.environment.recipe.pooling == "corner"
    with (finished.path / "history.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2


@pytest.mark.slow
def test_the_demo_finds_the_disease(demo_run):
    metrics = load(demo_run).metrics
    assert metrics.test.auroc.value >= 0.9
    assert metrics.shortcuts.verdict == "not detected"


@pytest.mark.slow
def test_curated_reaches_the_tutorials_headline(curated_run):
    test = load(curated_run).metrics.test
    assert test.accuracy.value >= 0.9
    assert test.sensitivity.value == 1.0


@pytest.mark.slow
def test_the_tutorials_hyperparameters_on_curated(train, manual_dir):
    """On features, as a search of one trial has them: it is the tutorial's point.

    Sensitivity is not among the checks: one COVID-19 image, lancet-case2b, is missed with every seed tried.
    """
    flags = ["--config", "curated", "--manual_dir", str(manual_dir), "--tune", "--trials", "1", "--folds", "2"]
    finished = load(train("tutorial_point", *flags))
    assert finished.environment.recipe == TUTORIAL
    assert finished.metrics.test.accuracy.value >= 0.9
    assert finished.metrics.test.auroc.value >= 0.9


@pytest.mark.trial
def test_the_tutorials_recipe_on_curated(train, manual_dir):
    """Two minutes on 2 cores: every epoch runs every image through VGG16."""
    flags = ["--config", "curated", "--manual_dir", str(manual_dir), "--recipe", "tutorial"]
    finished = load(train("tutorial", *flags))
    assert finished.metrics.test.accuracy.value >= 0.9
    assert finished.metrics.test.auroc.value >= 0.9
    assert finished.config.recipe == "tutorial"
