"""Draw chest radiographs by a program.

An image takes about 30 ms on one core. A healthy chest is drawn first (`anatomy`), then its exposure is chosen, and
only then the label matters: `covid` adds hazy, mostly peripheral and basal opacities to both lungs. So an image and its
twin of the other label agree in every pixel outside the lungs, and nothing there can tell the classes apart.

The drawings imitate the look of radiographs, not their physics, and nothing medical can be learned from them.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from covid_tfds.phantom.anatomy import SIDES, WALL_X, WALL_Y, Chest, draw_chest
from covid_tfds.phantom.plane import Plane, ramp

LABELS = ("covid", "normal")
SEED = 3
# Attenuation an opacity must add to count as one: below it is a soft edge that nobody would outline.
VISIBLE = 0.03


@dataclass(frozen=True)
class Radiograph:
    """One drawn radiograph.

    Attributes:
        image_id: "phantom-" and the index in five digits or more.
        label: One of LABELS.
        image: uint8 [height, width], grey, 0 black to 255 white; 375 to 470 wide, about 340 to 550 high.
        opacity_mask: bool [height, width], True where opacities were drawn; all False when normal.
        sex: "F" or "M".
        age: Years, 21 to 85.
        view: Always "PA".
    """

    image_id: str
    label: str
    image: np.ndarray
    opacity_mask: np.ndarray
    sex: str
    age: int
    view: str = "PA"


def draw(index: int) -> Radiograph:
    """Draw radiograph number `index`: even ones are "covid", odd ones "normal".

    It depends on nothing but the index, so the first images of a large set are those of a small one. Other versions of
    NumPy, SciPy or Pillow may round single pixels otherwise.

    Raises:
        ValueError: If the index is negative.
    """
    if index < 0:
        raise ValueError(f"phantom.draw: index is {index}, expected 0 or more")
    return _draw(index, LABELS[index % 2])


def draw_by_id(image_id: str) -> Radiograph:
    """Draw the radiograph with this `image_id`.

    Raises:
        ValueError: If no drawn radiograph has this name.
    """
    match = re.fullmatch(r"phantom-(\d{5,})", image_id)
    if match is None or image_id != _name(int(match[1])):
        raise ValueError(f"{image_id!r} is no phantom image: expected 'phantom-' and five digits, as in {_name(7)!r}")
    return draw(int(match[1]))


def split_of(index: int) -> str:
    """Returns the split, "train" or "test", of radiograph number `index`: of ten, one of each class is for testing."""
    return "test" if index % 10 >= 8 else "train"


def encode_png(image: np.ndarray) -> bytes:
    """Encode uint8 [height, width] as PNG; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _name(index):
    return f"phantom-{index:05d}"


def _draw(index, label):
    rng = np.random.default_rng([SEED, index])
    patient = draw_chest(rng)
    exposure = _expose(rng, patient.plane)
    if label == "covid":
        haze = _haze(rng, patient)
    else:
        haze = np.zeros_like(patient.attenuation)
    image = _develop(patient.attenuation + haze, exposure)
    return Radiograph(_name(index), label, image, haze > VISIBLE, patient.sex, patient.age)


@dataclass(frozen=True)
class _Exposure:
    """How the radiograph is taken: all that varies and is neither anatomy nor disease."""

    contrast: np.ndarray  # gain, float32 [height, width]: the beam is not even
    level: float
    gamma: float
    fog: float  # grey of what the beam reaches unhindered
    grain: np.ndarray  # grey levels, float32 [height, width]
    field: np.ndarray  # 1 inside the shutters, 0 outside, float32 [height, width]
    letter: str
    letter_xy: tuple[float, float]  # fractions of width and height


def _expose(rng: np.random.Generator, plane: Plane) -> _Exposure:
    row = np.linspace(0, 1, plane.height, dtype=np.float32)[:, None]
    column = np.linspace(0, 1, plane.width, dtype=np.float32)[None]
    tilt_x, tilt_y = rng.normal(0, 0.012, 2).tolist()
    noise = rng.standard_normal((plane.height, plane.width), dtype=np.float32)
    # A negative shutter stands outside the image: no border on that side.
    top, bottom, left, right = rng.uniform(-0.04, 0.06, 4)
    letter = "LR"[int(rng.random() < 0.5)]
    x, y = rng.uniform((0.09, 0.09), (0.14, 0.19))
    return _Exposure(
        contrast=rng.uniform(0.965, 1.035) * (1 + tilt_x * (2 * column - 1) + tilt_y * (2 * row - 1)),
        level=rng.uniform(-0.012, 0.032),
        gamma=rng.uniform(1.48, 1.66),
        fog=rng.uniform(3, 12),
        grain=rng.uniform(1.5, 4.0) * (0.5 * noise + gaussian_filter(noise, 0.8, truncate=2)),
        field=_open(row, top) * _open(1 - row, bottom) * _open(column, left) * _open(1 - column, right),
        letter=letter,
        letter_xy=(x if letter == "R" else 1 - x, y),  # the patient's right is on the viewer's left
    )


def _open(distance, shutter):
    return ramp(distance, shutter - 0.006, shutter + 0.006) if shutter > 0 else np.ones_like(distance)


def _haze(rng: np.random.Generator, patient: Chest) -> np.ndarray:
    """Returns the attenuation that opacities add, float32 [height, width], 0 outside the lungs."""
    plane = patient.plane
    patches = np.zeros_like(patient.attenuation)
    for side in SIDES:
        for _ in range(rng.integers(3, 5)):
            basal = rng.random() < 0.75
            y = rng.uniform(0.58, 0.98) if basal else rng.uniform(0.35, 0.6)
            x = side * rng.uniform(0.66, 0.92) * float(np.interp(y, WALL_Y, WALL_X))
            radius_x, radius_y = rng.uniform(0.11, 0.20), rng.uniform(0.13, 0.23)
            shape = np.exp(-(((plane.x - x) / radius_x) ** 2)) * np.exp(-(((plane.y - y) / radius_y) ** 2))
            patches += rng.uniform(0.6, 1.0) * shape
    noise = rng.standard_normal((plane.height // 2 + 1, plane.width // 2 + 1), dtype=np.float32)
    fine, coarse = (gaussian_filter(noise, radius * plane.unit_x / 2, truncate=3) for radius in (0.008, 0.035))
    texture = plane.enlarge(fine / fine.std() + 0.8 * coarse / coarse.std())
    inside = patient.lungs * np.clip(2 * plane.blur(patient.lungs.astype(np.float32), 0.012) - 1, 0, 1)
    return 0.19 * np.minimum(patches, 1) * np.maximum(0.95 + 0.18 * texture, 0) * inside


def _develop(attenuation: np.ndarray, exposure: _Exposure) -> np.ndarray:
    """Turn attenuation into grey levels, uint8 [height, width], with grain, shutters and a letter."""
    # Only what is in the beam's way is lifted, else the air around the patient would turn grey.
    dose = np.maximum(exposure.contrast * attenuation + exposure.level * (attenuation > 0.02), 0)
    white = 1.06 * (1 - np.exp(-1.9 * dose**exposure.gamma))
    grey = exposure.fog + (245 - exposure.fog) * white + exposure.grain * (0.35 + 0.65 * white)
    dark = 0.6 * exposure.fog
    grey = dark + (grey - dark) * exposure.field
    image = Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))
    width, height = image.size
    at = (exposure.letter_xy[0] * width, exposure.letter_xy[1] * height)
    font = ImageFont.load_default(size=0.055 * height)
    ImageDraw.Draw(image).text(at, exposure.letter, fill=240, font=font, anchor="mm")
    return np.asarray(image)
