"""The verdicts on the four configs with VGG16's ImageNet weights."""

import pytest

from trainer.run_folder.run import load

VERDICTS = {
    "phantom": "not detected",
    "source_matched": "inconclusive",
    "curated": "shortcut",
    "as_published": "shortcut",
}


@pytest.mark.slow
@pytest.mark.parametrize("config", VERDICTS)
def test_the_verdict_with_real_weights(train_imagenet, config):
    assert load(train_imagenet(config)).metrics.shortcuts.verdict == VERDICTS[config]


@pytest.mark.slow
def test_curated_is_told_apart_by_source_alone(train_imagenet):
    """Each source holds one class only, and so do the stated facts."""
    shortcuts = load(train_imagenet("curated")).metrics.shortcuts
    assert all(0 in counts.values() for counts in shortcuts.sources.values())
    for name in ("source", "patient_facts"):
        assert shortcuts.controls[name].auroc.value > 0.95
        assert shortcuts.controls[name].is_cue
    assert shortcuts.patient_facts.image_minus_facts.ci95[0] <= 0


@pytest.mark.slow
def test_source_matched_has_one_source_and_no_cue_in_its_facts(train_imagenet):
    shortcuts = load(train_imagenet("source_matched")).metrics.shortcuts
    assert shortcuts.sources is None
    assert not shortcuts.controls["patient_facts"].is_cue
