"""dataset.json: who and what is in a dataset, by split and class, as the report and the model card tell it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from covid_tfds.examples import Examples

COUNTED = ("source", "finding", "view", "sex", "license")
UNKNOWN = "not stated"


def describe(examples: Examples) -> dict:
    """The dataset's card: one group for each split and class, and how the groups touch.

    Each group holds images and patients (counts), age (known, min, median, max in years) and, for each of
    source, finding, view, sex and license, images by value, the most frequent first.
    """
    groups = []
    for split in ("train", "test"):
        for index, name in enumerate(examples.class_names):
            rows = np.flatnonzero((examples.split == split) & (examples.labels == index))
            groups.append({"split": split, "class": name, **_group(examples, rows)})
    train, test = (set(examples.groups[examples.split == split]) for split in ("train", "test"))
    return {
        "name": examples.name,
        "version": examples.version,
        "description": examples.description,
        "class_names": list(examples.class_names),
        "images": len(examples),
        "patients": len(train | test) if examples.patients_known else None,
        "patients_in_both_splits": len(train & test) if examples.patients_known else None,
        "fingerprint": examples.fingerprint,
        "groups": groups,
    }


def _group(examples: Examples, rows: np.ndarray) -> dict:
    age = np.asarray(examples.facts["age"], dtype=float)[rows]
    return {
        "images": len(rows),
        "patients": len(set(examples.groups[rows])) if examples.patients_known else None,
        "age": _ages(age[np.isfinite(age)]),
        **{name: _counts(examples.facts[name][rows]) for name in COUNTED},
    }


def _counts(values: np.ndarray) -> dict[str, int]:
    counts = Counter(str(value) or UNKNOWN for value in values)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _ages(known: np.ndarray) -> dict:
    low, middle, high = np.percentile(known, (0, 50, 100)).tolist() if len(known) else (None, None, None)
    return {"known": len(known), "min": low, "median": middle, "max": high}
