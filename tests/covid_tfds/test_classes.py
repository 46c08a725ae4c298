import numpy as np
import pytest

from covid_tfds.classes import choose_classes
from covid_tfds.common.errors import UsageError
from covid_tfds.examples import DatasetRequest
from tests.fakes.examples import make_examples

NAMES = ("Lung_Opacity", "COVID", "Normal")


def choose(names=NAMES, **flags):
    examples = make_examples([0, 1, 2, 1], class_names=names, layout="flat")
    return choose_classes(examples, DatasetRequest(**flags))


def test_the_positive_class_becomes_class_0():
    examples = choose()
    assert examples.class_names == ("COVID", "Lung_Opacity", "Normal")
    assert examples.positive_class == "COVID"
    assert examples.labels.tolist() == [0, 0, 1, 2]
    assert examples.image_id.tolist() == ["image-1", "image-3", "image-0", "image-2"]
    assert list(examples.read(np.array([2]))) == [b"image 0"]


def test_another_positive_class():
    assert choose(positive_class="normal").class_names == ("Normal", "Lung_Opacity", "COVID")


def test_a_subset_of_the_classes():
    examples = choose(classes="Normal, COVID")
    assert examples.class_names == ("COVID", "Normal")
    assert examples.image_id.tolist() == ["image-1", "image-3", "image-2"]


def test_a_prepared_dataset_keeps_its_order():
    examples = make_examples(
        [0, 1, 0, 1], class_names=("a", "covid"), split=np.asarray(["train", "train", "test", "test"])
    )
    chosen = choose_classes(examples, DatasetRequest())
    assert chosen.image_id.tolist() == [f"image-{row}" for row in range(4)]
    assert chosen.labels.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("name", ["COVID-19", "covid19", "Covid", "SARS-CoV-2", "positive", "COVID_positive"])
def test_covid_in_any_spelling(name):
    assert choose(("Normal", "non-COVID", name)).positive_class == name


@pytest.mark.parametrize(
    ("names", "flags", "named"),
    [
        (("a", "b", "c"), {}, r"a, b, c.*--positive_class"),
        (("covid", "COVID-19", "c"), {}, r"2 classes.*covid, COVID-19, c.*--positive_class"),
        (NAMES, {"positive_class": "x"}, r"--positive_class.*'x'.*Lung_Opacity, COVID, Normal"),
        (NAMES, {"classes": "COVID,x"}, "--classes.*'x'"),
        (NAMES, {"classes": "COVID"}, "two classes.*COVID"),
        (NAMES, {"classes": "Normal,COVID", "positive_class": "Lung_Opacity"}, "--positive_class Lung_Opacity"),
    ],
)
def test_classes_that_are_not_there(names, flags, named):
    with pytest.raises(UsageError, match=named):
        choose(names, **flags)
