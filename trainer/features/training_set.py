"""Load the examples that a run is trained and tested on, split them where no split is given, and check both splits."""

from __future__ import annotations

import dataclasses

import numpy as np

from covid_tfds.common.errors import UsageError
from covid_tfds.conflicts import refuse_conflicts
from covid_tfds.datasets import load_examples
from covid_tfds.examples import Examples
from trainer.config import Config
from trainer.recipes import SMALLEST_BATCH

SPLITS = ("train", "test")
MIN_GROUPS = 5
TEST_SHARE = 0.2
JOINED = "the validation split joins training: cross-validation does its work"
VALIDATION_AS_TEST = "there is no test split: the validation split takes its place"
MOST_HEAT_MAPS = 500  # each costs a forward pass


def load_training_set(config: Config) -> Examples:
    """Loads the dataset of a run. A given split is kept as it is; without one it is drawn here.

    Raises:
        UsageError: If the dataset can't be read or split, files with the same bytes have two labels, a split lacks a
            class, or a batch is larger than "train".
    """
    examples = load_examples(config.data)
    refuse_conflicts(examples)
    examples = join_validation(examples) if examples.given_split else draw_split(examples, config.seed)
    for split in SPLITS:
        for name in examples.class_names:
            if not np.any(examples.is_class(name) & (examples.split == split)):
                raise UsageError(
                    f"{examples.name}: no '{name}' image in the {split} split; every class must be in both splits."
                )
    batch_size, n = config.batch_size or SMALLEST_BATCH, len(examples.rows("train"))
    if batch_size > n:
        raise UsageError(f"--batch_size {batch_size} is larger than the training split ({n} images).")
    return examples


def join_validation(examples: Examples) -> Examples:
    """Returns the examples with two splits: "validation" becomes "train", or "test" where there is none."""
    given = set(examples.split.tolist())
    if "validation" not in given:
        return examples
    joins, note = ("train", JOINED) if "test" in given else ("test", VALIDATION_AS_TEST)
    split = np.where(examples.split == "validation", joins, examples.split)
    return dataclasses.replace(examples, split=split, notes=(*examples.notes, note))


def draw_split(examples: Examples, seed: int) -> Examples:
    """Splits images 80 / 20 into "train" and "test": class by class, each patient on one side.

    From each class patients are drawn until their images are a fifth of the class's, or they are a quarter of its
    patients. One who alone has more than a tenth of the class's images always trains: else a single patient could be
    most of the test split.

    Raises:
        UsageError: If a class has fewer than 5 patients (images, where patients are unknown).
    """
    random = np.random.default_rng(seed)
    groups, group = np.unique(examples.groups, return_inverse=True)
    # Images by group and class; a group with several classes is drawn with the class that most of its images have.
    counts = np.stack([np.bincount(group[examples.labels == k], minlength=len(groups)) for k in _class_range(examples)])
    is_test = np.zeros(len(groups), dtype=bool)
    for k, name in enumerate(examples.class_names):
        members = np.flatnonzero((counts.argmax(axis=0) == k) & (counts[k] > 0))
        if len(members) < MIN_GROUPS:
            unit = "patients" if examples.patients_known else "images"
            raise UsageError(
                f"{examples.name}: class '{name}' has fewer than {MIN_GROUPS} {unit}, too few to split 80 / 20."
            )
        sizes = counts[:, members].sum(axis=0)
        wanted = max(1, round(TEST_SHARE * sizes.sum()))
        drawn = random.permutation(members[sizes <= max(wanted / 2, sizes.min())])[: max(1, len(members) // 4)]
        images = counts[:, drawn].sum(axis=0)
        is_test[drawn[np.cumsum(images) - images < wanted]] = True
    return dataclasses.replace(examples, split=np.where(is_test[group], "test", "train"))


def _class_range(examples: Examples) -> range:
    return range(len(examples.class_names))


def sample_test(examples: Examples, most: int) -> np.ndarray:
    """Returns the images of the test split, or `most` of them drawn at random, int64, ascending."""
    rows = examples.rows("test")
    return rows if len(rows) <= most else np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
