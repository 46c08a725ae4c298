"""Find the image files to predict, and name the heat map of each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from covid_tfds.common.errors import describe_error
from covid_tfds.common.names import printable
from covid_tfds.imaging.formats import SUFFIXES, looks_like_image

HEATMAP_SUFFIX = ".heatmap.png"
PIXELS_SUFFIX = ".pixels.png"


@dataclass(frozen=True)
class ImageFile:
    """One image to predict.

    Attributes:
        path: Where the file is.
        place: Its path within the folder that was searched; its name where the file itself was given.
        error: Why it can't be predicted: a folder without images, or that can't be read.
    """

    path: Path
    place: Path
    error: str | None = None


def find_images(paths: Iterable[Path]) -> list[ImageFile]:
    """Returns the images that paths name: files as they are, folders searched with all folders below."""
    images = []
    for path in paths:
        if not path.is_dir():
            images.append(ImageFile(path, Path(path.name)))
            continue
        files, unreadable = _list_files(path)
        found = [ImageFile(file, file.relative_to(path)) for file in files if is_to_be_predicted(file)]
        error = f"no images in this folder: looked for {', '.join(SUFFIXES)} and DICOM"
        images += [*found, *unreadable] or [ImageFile(path, Path(path.name), error)]
    return images


def _list_files(folder: Path) -> tuple[list[Path], list[ImageFile]]:
    """Returns the files of a folder and of all below, sorted, and the folders that can't be read."""
    unreadable: list[ImageFile] = []

    def note(error: OSError) -> None:
        path = Path(error.filename)
        unreadable.append(ImageFile(path, Path(path.name), f"this folder can't be read: {describe_error(error)}"))

    files = sorted(Path(above, name) for above, _, names in os.walk(folder, onerror=note) for name in names)
    return files, unreadable


def describe_passed_over(paths: Iterable[Path]) -> str:
    """Returns how many files in folders are no images, and the first of them; "" if there is none.

    Hidden files and heat maps of ours are not counted.
    """
    files = (file for path in paths if path.is_dir() for file in _list_files(path)[0])
    shown = (file for file in files if not file.name.startswith(".") and not file.name.endswith(HEATMAP_SUFFIX))
    others = [file for file in shown if not is_to_be_predicted(file)]
    return (
        f"passed over: {len(others)} file(s) that are no images, such as {printable(str(others[0]))}" if others else ""
    )


def is_to_be_predicted(file: Path) -> bool:
    """Returns whether a folder's file is an image, by its suffix or its first bytes, and not one of our heat maps."""
    if file.name.startswith(".") or file.name.endswith(HEATMAP_SUFFIX) or not file.is_file():
        return False
    return looks_like_image(file)


def name_outputs(images: Iterable[ImageFile], folder: Path, suffix: str) -> list[Path]:
    """Returns a different file to write for each image, in the same folders below `folder` as the images.

    Example:
        >>> image = ImageFile(Path("in/a/x.png"), Path("a/x.png"))
        >>> [path.as_posix() for path in name_outputs([image, image], Path("out"), HEATMAP_SUFFIX)]
        ['out/a/x.png.heatmap.png', 'out/a/x.png-2.heatmap.png']
    """
    names: dict[Path, None] = {}
    for image in images:
        numbers = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
        candidates = (image.place.with_name(f"{image.place.name}{number}{suffix}") for number in numbers)
        names[next(folder / name for name in candidates if folder / name not in names)] = None
    return list(names)
