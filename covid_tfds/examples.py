"""`DatasetRequest`, the dataset that a command reads, with its flags; and `Examples`, the images of a dataset.

`covid_tfds.datasets.load_examples` loads the examples of a request. NumPy only.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from covid_tfds.common.errors import UsageError
from covid_tfds.common.flags import add_flag, flag
from covid_tfds.common.names import printable

FULL_CONFIG = "kermany_covid_full"  # large: built only when it is named
# Configs that are drawn, with the least number of images.
PHANTOM_CONFIGS = {"phantom": 10, "phantom_three_classes": 15}
BUILDER_CONFIGS = (*PHANTOM_CONFIGS, "curated", "source_matched", "as_published", FULL_CONFIG)
POSITIVE_CLASS = "covid"
FACTS = ("source", "finding", "view", "sex", "license")
UNKNOWN = ""
SHOWN = 4  # images of a class in a notebook


@dataclass(frozen=True)
class DatasetRequest:
    """The dataset that a command reads: a builder config or a folder. Each field is a command line flag.

    Example:
        >>> DatasetRequest(config="phantom", num_examples=200).name
        'phantom'
    """

    config: str = flag("curated", "builder config of covid_tfds (default: %(default)s)", choices=BUILDER_CONFIGS)
    num_examples: int | None = flag(
        None, "how many radiographs to draw (default: 50 for phantom, 60 for phantom_three_classes)", type=int
    )
    dataset: str | None = flag(
        None,
        "your own folder or table of images, used instead of --config; covid_tfds/MANUAL.md lists the layouts",
        metavar="PATH",
    )
    classes: str | None = flag(None, "classes to use, separated by commas (default: all)", metavar="A,B")
    positive_class: str | None = flag(None, "the class to detect (default: the one called COVID-19)", metavar="NAME")
    columns: str | None = flag(
        None, "columns of a table under names that are not recognized, such as label=Target", metavar="WHAT=NAME,..."
    )
    patient_pattern: str | None = flag(
        None, r"regular expression whose group is the patient in a file's name, such as 'person(\d+)'", metavar="REGEX"
    )
    conflicts: str | None = flag(
        None, "CSV file to write: pairs of files with the same bytes under two labels", metavar="FILE"
    )
    exclude: str | None = flag(None, "a file that --conflicts wrote: leave out both files of each pair", metavar="FILE")
    manual_dir: str | None = flag(
        None, "folder with radiographs that you already have; covid_tfds/MANUAL.md lists the layouts", metavar="DIR"
    )
    data_dir: str | None = flag(
        None, "folder of the prepared TFDS datasets (default: TFDS's own, ~/tensorflow_datasets)", metavar="DIR"
    )

    @property
    def name(self) -> str:
        """The builder config's name, or that of the folder or table, for file names and titles."""
        if not self.dataset:
            return self.config
        path = Path(self.dataset).resolve()
        return printable(path.name if path.is_dir() else path.stem) or "dataset"

    def validate(self) -> None:
        """Checks what can be checked before anything is read.

        Raises:
            UsageError: If fields contradict each other, or a folder is not there.
        """
        least = PHANTOM_CONFIGS.get(self.config, 10)
        if self.num_examples is not None and (
            self.config not in PHANTOM_CONFIGS or self.dataset or self.num_examples < least
        ):
            raise UsageError(f"--num_examples needs --config phantom and must be at least {least}.")
        if self.dataset is not None and not Path(self.dataset).exists():
            raise UsageError(f"--dataset {self.dataset}: no such folder or table.")
        for name in ("columns", "patient_pattern", "conflicts", "exclude"):
            if getattr(self, name) is not None and not self.dataset:
                raise UsageError(f"--{name} applies to --dataset only: add it, or leave out --{name}.")
        if self.patient_pattern is not None:
            _check_pattern(self.patient_pattern)
        if self.exclude is not None and not Path(self.exclude).is_file():
            raise UsageError(f"--exclude {self.exclude}: no such file. --conflicts FILE writes one.")
        if self.manual_dir is not None and not Path(self.manual_dir).is_dir():
            raise UsageError(f"--manual_dir {self.manual_dir}: no such folder.")


def _check_pattern(pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise UsageError(f"--patient_pattern {pattern}: no regular expression: {error}.") from error
    if groups != 1:
        raise UsageError(f"--patient_pattern {pattern}: expected one group, such as 'person(\\d+)', got {groups}.")


def add_dataset_flags(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Adds the flags of DatasetRequest to a parser.

    Args:
        parser: The command's parser.
        required: Whether --config or --dataset must be given.
    """
    dataset = parser.add_argument_group("dataset")
    which = dataset.add_mutually_exclusive_group(required=required)
    for field in dataclasses.fields(DatasetRequest):
        group = which if field.name in ("config", "dataset") else dataset
        # Where one of the two must be given, --config has no default.
        changes = {"help": "builder config of covid_tfds"} if required and field.name == "config" else {}
        add_flag(group, field, **changes)


@dataclass(frozen=True)
class PassedOver:
    """A file or folder of a dataset that is not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Examples:
    """The images of a dataset in a fixed order: what is known of each, and how to read its encoded bytes.

    Attributes:
        name: "covid_tfds/curated", or the folder's name.
        version: Version of the builder; "folder" for a folder.
        description: Description of the builder config; empty for a folder.
        class_names: One name per class. Class 0 is the positive class.
        image_id: str [n], unique.
        patient_id: str [n], UNKNOWN where the patient is not known.
        labels: int64 [n], index into `class_names`.
        split: str [n], "train", "validation" or "test"; UNKNOWN in a folder that is not split yet.
        sha256: str [n], hex digest of each encoded image.
        facts: What the publisher states, by name: each of FACTS as str [n], UNKNOWN where not stated, and "age" in
            years and the study's "year" as float [n], NaN where not stated.
        read: `read(rows)` yields the encoded images of `rows`, int [m], in that order, without reading all others. The
            bytes are those of `sha256`: a file that was changed since is refused.
        given_split: Whether the dataset came with its split; False for a folder that is split here.
        layout: How a folder or table was understood; empty for a builder config.
        passed_over: Files and folders that are not used.
        notes: Warnings about the files, one line each.
        read_masks: `read_masks(rows)` yields the lung mask of each image of `rows`, bool [height, width], or None where
            an image has none; None if the dataset has no masks.
    """

    name: str
    version: str
    description: str
    class_names: tuple[str, ...]
    image_id: np.ndarray
    patient_id: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    sha256: np.ndarray
    facts: dict[str, np.ndarray]
    read: Callable[[np.ndarray], Iterator[bytes]]
    given_split: bool = True
    layout: str = ""
    passed_over: tuple[PassedOver, ...] = ()
    notes: tuple[str, ...] = ()
    read_masks: Callable[[np.ndarray], Iterator[np.ndarray | None]] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, split: str) -> np.ndarray:
        """Returns the indices of the images of a split, int64, ascending."""
        return np.flatnonzero(self.split == split)

    def is_class(self, name: str) -> np.ndarray:
        """Returns whether each image is of a class, bool [n]. The only place where labels are compared."""
        return self.labels == self.class_names.index(name)

    @property
    def positive_class(self) -> str:
        """The name of class 0."""
        return self.class_names[0]

    @property
    def has_split(self) -> bool:
        """Whether each image has a split."""
        return bool(np.all(self.split != UNKNOWN))

    @property
    def is_positive(self) -> np.ndarray:
        """Whether each image is of the positive class, class 0, bool [n]."""
        return self.is_class(self.positive_class)

    @functools.cached_property
    def groups(self) -> np.ndarray:
        """What splits and folds must keep together, str [n]: a patient's images and those with the same bytes.

        A group is named after its patient, the first of several, or, where the patient is unknown, after the image.
        """
        names = np.where(self.patient_id == UNKNOWN, self.image_id, self.patient_id)
        _, group = np.unique(names, return_inverse=True)  # numbers in the order of the names
        _, same_bytes = np.unique(self.sha256, return_inverse=True)
        lowest = group
        while True:
            before = lowest
            for part in (same_bytes, group):
                least = np.full(len(lowest), len(lowest))
                np.minimum.at(least, part, lowest)
                lowest = least[part]
            if np.array_equal(before, lowest):
                return np.unique(names)[lowest] if len(names) else names

    @property
    def patients_known(self) -> bool:
        """Whether the patient of every image is known."""
        return bool(np.all(self.patient_id != UNKNOWN))

    @property
    def known_patients(self) -> np.ndarray | None:
        """`groups`, or None where the patient of an image is unknown: what metrics count as patients."""
        return self.groups if self.patients_known else None

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every image's id, group, label, split and content hash, whatever their order."""
        columns = (self.image_id, self.groups, self.labels, self.split, self.sha256)
        table = sorted([str(value) for value in row] for row in zip(*columns, strict=True))
        return hashlib.sha256(json.dumps(table).encode()).hexdigest()

    def _repr_html_(self) -> str:
        """The first images of each class, for a notebook, with what the publisher states of them."""
        from covid_tfds.imaging import gallery, reader  # imported late: only a notebook needs them

        rows = np.concatenate([np.flatnonzero(self.is_class(name))[:SHOWN] for name in self.class_names])
        pixels = [
            reader.decode_image(encoded, self.image_id[row]).pixels
            for encoded, row in zip(self.read(rows), rows, strict=True)
        ]
        captions = [self._caption(row) for row in rows]
        counts = ", ".join(f"{np.sum(self.is_class(name))} {name}" for name in self.class_names)
        return f"<p>{len(self)} images: {counts}</p>{gallery.render_gallery(zip(pixels, captions, strict=True))}"

    def _caption(self, row: int) -> str:
        stated = {name: self.facts[name][row] for name in ("finding", "view")}
        known = [f"{name} {value}" for name, value in stated.items() if value != UNKNOWN]
        return ", ".join([f"labelled {self.class_names[self.labels[row]]}", *known])

    def subset(self, rows: np.ndarray) -> Examples:
        """Returns the examples of some rows, int [m], in that order. Other images can't be read from the result."""
        columns = ("image_id", "patient_id", "labels", "split", "sha256")
        masks = self.read_masks
        return dataclasses.replace(
            self,
            **{name: getattr(self, name)[rows] for name in columns},
            facts={name: values[rows] for name, values in self.facts.items()},
            read=lambda part: self.read(rows[part]),
            read_masks=masks and (lambda part: masks(rows[part])),
        )
