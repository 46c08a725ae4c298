"""The tutorial's own run: its recipe on `as_published` with ImageNet weights. Three minutes on 2 cores each."""

import pytest

from trainer.report.terminal import describe_results
from trainer.run_folder.run import load


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "seed",
    [pytest.param(42, marks=pytest.mark.slow), *(pytest.param(seed, marks=pytest.mark.trial) for seed in (1, 2))],
)
def test_the_tutorials_headline_by_argmax(train_imagenet, seed):
    flags = [] if seed == 42 else ["--seed", str(seed)]
    run = load(train_imagenet("as_published", "--recipe", "tutorial", *flags))
    found = run.metrics.test.argmax
    assert found.confusion_matrix == ((5, 0), (1, 4))
    assert (found.accuracy.value, found.sensitivity.value, found.specificity.value) == (0.9, 1.0, 0.8)
    assert run.environment.weights.name == "ImageNet"
    text = describe_results(run)
    lead, _, _ = text.partition("Two rules of decision")
    for line in ("Decided by argmax", "acc: 0.9000", "sensitivity: 1.0000", "specificity: 0.8000", "0.90"):
        assert line in lead
