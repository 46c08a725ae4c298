"""Find the image files to predict, and name the heat map of each."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from covid_tfds.imaging.formats import SUFFIXES, is_dicom

HEATMAP_SUFFIX = ".heatmap.png"
PIXELS_SUFFIX = ".pixels.png"


@dataclass(frozen=True)
class ImageFile:
    """One image to predict.

    Attributes:
        path: Where the file is.
        place: Its path within the folder that was searched; its name where the file itself was given.
        error: Why it can't be predicted: a folder without images.
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
        elif found := [file for file in sorted(path.rglob("*")) if looks_like_image(file)]:
            images += [ImageFile(file, file.relative_to(path)) for file in found]
        else:
            error = f"no images in this folder: looked for {', '.join(SUFFIXES)} and DICOM"
            images.append(ImageFile(path, Path(path.name), error))
    return images


def looks_like_image(file: Path) -> bool:
    """Returns whether a folder's file is to be predicted: by its suffix or, without one, its first bytes."""
    if file.name.startswith(".") or file.name.endswith(HEATMAP_SUFFIX) or file.name == "DICOMDIR" or not file.is_file():
        return False
    if file.suffix:
        return file.suffix.lower() in SUFFIXES
    # Scanners and archives name DICOM files without a suffix.
    with contextlib.suppress(OSError), file.open("rb") as opened:
        return is_dicom(opened.read(132))
    return False


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
