"""Small datasets in the layouts that people have, from drawn radiographs."""

import functools
from pathlib import Path

from PIL import Image

from covid_tfds import phantom
from covid_tfds.examples import DatasetRequest, Examples
from covid_tfds.layouts import read_dataset


@functools.cache
def draw_small(index: int) -> Image.Image:
    """A drawn radiograph of 56 x 48 pixels; others from other numbers."""
    return Image.fromarray(phantom.draw(index).image).resize((56, 48))


def write_images(folder: Path, *names: str) -> Path:
    """Writes a small image of its own under each name, in the format of its suffix; returns the folder."""
    for index, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_small(index).save(path)
    return folder


def read(path: Path, **flags) -> Examples:
    """Reads a dataset as `--dataset` does."""
    return read_dataset(DatasetRequest(dataset=str(path), **flags))


def labels(examples: Examples) -> dict[str, str]:
    """The class of each image by its id."""
    return {str(name): examples.class_names[k] for name, k in zip(examples.image_id, examples.labels, strict=True)}


def splits(examples: Examples) -> dict[str, str]:
    """The split of each image by its id."""
    return dict(zip(examples.image_id.tolist(), examples.split.tolist(), strict=True))


def reasons(examples: Examples) -> dict[str, str]:
    """Why a file is passed over, by its name."""
    return {one.name: one.reason for one in examples.passed_over}
