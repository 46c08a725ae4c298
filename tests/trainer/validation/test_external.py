import dataclasses

import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.examples import DatasetRequest
from tests.fakes import run_files
from tests.fakes.examples import make_examples
from trainer.evaluate import tabulate_metrics
from trainer.run_folder.estimate import Estimate
from trainer.run_folder.results import Declined
from trainer.validation import external
from trainer.validation.external import match_classes, validate_externally

FOUR = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")


@pytest.mark.parametrize(
    ("own", "others", "matched"),
    [
        (("covid", "normal"), ("covid", "normal"), {"covid": "covid", "normal": "normal"}),
        (("covid", "normal"), ("COVID-19", "other"), {"COVID-19": "covid", "other": "normal"}),
        (("covid", "normal"), ("COVID", "Lung_Opacity", "Normal"), {"COVID": "covid", "Normal": "normal"}),
        (FOUR, ("covid19", "NORMAL"), {"covid19": "COVID", "NORMAL": "Normal"}),
        (FOUR, ("covid", "viral_pneumonia"), {"covid": "COVID", "viral_pneumonia": "Viral Pneumonia"}),
        (FOUR, ("covid", "bacterial"), None),
        (("pneumonia", "normal"), ("covid", "pneumonia", "normal"), {"pneumonia": "pneumonia", "normal": "normal"}),
    ],
)
def test_classes_match_by_name(own, others, matched):
    assert match_classes(own, others) == matched


@pytest.fixture
def run(tmp_path):
    """A run of four classes, in memory."""
    run, _ = run_files.make(tmp_path)
    dataset = dataclasses.replace(run.environment.dataset, class_names=FOUR)
    environment = dataclasses.replace(run.environment, dataset=dataset)
    metrics = dataclasses.replace(run.metrics, positive_class="COVID", threshold=0.3)
    return dataclasses.replace(run, environment=environment, metrics=metrics)


def predict_nothing_but_normal(run, examples):
    return np.tile([0.1, 0.2, 0.6, 0.1], (len(examples), 1)), None


def test_what_the_run_does_not_have_is_left_out_and_what_the_other_lacks_is_named(run, monkeypatch):
    examples = make_examples([0, 0, 1, 1, 1, 2], class_names=("COVID-19", "normal", "Tuberculosis"))
    monkeypatch.setattr(external, "load_examples", lambda _: examples)
    monkeypatch.setattr(external, "run_model", predict_nothing_but_normal)
    declined = Declined(0.1, Estimate(0.0, (0.0, 0.5), 5), None)
    monkeypatch.setattr(external, "measure_declined", lambda *_: declined)
    found = validate_externally(run, DatasetRequest(dataset="."))
    assert found.metrics.class_of == {"COVID-19": "COVID", "normal": "Normal"}
    assert found.metrics.unknown_classes == {"Tuberculosis": 1}
    assert found.metrics.missing_classes == ("Lung_Opacity", "Viral Pneumonia")
    assert found.metrics.dataset.class_names == ("COVID-19", "normal", "Tuberculosis")
    assert found.metrics.test.n == 5
    assert found.metrics.test.argmax.confusion_matrix == ((0, 0, 2, 0), (0, 0, 0, 0), (0, 0, 3, 0), (0, 0, 0, 0))
    assert found.metrics.test.argmax.balanced_accuracy.value == 0.5
    assert [row.label for row in found.predictions] == ["COVID"] * 2 + ["Normal"] * 3
    assert {row.decision for row in found.predictions} == {"Normal"}
    text = tabulate_metrics(run.metrics, found)
    for part in ("'COVID-19' stands for 'COVID'", "Lung_Opacity, Viral Pneumonia", "Tuberculosis (1)"):
        assert part in text


def test_a_dataset_without_any_of_the_other_classes_is_refused(run, monkeypatch):
    examples = make_examples([0, 1], class_names=("covid", "Tuberculosis"))
    monkeypatch.setattr(external, "load_examples", lambda _: examples)
    with pytest.raises(UsageError, match="Tuberculosis"):
        validate_externally(run, DatasetRequest(dataset="."))
