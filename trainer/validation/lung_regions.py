"""Where the lungs of each image are: by the dataset's own lung masks or, where it has none, the lung rectangle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from covid_tfds.examples import Examples
from trainer.validation import lung_rectangle


@dataclass(frozen=True)
class LungRegions:
    """The lungs of some images after resizing.

    Attributes:
        lungs: bool [n, side, side]. A pixel that a mask touches counts as lung.
        has_mask: bool [n], False where the rectangle stands in for a mask.
    """

    lungs: np.ndarray
    has_mask: np.ndarray

    def describe(self) -> str:
        """Returns what was taken for the lungs, in words."""
        top, bottom, left, right = lung_rectangle.LUNGS
        across, down = (f"{100 * share:.0f} %" for share in (right - left, bottom - top))
        rectangle = f"the lung rectangle ({across} of the width, {down} of the height)"
        if not self.has_mask.any():
            return rectangle
        without = int(np.sum(~self.has_mask))
        return "the dataset's lung masks" + (f" ({without} images without one: {rectangle})" if without else "")


def find_lungs(examples: Examples, rows: np.ndarray, side: int) -> LungRegions:
    """Returns the lungs of images that are resized to a square. An empty mask counts as none.

    Args:
        examples: The dataset.
        rows: int [n], indices of images.
        side: Of the square, in pixels.
    """
    lungs = np.repeat(lung_rectangle.lung_mask(side, side)[None], len(rows), axis=0)
    has_mask = np.zeros(len(rows), dtype=bool)
    if examples.read_masks is not None:
        for place, mask in enumerate(examples.read_masks(rows)):
            if mask is not None and mask.any():
                white = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
                lungs[place] = np.asarray(white.resize((side, side), Image.Resampling.BOX)) > 0
                has_mask[place] = True
    return LungRegions(lungs, has_mask)
