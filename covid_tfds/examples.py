"""`DatasetRequest`, the dataset that a command reads, with its flags; and `Examples`, the images of a dataset.

`covid_tfds.datasets.load_examples` loads the examples of a request. NumPy only.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from covid_tfds.common.errors import UsageError
from covid_tfds.common.flags import add_flag, flag

BUILDER_CONFIGS = ("phantom", "curated", "source_matched", "as_published")
FULL_CONFIG = "kermany_covid_full"  # large: built only when it is named
MIN_EXAMPLES = 10
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
    num_examples: int | None = flag(None, "how many radiographs to draw for --config phantom (default: 50)", type=int)
    dataset: str | None = flag(
        None,
        "folder with one sub-folder of .jpg, .jpeg or .png files per class ('covid' and one other), used instead of "
        "--config; an optional patients.csv (path,patient_id) in it names the patient of each image",
        metavar="DIR",
    )
    manual_dir: str | None = flag(
        None, "folder with radiographs that you already have; covid_tfds/MANUAL.md lists the layouts", metavar="DIR"
    )
    data_dir: str | None = flag(
        None, "folder of the prepared TFDS datasets (default: TFDS's own, ~/tensorflow_datasets)", metavar="DIR"
    )

    @property
    def name(self) -> str:
        """The builder config's name, or the folder's, for file names and titles."""
        return Path(self.dataset).resolve().name or "dataset" if self.dataset else self.config

    def validate(self) -> None:
        """Checks what can be checked before anything is read.

        Raises:
            UsageError: If fields contradict each other, or a folder is not there.
        """
        if self.num_examples is not None and (
            self.config != "phantom" or self.dataset or self.num_examples < MIN_EXAMPLES
        ):
            raise UsageError(f"--num_examples needs --config phantom and must be at least {MIN_EXAMPLES}.")
        if self.dataset is not None and not Path(self.dataset).is_dir():
            raise UsageError(
                f"--dataset {self.dataset}: no such folder. Expected DIR/covid/*.jpg and DIR/<other>/*.jpg."
            )
        if self.manual_dir is not None and not Path(self.manual_dir).is_dir():
            raise UsageError(f"--manual_dir {self.manual_dir}: no such folder.")


def add_dataset_flags(
    parser: argparse.ArgumentParser, configs: tuple[str, ...] = BUILDER_CONFIGS, required: bool = False
) -> None:
    """Adds the flags of DatasetRequest to a parser.

    Args:
        parser: The command's parser.
        configs: Builder configs that the command accepts.
        required: Whether --config or --dataset must be given.
    """
    which = parser.add_mutually_exclusive_group(required=required)
    changes = {"config": {"choices": configs}}
    for field in dataclasses.fields(DatasetRequest):
        group = which if field.name in ("config", "dataset") else parser
        add_flag(group, field, **changes.get(field.name, {}))


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
            years as float [n], NaN where not stated.
        read: `read(rows)` yields the encoded images of `rows`, int [m], in that order, without reading all others.
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

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, split: str) -> np.ndarray:
        """Returns the indices of the images of a split, int64, ascending."""
        return np.flatnonzero(self.split == split)

    def is_class(self, name: str) -> np.ndarray:
        """Returns whether each image is of a class, bool [n]. The only place where labels are compared."""
        return self.labels == self.class_names.index(name)

    @functools.cached_property
    def groups(self) -> np.ndarray:
        """What splits and folds must keep together, str [n]: the patient or, where unknown, the image alone."""
        return np.where(self.patient_id == UNKNOWN, self.image_id, self.patient_id)

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
        return dataclasses.replace(
            self,
            **{name: getattr(self, name)[rows] for name in columns},
            facts={name: values[rows] for name, values in self.facts.items()},
            read=lambda part: self.read(rows[part]),
        )
