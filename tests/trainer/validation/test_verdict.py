import re

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.special import expit

from covid_tfds import phantom
from covid_tfds.datasets import load_examples
from covid_tfds.examples import DatasetRequest
from trainer.features import forward, pipelines
from trainer.metrics.folds import assign_folds
from trainer.run_folder.estimate import Estimate
from trainer.run_folder.shortcut_results import ControlResult
from trainer.validation.controls import Control, build_controls, score_out_of_fold
from trainer.validation.verdict import Separation, compare_facts, compare_leads, compare_with_controls, decide

BLIND = ("border_only", "lungs_blacked_out", "file_facts")
GOOD, CHANCE = Estimate(0.95, (0.85, 1.0), 50), Estimate(0.55, (0.43, 0.66), 50)


def result(value, is_cue, lead_low, sees_lungs=False):
    auroc = Estimate(value, (value - 0.1, 1.0), 50)
    return ControlResult(sees_lungs, "", auroc, is_cue, Estimate(0.0, (lead_low, 1.0), 50))


CUE, WEAK = result(0.94, True, -0.5), result(0.62, True, 0.1)
OPEN, NONE = result(0.6, False, -0.2), result(0.52, False, 0.1)
SEEING = result(1.0, True, -0.5, sees_lungs=True)


@pytest.mark.parametrize(
    ("model", "controls", "verdict"),
    [
        (GOOD, {"a": CUE, "b": NONE}, "shortcut"),
        (GOOD, {"a": CUE, "b": OPEN}, "shortcut"),
        (GOOD, {"a": WEAK, "b": NONE}, "not detected"),
        (GOOD, {"a": NONE, "c": SEEING}, "not detected"),
        (GOOD, {"a": OPEN}, "inconclusive"),
        (GOOD, {"a": NONE, "b": OPEN}, "inconclusive"),
        (CHANCE, {"a": CUE}, "inconclusive"),
        (CHANCE, {"a": NONE}, "inconclusive"),
    ],
)
def test_verdict_follows_the_rule(model, controls, verdict):
    assert decide(model, controls, patients=50).verdict == verdict


def test_the_reason_names_the_controls():
    assert "border_only" in decide(GOOD, {"border_only": CUE, "file_facts": NONE}, 50).because
    assert "file_facts" not in decide(GOOD, {"border_only": CUE, "file_facts": NONE}, 50).because
    assert "border_only" in decide(CHANCE, {"border_only": CUE}, 50).because
    assert "border_only" in decide(GOOD, {"border_only": OPEN, "file_facts": NONE}, 50).because


@pytest.mark.parametrize(("lead", "wanted"), [(0.2, "450"), (-0.1, None)])
def test_an_open_question_says_how_many_patients_would_settle_it(lead, wanted):
    """n x (half-width / lead) squared: 50 x (0.6 / 0.2) squared; where the lead is not positive, no number would do."""
    control = ControlResult(
        False, "", Estimate(0.6, (0.5, 0.7), 50), False, Estimate(lead, (lead - 0.6, lead + 0.6), 50)
    )
    numbers = re.findall(r"\d+ patients", decide(GOOD, {"a": control}, 50).because)
    assert numbers == ([f"{wanted} patients"] if wanted else [])


def test_a_control_below_chance_does_not_add_to_the_lead():
    model, draws = Estimate(0.9, (0.8, 1.0), 50), np.linspace(0.8, 1.0, 201)
    lead = compare_leads(model, draws, Estimate(0.3, (0.2, 0.4), 50), np.full(201, 0.3))
    assert lead.value == pytest.approx(0.4)
    assert lead.ci95 == pytest.approx((0.305, 0.495))


def test_the_strongest_control_is_one_that_cannot_see_the_lungs():
    controls = {"a": result(0.7, False, 0), "b": result(0.8, False, 0), "c": result(1.0, True, 0, sees_lungs=True)}
    assert decide(GOOD, controls, 50).strongest == "b"


def test_the_number_of_patients_is_that_of_the_control_that_needs_most():
    """50 x (0.4 / 0.2) squared is 200, 50 x (0.9 / 0.3) squared is 450."""
    leads = {"a": (0.2, 0.4), "b": (0.3, 0.9)}
    controls = {
        name: ControlResult(False, "", CHANCE, False, Estimate(lead, (lead - half, lead + half), 50))
        for name, (lead, half) in leads.items()
    }
    assert "450 patients" in decide(GOOD, controls, 50).because


def separation(value, spread=0.1):
    return Separation(
        Estimate(value, (value - spread, value + spread), 50), np.linspace(value - spread, value + spread, 201)
    )


@pytest.mark.parametrize(
    ("facts", "image", "both", "image_gains", "both_gain"),
    [(0.6, 0.9, 0.9, True, False), (0.9, 0.7, 0.95, False, True), (0.7, 0.7, 0.7, False, False)],
)
def test_facts_alone_image_alone_and_both(facts, image, both, image_gains, both_gain):
    found = compare_facts(separation(facts, 0.05), separation(image), separation(both, 0.02))
    assert found.image_minus_facts.value == pytest.approx(image - facts)
    assert found.both_minus_image.value == pytest.approx(both - image)
    assert (found.image_minus_facts.ci95[0] > 0) == image_gains
    assert (found.both_minus_image.ci95[0] > 0) == both_gain
    assert ("alone, without any image" in found.because) == (not image_gains)


def test_differences_of_facts_and_image_are_paired():
    """The replicates are the same: a difference that all of them have has no width."""
    found = compare_facts(separation(0.6), separation(0.7), separation(0.7))
    assert found.image_minus_facts.ci95 == pytest.approx((0.1, 0.1))


def test_facts_and_image_together_use_both():
    """Facts and image each see one of two independent cues."""
    random = np.random.default_rng(0)
    is_positive, patients = np.arange(200) % 2 == 0, np.arange(200)
    cue, other = random.normal(is_positive, 1.0), random.normal(is_positive, 1.0)
    facts = Control("patient_facts", "", False, cue[:, None])
    folds = assign_folds(is_positive, patients, 0, repeats=1)
    found = compare_with_controls([facts], is_positive, patients, folds, expit(other - 0.5)[None], 0)
    result = found.patient_facts
    assert result.facts == found.controls["patient_facts"].auroc
    assert result.image == found.model.auroc
    assert result.both.value > max(result.facts.value, result.image.value) + 0.03


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
    thumbnails = np.concatenate([forward.thumbnails(batch) for batch in batches])
    whole = thumbnails.reshape(len(thumbnails), -1)
    is_positive, folds = examples.is_class("covid"), assign_folds(examples.labels, examples.groups, 42)
    scores = score_out_of_fold(whole, is_positive, folds)
    controls = build_controls(examples, thumbnails, whole, whole)
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
