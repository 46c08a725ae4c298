"""The schema of a model's metadata: type, range and length of each field, checked before the first answer.

A model file may come from anybody. What does not fit is one line of error, whatever it is: NaN for a threshold would
make every decision "negative", a deep or long value would take the memory of the machine.
"""

from __future__ import annotations

import json
import reprlib
import sys
from collections.abc import Callable
from typing import Any

MAX_BYTES = 1 << 20  # of one field's JSON; an export's largest has 5 kB
MAX_TEXT = 20_000  # characters
MAX_NAME = 200
MAX_CLASSES = 100
MAX_DEPTH = 8
LARGEST = sys.float_info.max  # an int may be larger, a float only infinite
VERDICTS = ("shortcut", "not detected", "inconclusive")
METRICS = ("sensitivity", "specificity", "balanced_accuracy", "auroc")  # on the test split


def parse_field(name: str, text: str) -> Any:
    """Returns the value of a field.

    Args:
        name: A key of `FIELDS`.
        text: Its JSON.

    Raises:
        ValueError: If it is not JSON, or not what the schema says.

    Example:
        >>> parse_field("threshold", "0.4")
        0.4
        >>> parse_field("threshold", "NaN")
        Traceback (most recent call last):
        ValueError: with threshold nan, expected a number from 0 to 1
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"with {len(text)} characters of {name}, expected at most {MAX_BYTES}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"with metadata that is not JSON: {name}: {error}") from error
    expected, is_right = FIELDS[name]
    if not is_right(value):
        raise ValueError(f"with {name} {reprlib.repr(value)}, expected {expected}")
    return value


def _is_text(value: Any, longest: int = MAX_TEXT) -> bool:
    return isinstance(value, str) and len(value) <= longest


def _is_name(value: Any) -> bool:
    return _is_text(value, MAX_NAME) and value != ""


def _is_list_of(value: Any, is_right: Callable[[Any], bool], shortest: int, longest: int) -> bool:
    return isinstance(value, list) and shortest <= len(value) <= longest and all(map(is_right, value))


def _is_number(value: Any, low: float = 0.0, high: float = 1.0) -> bool:
    # bool is an int in Python, a word in JSON; an int may be too long to become a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _is_labels(value: Any) -> bool:
    return _is_list_of(value, _is_name, 2, MAX_CLASSES) and len(set(value)) == len(value)


def _is_region(value: Any) -> bool:
    return _is_list_of(value, _is_number, 4, 4) and value[0] < value[2] and value[1] < value[3]


def _is_plain(value: Any, depth: int = MAX_DEPTH) -> bool:
    if isinstance(value, dict | list):
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        return depth > 0 and all(_is_plain(item, depth - 1) for item in inner)
    return value is None or isinstance(value, bool) or _is_text(value) or _is_number(value, -LARGEST, LARGEST)


def _is_object(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and _is_plain(value))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value, 0, 1e9)


def _is_estimate(value: Any) -> bool:
    if not isinstance(value, dict) or not {"value", "ci95"} <= value.keys():
        return False
    if value["value"] is None:
        return value["ci95"] is None
    return _is_number(value["value"]) and _is_list_of(value["ci95"], _is_number, 2, 2)


def _is_test(value: Any) -> bool:
    if not isinstance(value, dict) or not _is_plain(value):
        return False
    patients = value.get("patients")
    counts = _is_count(value.get("images")) and (patients is None or _is_count(patients))
    return counts and all(_is_estimate(value.get(name)) for name in METRICS)


def _or_none(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_right(value)


# What each field must be, in words and as a test. Only those that may be missing may be null.
FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "labels": (f"2 to {MAX_CLASSES} different names", _is_labels),
    "positive_class": ("a name", _is_name),
    "threshold": ("a number from 0 to 1", _is_number),
    "heatmap_region": ("top, left, bottom and right from 0 to 1", _is_region),
    "intended_use": ("a text", _is_text),
    "precision": ("float32 or int8", lambda value: value in ("float32", "int8")),
    "notes": ("a list of texts", lambda value: _is_list_of(value, _is_text, 0, 100)),
    "input": ("an object", _is_object),
    "outputs": ("an object", _is_object),
    "run_id": ("a name", _or_none(_is_name)),
    "dataset": ("an object", _is_object),
    "weights": ("an object", _is_object),
    "recipe": ("an object", _is_object),
    "versions": ("an object", _is_object),
    "temperature": ("a number above 0", _or_none(lambda value: _is_number(value, 1e-6, 1e6))),
    "shortcuts_verdict": (f"one of {', '.join(VERDICTS)}", _or_none(lambda value: value in VERDICTS)),
    "shortcuts_because": ("a text", _or_none(_is_text)),
    "test_metrics": ("numbers of images and patients, and metrics with their intervals", _or_none(_is_test)),
    "attribution": ("a text", _or_none(_is_text)),
    "declined_at": ("a number from 0 to 1", _or_none(_is_number)),
}
