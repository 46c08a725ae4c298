import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from covid_tfds import phantom
from covid_tfds.datasets import load_examples
from covid_tfds.examples import DatasetRequest
from trainer.features import backbone_features, pipelines
from trainer.metrics import folds
from trainer.validation import file_facts, regions, shortcuts

BLIND = {"border_only", "lungs_blacked_out", "file_facts"}


def figure(value, low, high):
    return {"value": value, "ci95": [low, high], "n": 50}


def entry(value, is_cue, lead_low, sees_lungs=False):
    told = {"sees_lungs": sees_lungs, "what": "", "auroc": figure(value, value - 0.1, 1.0)}
    return told if sees_lungs else told | {"is_cue": is_cue, "lead": figure(0, lead_low, 1)}


def test_verdict_follows_the_rule():
    good, chance = figure(0.95, 0.85, 1.0), figure(0.55, 0.43, 0.66)
    cue, weak, none = entry(0.94, True, -0.5), entry(0.62, True, 0.1), entry(0.55, False, -0.2)
    assert shortcuts.verdict(good, {"a": cue, "b": none})["verdict"] == "shortcut"
    assert shortcuts.verdict(good, {"a": weak, "b": none})["verdict"] == "not detected"
    assert shortcuts.verdict(good, {"a": none})["verdict"] == "not detected"
    seen = entry(1.0, True, -0.5, sees_lungs=True)
    assert shortcuts.verdict(good, {"a": none, "c": seen})["verdict"] == "not detected"
    found = shortcuts.verdict(chance, {"a": cue})
    assert found["verdict"] == "not detected"
    assert "not shown to be better than chance" in found["because"]
    assert "a cue that is not in the lungs" in found["because"]


def test_the_strongest_control_is_one_that_cannot_see_the_lungs():
    told = {"a": entry(0.7, False, 0), "b": entry(0.8, False, 0), "c": entry(1.0, True, 0, sees_lungs=True)}
    assert shortcuts.verdict(figure(0.9, 0.8, 1), told)["strongest"] == "b"


def test_controls_that_cannot_see_the_lungs_do_not_change_with_them():
    random = np.random.default_rng(0)
    thumbnails, facts, pooled = random.random((5, 32, 32)), random.random((5, 6)), random.random((5, 7))
    ill = thumbnails + 50 * regions.lung_mask(32, 32)
    for before, after in zip(
        shortcuts.controls(thumbnails, facts, pooled, pooled),
        shortcuts.controls(ill, facts, pooled + 1, pooled + 1),
        strict=True,
    ):
        assert before.name == after.name
        assert np.array_equal(before.inputs, after.inputs) == (before.name in BLIND), before.name
        assert before.sees_lungs == (before.name not in BLIND)


def test_out_of_fold_scores_are_scikit_learns():
    random = np.random.default_rng(0)
    inputs, labels = random.normal(size=(40, 3)), np.arange(40) % 2
    assignment = folds.assign(labels, np.arange(40), seed=1, repeats=2)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    for own, scores in zip(assignment, shortcuts.out_of_fold(inputs, labels, assignment), strict=True):
        told = cross_val_predict(classifier, inputs, labels == 0, cv=PredefinedSplit(own), method="decision_function")
        np.testing.assert_allclose(scores, told)


def test_shuffled_labels_are_at_chance_unless_the_folds_leak(monkeypatch):
    patients = np.repeat(np.arange(24), 4)
    labels = patients % 2
    inputs = np.random.default_rng(0).normal(size=(24, 40))[patients]
    honest = shortcuts.permuted_auroc(inputs, labels, patients, 5, seed=0)
    assert honest["ci95"][0] < 0.5 < honest["ci95"][1]
    leaky = (np.arange(96) % 4)[None]
    monkeypatch.setattr(folds, "assign", lambda *args, **options: leaky)
    assert shortcuts.permuted_auroc(inputs, labels, patients, 5, seed=0)["ci95"][0] > 0.8


def test_noise_is_hardly_ever_taken_for_a_cue():
    labels, patients = np.arange(60) % 2, np.arange(60)
    found = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        noise = shortcuts.Control("noise", "", False, random.normal(size=(60, 30)))
        scores = (labels == 0) + random.normal(size=(1, 60))
        assignment = folds.assign(labels, patients, seed, repeats=2)
        told = shortcuts.judge([noise], labels, patients, assignment, scores, seed)
        found += told["verdict"] == "shortcut"
    assert found <= 1


def test_file_facts_do_not_depend_on_what_the_image_shows(tmp_path):
    for name, noise in (("covid", 90), ("normal", 0)):
        (tmp_path / name).mkdir()
        for index in range(2):
            pixels = 100 + np.random.default_rng(index).normal(0, noise, (60, 80))
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.save(tmp_path / name / f"{index}.jpg", quality=80)
    facts = file_facts.file_facts(load_examples(DatasetRequest(dataset=str(tmp_path))))
    np.testing.assert_array_equal(facts, np.broadcast_to(facts[0], facts.shape))
    channels, width, height, aspect, is_jpeg, quality = facts[0]
    assert (channels, width, height, is_jpeg) == (1, np.log2(80), np.log2(60), 1)
    assert aspect == pytest.approx(np.log2(80 / 60))
    assert quality == pytest.approx(80, abs=1)


def seen_small(examples):
    batches = pipelines.eval_pipeline(examples, np.arange(len(examples)), 8)
    return np.concatenate([backbone_features.thumbnails(batch) for batch in batches])


def test_thumbnails_are_grey_means(tmp_path):
    for name, grey in (("covid", 200), ("normal", 50)):
        (tmp_path / name).mkdir()
        picture = Image.new("L", (448, 448), 10)
        picture.paste(grey, (0, 0, 14, 448))  # the leftmost column of 32
        picture.save(tmp_path / name / "0.png")
    thumbnails = seen_small(load_examples(DatasetRequest(dataset=str(tmp_path))))
    assert thumbnails.shape == (2, 32, 32)
    np.testing.assert_allclose(thumbnails[:, :, 0], [[200] * 32, [50] * 32], atol=0.5)
    np.testing.assert_allclose(thumbnails[:, :, 1:], 10, atol=0.5)


@pytest.fixture(scope="module")
def films():
    """60 phantoms, half of them ill, as (label, picture) at a quarter of the area."""
    drawn = [phantom.draw(index) for index in range(60)]
    return [(film.label, Image.fromarray(film.image).resize((224, 224))) for film in drawn]


def judged(films, folder, marked):
    """The verdict on a stand-in for a model that sees the whole image; `marked`: label whose films bear a marker."""
    for index, (label, picture) in enumerate(films):
        picture = picture.copy()
        if label == marked:
            ImageDraw.Draw(picture).rectangle((203, 203, 216, 216), fill=255)
        (folder / label).mkdir(exist_ok=True)
        picture.save(folder / label / f"{index}.png")
    examples = load_examples(DatasetRequest(dataset=str(folder)))
    thumbnails = seen_small(examples)
    whole = thumbnails.reshape(len(thumbnails), -1)
    assignment = folds.assign(examples.labels, examples.groups, 42)
    scores = shortcuts.out_of_fold(whole, examples.labels, assignment)
    controls = shortcuts.controls(thumbnails, file_facts.file_facts(examples), whole, whole)
    return shortcuts.judge(controls, examples.labels, examples.groups, assignment, scores, 42)


def test_phantom_has_no_shortcut(films, tmp_path):
    found = judged(films, tmp_path, marked=None)
    assert found["verdict"] == "not detected"
    assert found["model"]["auroc"]["value"] > 0.9
    assert not any(found["controls"][name]["is_cue"] for name in BLIND)
    low, high = found["controls"]["permuted_labels"]["auroc"]["ci95"]
    assert low < 0.5 < high


def test_a_corner_marker_on_one_class_is_a_shortcut(films, tmp_path):
    found = judged(films, tmp_path, marked="covid")
    assert found["verdict"] == "shortcut"
    assert found["strongest"] in ("border_only", "lungs_blacked_out")
    assert found["controls"]["lungs_blacked_out"]["auroc"]["value"] > 0.95
    assert not found["controls"]["file_facts"]["is_cue"]
