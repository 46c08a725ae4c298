"""Types: the images that were found in a folder or table, with what names, tables and headers state of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from covid_tfds.examples import UNKNOWN, PassedOver


@dataclass(frozen=True)
class FoundImage:
    """An image file of a dataset.

    Attributes:
        name: Unique in the dataset: its path below the folder, with forward slashes.
        path: Where the file is.
        label: Name of its class.
        split: "train", "validation" or "test"; UNKNOWN where none is given.
        patient_id: UNKNOWN where it is not stated.
        facts: What is stated of it, by the names of `examples.FACTS`, "age" and "year".
        mask: File of its lung mask.
    """

    name: str
    path: Path
    label: str
    split: str = UNKNOWN
    patient_id: str = UNKNOWN
    facts: Mapping[str, str | float] = field(default_factory=dict)
    mask: Path | None = None


@dataclass(frozen=True)
class Layout:
    """How a folder or table was understood.

    Attributes:
        what: Name of the layout, such as "flat: <class>".
        images: All images that are used.
        passed_over: Files and folders that are not used.
        notes: Warnings about the dataset, one line each.
    """

    what: str
    images: list[FoundImage]
    passed_over: list[PassedOver]
    notes: tuple[str, ...] = ()
