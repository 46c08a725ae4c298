"""Numbers that go wrong: a loss that explodes, images that are all the same, classes of one patient, 1 : 40."""

import json
import re

import keras
import numpy as np
import pytest
from PIL import Image

from covid_tfds.common.files import read_csv, to_json
from covid_tfds.common.new_folder import staging
from covid_tfds.datasets import load_examples
from covid_tfds.examples import DatasetRequest
from trainer.models import head_fitting, tutorial_fit
from trainer.run_folder import file_names, keras_file
from trainer.run_folder.run import load
from trainer.validation import external


def make_folder(folder, covid: int, normal: int, patients=None, image=None):
    """A training folder of so many small images a class; image: one for all, patients: images of one patient."""
    random = np.random.default_rng(0)
    lines = ["path,patient_id"]
    for name, count in (("covid", covid), ("normal", normal)):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            noise = random.integers(0, 256, (40, 40), np.uint8) // (2 if name == "covid" else 1)
            path = folder / name / f"{index:03}.png"
            Image.fromarray(noise).save(path) if image is None else image.save(path)
            lines.append(f"{name}/{path.name},{name}-{index // (patients or 1)}")
    if patients:
        (folder / "patients.csv").write_text("\n".join(lines) + "\n")
    return folder


def strict(path):
    """A JSON file without NaN or Infinity, which Python would read and JSON does not know."""

    def refuse(constant):
        raise AssertionError(f"{path.name} holds {constant}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def estimates_in(value, where=""):
    """(place, estimate) for every {"value", "ci95", "n"} in a JSON value."""
    if isinstance(value, dict):
        if {"value", "ci95", "n"} <= set(value):
            yield where, value
        for key, item in value.items():
            yield from estimates_in(item, f"{where}/{key}")


def assert_all_metrics_are_defined_or_say_why(run):
    metrics = strict(run / file_names.METRICS)
    found = dict(estimates_in(metrics))
    assert len(found) > 15
    for where, estimate in found.items():
        if estimate["value"] is None:
            assert estimate["because"], where
        else:
            low, high = estimate["ci95"]
            assert 0 <= low <= estimate["value"] <= high <= 1 or "lead" in where, where
    assert not re.search(r"\bnan\b|\binf\b", (run / file_names.REPORT).read_text(encoding="utf-8"), re.IGNORECASE)
    for name in (file_names.PREDICTIONS, file_names.OUT_OF_FOLD):
        assert all(0 <= float(row["p_covid"]) <= 1 for row in read_csv(run / name))


def explodes_after(steps: int):
    """An Adam whose learning rate becomes infinite after so many steps."""

    class Exploding(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return keras.ops.where(step < steps, 1e-3, float("inf"))

    return lambda recipe, steps_an_epoch: Exploding()


@pytest.mark.parametrize("recipe", ["default", "tutorial"])
def test_a_loss_that_explodes_ends_training_and_keeps_the_last_good_weights(
    train_tiny, tmp_path, capsys, monkeypatch, recipe
):
    """16 images in batches of 8: two steps an epoch, so the third epoch is the first that goes wrong."""
    for module in (head_fitting, tutorial_fit):
        monkeypatch.setattr(module, "learning_rate_schedule", explodes_after(5))
    output = tmp_path / "run"
    assert train_tiny(output, "--recipe", recipe, "--epochs", "6") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "epoch 3 of 6" in line
    assert "learning rate 0.001" in line
    kept = staging(output) / file_names.LAST_GOOD
    assert str(kept) in line
    assert not output.exists()
    model = keras_file.load_model(kept)
    image = np.random.default_rng(0).integers(0, 256, (2, 50, 60, 3)).astype(np.float32)
    probabilities = model.predict(image, verbose=0)
    assert np.isfinite(probabilities).all()
    # What is kept is what two epochs give.
    assert train_tiny(tmp_path / "two", "--recipe", recipe, "--epochs", "2") == 0
    two = keras_file.load_model(tmp_path / "two" / file_names.MODEL)
    kept, expected = (network.get_layer("head").get_weights() for network in (model, two))
    for one, other in zip(kept[:-2], expected[:-2], strict=True):  # the last layer has the temperature in it
        np.testing.assert_array_equal(one, other)


def test_a_loss_that_is_wrong_from_the_start_keeps_nothing(train_tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tutorial_fit, "learning_rate_schedule", explodes_after(0))
    assert train_tiny(tmp_path / "run", "--recipe", "tutorial") == 2
    assert "epoch 1 of 2" in capsys.readouterr().err
    assert not list(tmp_path.rglob(file_names.LAST_GOOD))


@pytest.mark.parametrize("colour", [128, pytest.param(0, marks=pytest.mark.trial)])
def test_images_that_are_all_the_same(train_tiny, tmp_path, colour):
    """Nothing can be learned: AUROC 0.5 everywhere, and no estimate is left without a value or a reason."""
    folder = make_folder(tmp_path / "images", 10, 10, image=Image.new("L", (40, 40), colour))
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        path.write_bytes(path.read_bytes() + bytes([number]))  # equal pixels in files that differ
    assert train_tiny(tmp_path / "run", "--dataset", str(folder)) == 0
    assert_all_metrics_are_defined_or_say_why(tmp_path / "run")
    assert strict(tmp_path / "run" / file_names.METRICS)["cross_validation"]["auroc"]["value"] == pytest.approx(
        0.5, abs=0.2
    )
    assert strict(tmp_path / "run" / file_names.METRICS)["shortcuts"]["verdict"] == "inconclusive"


def test_a_class_of_one_patient_can_not_be_judged(train_tiny, tmp_path, capsys):
    folder = make_folder(tmp_path / "images", 10, 10, patients=10)
    assert train_tiny(tmp_path / "run", "--dataset", str(folder)) == 2
    assert re.search(r"'covid'.* 5 patients", capsys.readouterr().err)


def test_one_against_forty(train_tiny, tmp_path):
    """5 covid images and 200 others: one covid image in the test split."""
    folder = make_folder(tmp_path / "images", 5, 200)
    assert train_tiny(tmp_path / "run", "--dataset", str(folder)) == 0
    run = tmp_path / "run"
    assert_all_metrics_are_defined_or_say_why(run)
    test = strict(run / file_names.METRICS)["test"]
    assert test["sensitivity"]["n"] == 1
    low, high = test["sensitivity"]["ci95"]
    assert high - low > 0.9  # one image says nearly nothing, and the interval says so


def test_one_class_alone_is_undefined_and_says_why(train_tiny, tmp_path, monkeypatch):
    """A validation on images of one class: no AUROC, no sensitivity."""
    assert train_tiny(tmp_path / "run") == 0
    run = load(tmp_path / "run")
    others = make_folder(tmp_path / "others", 1, 6)
    examples = load_examples(DatasetRequest(dataset=str(others)))
    examples = examples.subset(np.flatnonzero(examples.labels == 1))
    scores = np.linspace(0.1, 0.9, 6)
    monkeypatch.setattr(external, "run_model", lambda *_: (np.stack([scores, 1 - scores], axis=1), None))
    monkeypatch.setattr(external, "measure_declined", lambda *_: None)
    validation = external._evaluate(run, "others", examples, {"covid": "covid", "normal": "normal"}, 1)
    test = json.loads(json.dumps(to_json(validation.metrics), allow_nan=False))["test"]
    assert test["auroc"] == {"value": None, "ci95": None, "n": 6, "because": "there are images of one class only"}
    assert test["sensitivity"]["because"] == "there is no positive image"
    assert test["pr_auc"]["because"] == "there is no positive image"
    assert test["specificity"]["value"] is not None
