import numpy as np
import pytest
from PIL import Image, ImageDraw

from covid_tfds import phantom
from covid_tfds.datasets import load_examples
from covid_tfds.examples import DatasetRequest
from trainer.features import backbone_features, pipelines
from trainer.metrics.folds import assign_folds
from trainer.run_folder.results import ControlResult, Estimate
from trainer.validation.controls import Control, build_controls, score_out_of_fold
from trainer.validation.file_facts import file_facts
from trainer.validation.verdict import compare_with_controls, decide

BLIND = ("border_only", "lungs_blacked_out", "file_facts")
GOOD, CHANCE = Estimate(0.95, (0.85, 1.0), 50), Estimate(0.55, (0.43, 0.66), 50)


def result(value, is_cue, lead_low, sees_lungs=False):
    auroc = Estimate(value, (value - 0.1, 1.0), 50)
    return ControlResult(sees_lungs, "", auroc, is_cue, Estimate(0.0, (lead_low, 1.0), 50))


CUE, WEAK, NONE = result(0.94, True, -0.5), result(0.62, True, 0.1), result(0.55, False, -0.2)


@pytest.mark.parametrize(
    ("model", "controls", "verdict"),
    [
        (GOOD, {"a": CUE, "b": NONE}, "shortcut"),
        (GOOD, {"a": WEAK, "b": NONE}, "not detected"),
        (GOOD, {"a": NONE}, "not detected"),
        (GOOD, {"a": NONE, "c": result(1.0, True, -0.5, sees_lungs=True)}, "not detected"),
        (CHANCE, {"a": CUE}, "not detected"),
    ],
)
def test_verdict_follows_the_rule(model, controls, verdict):
    assert decide(model, controls).verdict == verdict


def test_the_reason_names_the_controls():
    assert "border_only" in decide(GOOD, {"border_only": CUE, "file_facts": NONE}).because
    assert "file_facts" not in decide(GOOD, {"border_only": CUE, "file_facts": NONE}).because
    assert "border_only" in decide(CHANCE, {"border_only": CUE}).because


def test_the_strongest_control_is_one_that_cannot_see_the_lungs():
    controls = {"a": result(0.7, False, 0), "b": result(0.8, False, 0), "c": result(1.0, True, 0, sees_lungs=True)}
    assert decide(GOOD, controls).strongest == "b"


def test_noise_is_seldom_called_a_cue():
    is_positive, patients = np.arange(60) % 2 == 0, np.arange(60)
    shortcuts = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        noise = Control("noise", "", False, random.normal(size=(60, 30)))
        scores = is_positive + random.normal(size=(1, 60))
        folds = assign_folds(is_positive, patients, seed, repeats=2)
        found = compare_with_controls([noise], is_positive, patients, folds, scores, seed)
        shortcuts += found.verdict == "shortcut"
    assert shortcuts <= 1


@pytest.fixture(scope="module")
def images():
    """60 phantoms, half of them ill, as (label, image) at a quarter of the area."""
    drawn = [phantom.draw(index) for index in range(60)]
    return [(one.label, Image.fromarray(one.image).resize((224, 224))) for one in drawn]


def compared(images, folder, marked):
    """The controls against a stand-in for a model that sees the whole image; `marked`: the class that has a marker."""
    for index, (label, image) in enumerate(images):
        image = image.copy()
        if label == marked:
            ImageDraw.Draw(image).rectangle((203, 203, 216, 216), fill=255)
        (folder / label).mkdir(exist_ok=True)
        image.save(folder / label / f"{index}.png")
    examples = load_examples(DatasetRequest(dataset=str(folder)))
    batches = pipelines.eval_pipeline(examples, np.arange(len(examples)), 8)
    thumbnails = np.concatenate([backbone_features.thumbnails(batch) for batch in batches])
    whole = thumbnails.reshape(len(thumbnails), -1)
    is_positive, folds = examples.is_class("covid"), assign_folds(examples.labels, examples.groups, 42)
    scores = score_out_of_fold(whole, is_positive, folds)
    controls = build_controls(thumbnails, file_facts(examples), whole, whole)
    return compare_with_controls(controls, is_positive, examples.groups, folds, scores, 42)


def test_phantom_has_no_shortcut(images, tmp_path):
    found = compared(images, tmp_path, marked=None)
    assert found.verdict == "not detected"
    assert found.model.auroc.value > 0.9
    assert not any(found.controls[name].is_cue for name in BLIND)
    low, high = found.controls["permuted_labels"].auroc.ci95
    assert low < 0.5 < high


def test_a_corner_marker_on_one_class_is_a_shortcut(images, tmp_path):
    found = compared(images, tmp_path, marked="covid")
    assert found.verdict == "shortcut"
    assert found.strongest in ("border_only", "lungs_blacked_out")
    assert found.controls["lungs_blacked_out"].auroc.value > 0.95
    assert not found.controls["file_facts"].is_cue
