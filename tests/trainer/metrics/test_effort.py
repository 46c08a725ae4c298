import numpy as np

from tests.fakes.examples import make_examples
from trainer.metrics import bootstrap, effort
from trainer.validation.cross_validation import plan_folds


def test_many_images_are_repeated_less_often(monkeypatch):
    monkeypatch.setattr(effort, "MANY_IMAGES", 40)
    for images, repeats, replicates in ((40, 5, 2_000), (42, 1, 500)):
        examples = make_examples(np.arange(images) % 2)
        assert len(plan_folds(examples, np.arange(images), seed=1).folds) == repeats
        drawn = bootstrap.draw_replicates(examples.labels, examples.groups)
        assert sum(map(len, drawn)) == replicates
