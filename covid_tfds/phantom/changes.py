"""Change a radiograph into an image that a model of upright frontal radiographs was not trained for.

To measure which of them a model declines. NumPy and Pillow.

Example:
    >>> image = np.zeros((90, 60, 3), np.uint8)
    >>> CHANGES["rotated by 90"](image).shape, int(CHANGES["inverted"](image).min())
    ((60, 90, 3), 255)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

WINDOW, TITLE_BAR, SHADOW = 236, 58, 160  # grey levels of a screenshot


def make_screenshot(image: np.ndarray) -> np.ndarray:
    """Returns the image in a light window with a title bar, uint8 [height, width, 3] of the same shape."""
    height, width = image.shape[:2]
    window = np.full_like(image, WINDOW)
    window[: height // 12] = TITLE_BAR
    window[:, -width // 5 :] = SHADOW
    size = max(1, int(0.62 * width)), max(1, int(0.74 * height))
    top, left = height // 6, width // 12
    window[top : top + size[1], left : left + size[0]] = np.asarray(Image.fromarray(image).resize(size))
    return window


def blacken_half(image: np.ndarray) -> np.ndarray:
    """Returns the image with its right half black."""
    changed = image.copy()
    changed[:, image.shape[1] // 2 :] = 0
    return changed


def draw_noise(image: np.ndarray) -> np.ndarray:
    """Returns grey noise of the image's shape. Equal images give equal noise."""
    random = np.random.default_rng(int(image.sum()))
    return random.integers(0, 256, (*image.shape[:2], 1), np.uint8).repeat(3, axis=2)


# What changes an image, uint8 [height, width, 3], by the name of the result.
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "inverted": lambda image: 255 - image,
    "rotated by 90": lambda image: np.ascontiguousarray(np.rot90(image)),
    "rotated by 180": lambda image: np.ascontiguousarray(np.rot90(image, 2)),
    "half black": blacken_half,
    "screenshot": make_screenshot,
    "noise": draw_noise,
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
}
