"""Load the examples that a run is trained and tested on, split a folder, and check both splits."""

from __future__ import annotations

import dataclasses

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from covid_tfds.common.errors import UsageError
from covid_tfds.datasets import load_examples
from covid_tfds.examples import Examples
from trainer.config import Config

SPLITS = ("train", "test")
MIN_GROUPS = 5


def load_training_set(config: Config) -> Examples:
    """Loads the dataset of a run. A builder config comes with its splits, a folder is split here.

    Raises:
        UsageError: If the dataset can't be read or split, a split lacks a class, or a batch is larger than "train".
    """
    examples = load_examples(config.data)
    if config.data.dataset:
        examples = split_folder(examples, config.seed)
    for split in SPLITS:
        for name in examples.class_names:
            if not np.any(examples.is_class(name) & (examples.split == split)):
                raise UsageError(
                    f"{examples.name}: no '{name}' image in the {split} split; every class must be in both splits."
                )
    if config.batch_size > (n := len(examples.rows("train"))):
        raise UsageError(f"--batch_size {config.batch_size} is larger than the training split ({n} images).")
    return examples


def split_folder(examples: Examples, seed: int) -> Examples:
    """Splits images 80 / 20 into "train" and "test", stratified by class, grouped by patient where known.

    Raises:
        UsageError: If a class has fewer than 5 patients (images, where patients are unknown).
    """
    for name in examples.class_names:
        if len(set(examples.groups[examples.is_class(name)])) < MIN_GROUPS:
            unit = "patients" if examples.patients_known else "images"
            raise UsageError(
                f"{examples.name}: class '{name}' has fewer than {MIN_GROUPS} {unit}, too few to split 80 / 20."
            )
    folds = StratifiedGroupKFold(n_splits=5, shuffle=True, random_state=seed)
    _, test = next(folds.split(examples.image_id, examples.labels, examples.groups))
    return dataclasses.replace(examples, split=np.where(np.isin(np.arange(len(examples)), test), "test", "train"))
