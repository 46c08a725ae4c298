"""The image plane of a drawn radiograph, and the curves that its shapes are made of.

Shapes are laid out in thorax units: x = 0 is the midline and positive x the viewer's right (the patient's left, where
the heart points), y grows downwards from the apex of the lungs (0) to the top of the right half of the diaphragm (1).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter

# Outermost and lowest point that a lung can reach.
LUNG_EDGE = 0.62
LUNG_BASE = 1.20


class Plane:
    """The image plane: where thorax units fall on its pixels, and the brushes that paint there.

    Attributes:
        width, height: Size in pixels.
        x, y: Thorax units of the pixel columns, float32 [1, width], and rows, float32 [height, 1], tilt left aside.
    """

    def __init__(self, rng: np.random.Generator):
        """Choose size, build and a field of view that keeps the lungs 15 % of each side away from every edge."""
        left, right, top, bottom = rng.uniform(0.17, 0.20, 4)
        self.width = int(rng.integers(375, 471))
        self.unit_x = float(self.width * (1 - left - right) / (2 * LUNG_EDGE))
        self.unit_y = float(self.unit_x * rng.uniform(0.96, 1.14))
        self.height = round(self.unit_y * LUNG_BASE / (1 - top - bottom))
        self.origin = np.array([self.width * left + self.unit_x * LUNG_EDGE, self.height * top])
        self.tilt = rng.uniform(-0.02, 0.02)
        self.x = ((np.arange(self.width, dtype=np.float32) - self.origin[0]) / self.unit_x)[None].astype(np.float32)
        self.y = ((np.arange(self.height, dtype=np.float32) - self.origin[1]) / self.unit_y)[:, None].astype(np.float32)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Returns pixel coordinates (x, y) [..., 2] of points in thorax units [..., 2]."""
        lean = np.stack([points[..., 0] + self.tilt * (points[..., 1] - 0.5), points[..., 1]], -1)
        return lean * (self.unit_x, self.unit_y) + self.origin

    def paint(self, *parts: tuple[np.ndarray, float]) -> np.ndarray:
        """Fill outlines in turn, each (points [n, 2], value 0 to 1); returns float32 [height, width]."""
        image = Image.new("L", (self.width, self.height))
        pen = ImageDraw.Draw(image)
        for points, value in parts:
            pen.polygon(self.pixels(points).ravel().tolist(), fill=round(255 * value))
        return np.asarray(image, np.float32) / 255

    def blur(self, layer: np.ndarray, radius: float) -> np.ndarray:
        """Blur float32 [height, width] by a radius, in thorax units, so wide that a quarter of the pixels will do."""
        small = np.asarray(Image.fromarray(layer).reduce(4))
        return self.enlarge(gaussian_filter(small, radius * self.unit_x / 4, mode="nearest", truncate=3))

    def enlarge(self, small: np.ndarray) -> np.ndarray:
        """Stretch a float32 map over the plane, smoothly."""
        return np.asarray(Image.fromarray(small).resize((self.width, self.height), Image.Resampling.BICUBIC))


@lru_cache(maxsize=64)
def _spline(knots, closed):
    rows = np.eye(knots)
    if closed:
        rows = np.vstack([rows, rows[:1]])
    at = np.arange(len(rows))
    # Interpolation is linear in the control points: as a matrix it is built once, not for every vertebra.
    curve = CubicSpline(at, rows, bc_type="periodic" if closed else "natural")
    return curve(np.linspace(0, at[-1], 6 * at[-1] + 1))


def line(xs: Sequence[float] | np.ndarray, ys: Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns a smooth open curve, float64 [m, 2], through the points with these coordinates."""
    return _spline(len(xs), False) @ np.stack([xs, ys], 1)


def blob(xs: Sequence[float] | np.ndarray, ys: Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns a smooth closed outline, float64 [m, 2], through the points with these coordinates."""
    return _spline(len(xs), True) @ np.stack([xs, ys], 1)


def mirrored(side: int, points: np.ndarray) -> np.ndarray:
    """Returns points [..., 2] given for the side +1, on `side`."""
    return points * (side, 1)


def ribbon(path: np.ndarray, half_width: float | np.ndarray) -> np.ndarray:
    """Returns the outline [2 m, 2] of a band along a path [m, 2], of one half width or one for each point."""
    step = np.gradient(path, axis=0)
    normal = np.stack([-step[:, 1], step[:, 0]], 1) / np.hypot(step[:, 0], step[:, 1])[:, None]
    offset = normal * np.reshape(half_width, (-1, 1))
    return np.concatenate([path + offset, (path - offset)[::-1]])


def bone(path: np.ndarray, half_width: float | np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Returns the parts that `Plane.paint` takes for a long bone along a path [m, 2]."""
    # A bone is a tube: rays along its wall meet more of it than rays through the marrow.
    return [(ribbon(path, half_width), 0.9), (ribbon(path, half_width * 0.64), 0.55)]


def ramp(value: np.ndarray, start: float, end: float) -> np.ndarray:
    """Returns 0 below `start`, 1 above `end`, smooth between."""
    t = np.clip((value - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)
