"""Warn of images that can't be chest radiographs: the model gives a probability for them, too, but it means nothing.

The limits are well outside the 156 real radiographs of the builder configs: their darkest has a 99th percentile of
132 grey levels, their brightest a 1st percentile of 97, the flattest spans 72 levels, the smallest side is 328 pixels.
"""

from __future__ import annotations

import numpy as np

SMALLEST_SIDE = 112  # pixels; half of the network's input
BLACK, WHITE, FLAT = 60, 195, 30  # grey levels
COLOURED = 12  # mean distance from grey, in levels; a faithful scan of a radiograph stays below 5
ONE_HUE = 0.8  # agreement of the hues, 0..1; a tinted radiograph reaches 0.92 to 1, photographs 0.2 to 0.3
SAMPLES = 512  # pixels a side that are examined


def find_warnings(image: np.ndarray) -> list[str]:
    """Returns reasons to doubt that an image is a chest radiograph; none for a plausible one.

    Args:
        image: uint8 [height, width, 3].

    Example:
        >>> find_warnings(np.zeros((300, 40, 3), np.uint8))
        ['tiny: 40 x 300 pixels', 'almost black']
    """
    height, width = image.shape[:2]
    step = max(1, max(height, width) // SAMPLES)
    red, green, blue = np.moveaxis(image[::step, ::step].astype(np.float32), -1, 0)
    low, high = np.percentile((red + green + blue) / 3, [1, 99])
    warnings = []
    if min(height, width) < SMALLEST_SIDE:
        warnings.append(f"tiny: {width} x {height} pixels")
    if high < BLACK:
        warnings.append("almost black")
    elif low > WHITE:
        warnings.append("almost white")
    elif high - low < FLAT:
        warnings.append("hardly any contrast")
    # Hue and chroma as one complex number per pixel: their sum is short when the hues differ.
    colour = (red - (green + blue) / 2) + 1j * np.sqrt(0.75) * (green - blue)
    amount = np.abs(colour).mean()
    if amount > COLOURED and np.abs(colour.mean()) / amount < ONE_HUE:
        warnings.append("colourful: no radiograph")
    return warnings
