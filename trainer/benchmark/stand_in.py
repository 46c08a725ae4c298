"""Draw a stand-in for the COVID-19 Radiography Database: its layout, size and classes, without its radiographs.

    python -m trainer.benchmark.stand_in FOLDER                  # 21,165 images of 299 x 299 with masks, 4 minutes
    python -m trainer.benchmark.stand_in FOLDER --images 500

2,000 radiographs are drawn; the others are flipped, shifted and brighter or darker copies of them, with noise. Two of
the four classes, Lung_Opacity and Viral Pneumonia, are drawn alike, so no model can tell them apart. It shows what a
dataset of that size costs; its metrics mean nothing, because copies of one drawing stand on both sides of a split.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from covid_tfds import phantom
from covid_tfds.common import cli, progress
from covid_tfds.common.errors import UsageError

SIZES = {"COVID": 3616, "Lung_Opacity": 6012, "Normal": 10192, "Viral Pneumonia": 1345}
DRAWN_AS = {"COVID": "covid", "Lung_Opacity": "pneumonia", "Normal": "normal", "Viral Pneumonia": "pneumonia"}
DRAWN = 2000
FEWEST = 5  # of a class: fewer can't be split
SIDE, MASK_SIDE = 299, 256
LARGEST_SHIFT = 12  # pixels either way


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code, see `cli.run_command`."""
    return cli.run_command(argv, parser().parse_args, _run, lambda _: "Stopped. The folder holds a part of the images.")


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    result = argparse.ArgumentParser(
        prog="python -m trainer.benchmark.stand_in", description=__doc__.split("\n\n")[0], allow_abbrev=False
    )
    result.add_argument("folder", metavar="FOLDER", type=Path, help="folder to make")
    result.add_argument(
        "--images", type=int, default=sum(SIZES.values()), help="number of images (default: %(default)s)"
    )
    return result


def _run(options: argparse.Namespace) -> None:
    if options.folder.exists():
        raise UsageError(f"{options.folder} exists and is never overwritten: choose another name or remove it first.")
    if options.images < FEWEST * len(SIZES):
        raise UsageError(f"--images must be at least {FEWEST * len(SIZES)}, not {options.images}.")
    with progress.Line(options.images, "drawing", "image") as line:
        write_stand_in(options.folder, options.images, line.advance)


def write_stand_in(folder: Path, images: int, advance=lambda: None) -> None:
    """Writes FOLDER/<class>/{images,masks}/*.png. advance: called after each image."""
    share = images / sum(SIZES.values())
    for name, size in SIZES.items():
        for part in ("images", "masks"):
            (folder / name / part).mkdir(parents=True)
        count = max(FEWEST, round(size * share))
        different = max(1, round(count * min(1, DRAWN / images)))
        label = phantom.THREE_LABELS.index(DRAWN_AS[name])
        begin = list(SIZES).index(name) * DRAWN
        for first in range(different):
            drawn = phantom.draw((begin + first) * len(phantom.THREE_LABELS) + label, phantom.THREE_LABELS)
            image, mask = _resize(drawn.image, SIDE), _resize(drawn.lung_mask, MASK_SIDE)
            for number in range(first, count, different):
                both = image, mask
                if number > first:
                    both = _vary(image, mask, np.random.default_rng([begin, number]))
                for part, content in zip(("images", "masks"), both, strict=True):
                    Image.fromarray(content).save(folder / name / part / f"{name}-{number + 1}.png")
                advance()


def _resize(image: np.ndarray, side: int) -> np.ndarray:
    """Grey levels or a mask as uint8 [side, side]."""
    levels = image.astype(np.uint8) * 255 if image.dtype == bool else image
    how = Image.Resampling.NEAREST if image.dtype == bool else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(levels).resize((side, side), how))


def _vary(image: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Another image with the same findings, and its mask."""
    shift = random.integers(-LARGEST_SHIFT, LARGEST_SHIFT + 1, 2)
    # Both rolled by whole pixels: the mask's are larger.
    rolled, of_mask = (
        np.roll(array, np.round(shift * len(array) / SIDE).astype(int), (0, 1)) for array in (image, mask)
    )
    levels = 255 * (rolled / 255) ** random.uniform(0.8, 1.25) + random.normal(0, 4, rolled.shape)
    turned = slice(None, None, -1 if random.random() < 0.5 else 1)
    return np.clip(levels, 0, 255).astype(np.uint8)[:, turned], of_mask[:, turned]


if __name__ == "__main__":
    sys.exit(main())
