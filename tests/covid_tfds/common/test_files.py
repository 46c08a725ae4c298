"""JSON, CSV, checksums and atomic writes."""

import dataclasses
import json

import numpy as np
import pytest

from covid_tfds.common.files import to_json


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    label: str | None = None
    reason: str | None = "unset"


@dataclasses.dataclass(frozen=True)
class Line:
    points: tuple[Point, ...]
    by_name: dict[str, Point]
    weights: np.ndarray


def test_to_json_turns_nested_dataclasses_and_arrays_into_plain_values():
    line = Line((Point(1.0),), {"end": Point(2.0, "b")}, np.array([[1, 2]], np.int64))
    expected = {
        "points": [{"x": 1.0, "reason": "unset"}],
        "by_name": {"end": {"x": 2.0, "label": "b", "reason": "unset"}},
        "weights": [[1, 2]],
    }
    assert to_json(line) == expected
    assert json.loads(json.dumps(to_json(line))) == expected


def test_to_json_leaves_out_none_only_where_none_is_the_default():
    assert to_json(Point(0.5, reason=None)) == {"x": 0.5, "reason": None}
    assert to_json({"value": None}) == {"value": None}


@pytest.mark.parametrize(
    ("value", "kind"),
    [(np.float32(0.5), float), (np.int64(3), int), (np.bool_(True), bool), (True, bool), (np.str_("a"), str)],
)
def test_to_json_gives_plain_scalars(value, kind):
    assert type(to_json(value)) is kind
    assert to_json(value) == value


@pytest.mark.parametrize("value", [object(), {1: "a"}, {"a": {2, 3}}, np.array([object()]), b"bytes", Point])
def test_to_json_refuses_what_json_cannot_hold(value):
    with pytest.raises(TypeError):
        to_json(value)
