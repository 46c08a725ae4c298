"""The run's own images: which of them parity and int8 calibration use, and their encoded bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from covid_tfds.common.errors import UsageError
from covid_tfds.datasets import load_examples
from trainer.run_folder.predictions import Prediction
from trainer.run_folder.run import Run

Row = TypeVar("Row")
CALIBRATION = 10  # images of each class; the others show how good the result is


@dataclass(frozen=True)
class EncodedImage:
    """An image file.

    Attributes:
        name: The image's id in the run, or the file name of a drawn image.
        encoded: The bytes of the file.
        probabilities: Those in predictions.csv, in the order of the labels; None for a drawn image.
    """

    name: str
    encoded: bytes
    probabilities: tuple[float, ...] | None = None


def choose_calibration_rows(run: Run) -> list[Prediction]:
    """Choose the rows of predictions.csv to calibrate int8 on: equally many training images of each class.

    Raises:
        UsageError: If a class has fewer than 10 training images: with five, probabilities changed by 0.15.
    """
    train = [row for row in run.predictions if row.split == "train"]
    by_label = {name: [row for row in train if row.label == name] for name in run.environment.dataset.class_names}
    label, count = min(((label, len(rows)) for label, rows in by_label.items()), key=lambda pair: pair[1])
    if count < CALIBRATION:
        raise UsageError(
            f"--int8 needs {CALIBRATION} training images of each class to calibrate on, and this run has {count} "
            f"of '{label}'. Train on more images, or leave out --int8."
        )
    return [row for rows in by_label.values() for row in sample_evenly(rows, CALIBRATION)]


def sample_evenly(rows: Sequence[Row], count: int) -> list[Row]:
    """Choose at most `count` rows, evenly spaced.

    Example:
        >>> sample_evenly("abcde", 3)
        ['a', 'c', 'e']
    """
    if len(rows) <= count:
        return list(rows)
    return [rows[index] for index in np.linspace(0, len(rows) - 1, count).round().astype(int)]


def read_run_images(run: Run, rows: Sequence[Prediction]) -> list[EncodedImage]:
    """Read the images that rows of predictions.csv name, in their order.

    Raises:
        UsageError: If the dataset is no longer where it was, or lacks one of the images.
    """
    advice = "An export is compared with the run on the run's own images: restore them, or train again."
    try:
        run.config.data.validate()
        examples = load_examples(run.config.data)
    except UsageError as error:
        raise UsageError(f"The dataset of the run can't be read: {error} {advice}") from error
    row_of = {name: row for row, name in enumerate(examples.image_id)}
    if missing := sorted({row.image_id for row in rows} - set(row_of)):
        raise UsageError(
            f"{len(missing)} image(s) of the run are missing in its dataset, the first is {missing[0]}. {advice}"
        )
    encoded = examples.read(np.asarray([row_of[row.image_id] for row in rows], dtype=np.int64))
    return [
        EncodedImage(row.image_id, image, tuple(row.probabilities.values()))
        for row, image in zip(rows, encoded, strict=True)
    ]
