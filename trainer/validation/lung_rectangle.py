"""The rectangle that holds the lungs in a resized radiograph, as fractions of the image's sides.

The rectangle is generous, because it serves to say what lies *outside* the lungs. It holds the whole lungs of every
`phantom` radiograph and, except for slivers at the outer edge of tightly cropped images, those of the real configs.
"""

from __future__ import annotations

import numpy as np

LUNGS = (0.10, 0.90, 0.08, 0.92)  # top, bottom, left, right
BORDER = 0.0625  # width of the outer frame; narrower than what LUNGS leaves, as tight crops bring lungs to the edge


def lung_mask(height: int, width: int) -> np.ndarray:
    """Returns bool [height, width]: True for pixels (or map cells) whose centre lies in the LUNGS rectangle."""
    top, bottom, left, right = LUNGS
    return _between(height, top, bottom)[:, None] & _between(width, left, right)[None, :]


def border_mask(height: int, width: int) -> np.ndarray:
    """Returns bool [height, width]: True for pixels whose centre lies in the outer frame, BORDER wide."""
    inner = _between(height, BORDER, 1 - BORDER)[:, None] & _between(width, BORDER, 1 - BORDER)[None, :]
    return ~inner


def _between(count: int, low: float, high: float) -> np.ndarray:
    centre = (np.arange(count) + 0.5) / count
    return (centre > low) & (centre < high)
