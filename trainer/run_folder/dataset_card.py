"""dataset.json: who and what is in a dataset, by split and class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from covid_tfds.examples import FACTS, Examples

UNKNOWN = "not stated"


@dataclass(frozen=True)
class Ages:
    """Number of images with a known age, and least, median and greatest age in years; None if no age is known."""

    known: int
    min: float | None
    median: float | None
    max: float | None


@dataclass(frozen=True)
class Group:
    """The images of one split and class.

    Attributes:
        split: "train" or "test".
        class_name: The class.
        images: Number of images.
        patients: Number of patients; None where patients are unknown.
        age: Ages in years.
        source: Number of images by value, the most frequent first; so are finding, view, sex and license.
    """

    split: str
    class_name: str
    images: int
    patients: int | None
    age: Ages
    source: dict[str, int]
    finding: dict[str, int]
    view: dict[str, int]
    sex: dict[str, int]
    license: dict[str, int]


@dataclass(frozen=True)
class DatasetCard:
    """All of a run's dataset.json.

    Attributes:
        name: "covid_tfds/<config>", or the name of a folder.
        version: The builder's version, or "folder".
        description: The builder's description of the config; empty for a folder.
        class_names: Of classes 0 and 1.
        images: Number of images.
        patients: Number of patients; None where patients are unknown.
        patients_in_both_splits: Number of patients with images in both splits; None where patients are unknown.
        fingerprint: SHA-256 over the images' hashes, labels and splits.
        groups: One for each split and class.
    """

    name: str
    version: str
    description: str
    class_names: tuple[str, ...]
    images: int
    patients: int | None
    patients_in_both_splits: int | None
    fingerprint: str
    groups: tuple[Group, ...]


def describe_dataset(examples: Examples) -> DatasetCard:
    """Returns the counts of a dataset."""
    groups = [
        _describe_group(examples, split, name, np.flatnonzero((examples.split == split) & examples.is_class(name)))
        for split in ("train", "test")
        for name in examples.class_names
    ]
    train, test = (set(examples.groups[examples.split == split]) for split in ("train", "test"))
    return DatasetCard(
        name=examples.name,
        version=examples.version,
        description=examples.description,
        class_names=examples.class_names,
        images=len(examples),
        patients=len(train | test) if examples.patients_known else None,
        patients_in_both_splits=len(train & test) if examples.patients_known else None,
        fingerprint=examples.fingerprint,
        groups=tuple(groups),
    )


def _describe_group(examples: Examples, split: str, class_name: str, rows: np.ndarray) -> Group:
    age = np.asarray(examples.facts["age"], dtype=float)[rows]
    return Group(
        split,
        class_name,
        images=len(rows),
        patients=len(set(examples.groups[rows])) if examples.patients_known else None,
        age=_describe_ages(age[np.isfinite(age)]),
        **{name: _count_values(examples.facts[name][rows]) for name in FACTS},
    )


def _count_values(values: np.ndarray) -> dict[str, int]:
    counts = Counter(str(value) or UNKNOWN for value in values)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _describe_ages(known: np.ndarray) -> Ages:
    low, middle, high = np.percentile(known, (0, 50, 100)).tolist() if len(known) else (None, None, None)
    return Ages(len(known), low, middle, high)
