"""Warnings for images that can't be what the model was made for. A number comes out for them, too, and means nothing.

The limits lie well outside the 156 real radiographs of the builder configs: their darkest has a 99th percentile of
132 grey levels, their brightest a 1st percentile of 97, the flattest spans 72 levels, the smallest side is 328 pixels.
"""

from __future__ import annotations

import numpy as np

SMALLEST_SIDE = 112  # pixels; half of what the network looks at
BLACK, WHITE, FLAT = 60, 195, 30  # grey levels
COLOURED = 12  # mean distance from grey, in levels; a faithful scan of a film stays below 5
ONE_HUE = 0.8  # how far all colours point one way, 0..1; a tinted film reaches 0.92 to 1, photographs 0.2 to 0.3
SAMPLES = 512  # pixels a side that are looked at


def warnings_about(image: np.ndarray) -> list[str]:
    """What a reader should know before believing a prediction.

    image: uint8 [height, width, 3]. Returns short texts, none for a plausible radiograph.
    """
    height, width = image.shape[:2]
    step = max(1, max(height, width) // SAMPLES)
    red, green, blue = np.moveaxis(image[::step, ::step].astype(np.float32), -1, 0)
    low, high = np.percentile((red + green + blue) / 3, [1, 99])
    found = []
    if min(height, width) < SMALLEST_SIDE:
        found.append(f"tiny: {width} x {height} pixels")
    if high < BLACK:
        found.append("almost black")
    elif low > WHITE:
        found.append("almost white")
    elif high - low < FLAT:
        found.append("hardly any contrast")
    # Hue and chroma as one complex number a pixel: their sum is short when the hues differ.
    colour = (red - (green + blue) / 2) + 1j * np.sqrt(0.75) * (green - blue)
    amount = np.abs(colour).mean()
    if amount > COLOURED and np.abs(colour.mean()) / amount < ONE_HUE:
        found.append("colourful: no radiograph")
    return found
