"""Any JSON as a model's metadata: one line, or a right answer."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import strategies as st

from export.runtime.metadata_schema import FIELDS
from export.runtime.model_info import ModelInfo
from tests.fakes.properties import check_property, in_two_sizes

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.lists(st.text(min_size=1, max_size=9), min_size=2, max_size=5, unique=True)
RIGHT = {
    "labels": ["covid", "normal"],
    "positive_class": "covid",
    "threshold": 0.4,
    "heatmap_region": [0, 0, 1, 1],
    "intended_use": "A test.",
}


def as_texts(values):
    return {name: json.dumps(value) for name, value in values.items()}


def test_every_field_has_its_rule():
    assert set(FIELDS) == {field.name for field in dataclasses.fields(ModelInfo)}


def check_field(case):
    name, value = case
    refused = ""
    try:
        info = ModelInfo.from_metadata(as_texts(RIGHT | {name: value}))
    except ValueError as error:
        refused = str(error)
    if refused:
        assert "\n" not in refused
        assert len(refused) < 500
        return
    assert getattr(info, name) == value
    assert math.isfinite(info.threshold)
    assert info.decide([0.5, 0.5]) in info.labels


@in_two_sizes
def test_any_json_in_any_field_is_one_line_or_read_as_it_is(examples):
    check_property(examples, st.tuples(st.sampled_from(sorted(FIELDS)), ANY_JSON), check_field)


def check_text(text):
    with pytest.raises(ValueError, match=r"labels|JSON|positive") as caught:
        ModelInfo.from_metadata(as_texts(RIGHT) | {"labels": text})
    assert "\n" not in str(caught.value)


@in_two_sizes
def test_any_text_is_one_line(examples):
    check_property(examples, st.text(max_size=200), check_text)


def check_decisions(case):
    labels, threshold, seed = case
    info = ModelInfo.from_metadata(
        as_texts(RIGHT | {"labels": labels, "positive_class": labels[0], "threshold": threshold})
    )
    p = np.random.default_rng(seed).dirichlet(np.ones(len(labels)))
    best = labels[int(np.argmax(p))]
    others = labels[1 + int(np.argmax(p[1:]))]
    assert info.decide_argmax(p) == best
    assert info.decide(p) == (labels[0] if p[0] >= threshold else others)


@in_two_sizes
def test_right_metadata_give_right_decisions(examples):
    check_property(examples, st.tuples(NAMES, st.floats(0, 1), st.integers(0, 99)), check_decisions)


@pytest.mark.parametrize("value", [10**400, -(10**400), math.inf, math.nan])
def test_a_number_that_no_float_holds_is_refused(value):
    with pytest.raises(ValueError, match="recipe"):
        ModelInfo.from_metadata(as_texts(RIGHT | {"recipe": {"units": value}}))
