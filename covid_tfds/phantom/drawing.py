"""Draw chest radiographs by a program.

An image takes about 30 ms on one core. A healthy chest is drawn first (`anatomy`), then its exposure is chosen. The
label matters only after that: `covid` adds hazy, mostly peripheral and basal opacities to both lungs, `pneumonia` a
dense consolidation of one lobe, ending at a fissure. So with another label the same image would have the same pixels
outside the lungs, and nothing there can separate the classes.

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
THREE_LABELS = (*LABELS, "pneumonia")
PREFIXES = {"phantom": LABELS, "phantom3": THREE_LABELS}
SEED = 3
# Attenuation an opacity must add to count as one: below it is a soft edge that nobody would outline.
VISIBLE = 0.03


@dataclass(frozen=True)
class Radiograph:
    """One drawn radiograph.

    Attributes:
        image_id: "phantom-", or "phantom3-" where there are three classes, and the index in five digits or more.
        label: One of THREE_LABELS.
        image: uint8 [height, width], grey, 0 black to 255 white; 375 to 470 wide, about 340 to 550 high.
        opacity_mask: bool [height, width], True where opacities were drawn; all False when normal.
        lung_mask: bool [height, width], True in the lungs beside the heart.
        sex: "F" or "M".
        age: Years, 21 to 85.
        view: Always "PA".
    """

    image_id: str
    label: str
    image: np.ndarray
    opacity_mask: np.ndarray
    lung_mask: np.ndarray
    sex: str
    age: int
    view: str = "PA"


def draw(index: int, labels: tuple[str, ...] = LABELS) -> Radiograph:
    """Draw radiograph number `index`; its label is the next of `labels` in turn.

    It depends on nothing but the index and the label, so the first images of a large set are those of a small one.
    Other versions of NumPy, SciPy or Pillow may round single pixels otherwise.

    Args:
        index: 0 or more.
        labels: LABELS or THREE_LABELS.

    Raises:
        ValueError: If the index is negative.
    """
    if index < 0:
        raise ValueError(f"phantom.draw: index is {index}, expected 0 or more")
    return _draw(index, labels[index % len(labels)], labels)


def draw_by_id(image_id: str) -> Radiograph:
    """Draw the radiograph with this `image_id`.

    Raises:
        ValueError: If no drawn radiograph has this name.
    """
    match = re.fullmatch(r"(phantom3?)-(\d{5,})", image_id)
    if match is None or image_id != _name(int(match[2]), PREFIXES[match[1]]):
        raise ValueError(f"{image_id!r} is no phantom image: expected a name such as 'phantom-00007'")

    return draw(int(match[2]), PREFIXES[match[1]])


def split_of(index: int, labels: tuple[str, ...] = LABELS) -> str:
    """Returns the split, "train" or "test", of radiograph number `index`: of five of a class, the last is for testing.

    Example:
        >>> [split_of(index) for index in range(10)].count("test"), split_of(14, THREE_LABELS)
        (2, 'test')
    """
    return "test" if index // len(labels) % 5 == 4 else "train"


def encode_png(image: np.ndarray) -> bytes:
    """Encode uint8 [height, width] as PNG; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _name(index, labels):
    prefix = next(name for name, its_labels in PREFIXES.items() if its_labels == labels)
    return f"{prefix}-{index:05d}"


def _draw(index, label, labels=LABELS):
    rng = np.random.default_rng([SEED, index])
    patient = draw_chest(rng)
    exposure = _expose(rng, patient.plane)
    if label == "covid":
        added = _haze(rng, patient)
    elif label == "pneumonia":
        added = _consolidation(rng, patient)
    else:
        added = np.zeros_like(patient.attenuation)
    image = _develop(patient.attenuation + added, exposure)
    return Radiograph(_name(index, labels), label, image, added > VISIBLE, patient.lungs, patient.sex, patient.age)


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
    return 0.19 * np.minimum(patches, 1) * np.maximum(0.95 + 0.18 * _texture(rng, plane), 0) * _inside(patient)


def _consolidation(rng: np.random.Generator, patient: Chest) -> np.ndarray:
    """Returns the attenuation that a filled lobe adds, float32 [height, width], 0 outside one lung."""
    plane = patient.plane
    side = rng.choice(SIDES)
    fissure = rng.uniform(0.46, 0.60) + rng.uniform(-0.15, 0.30) * (np.abs(plane.x) - 0.3)
    below = plane.y - fissure if rng.random() < 0.65 else fissure - plane.y
    lobe = ramp(below, -0.012, 0.012) * (side * plane.x > 0)
    return rng.uniform(0.20, 0.26) * lobe * np.maximum(0.95 + 0.08 * _texture(rng, plane), 0) * _inside(patient)


def _texture(rng: np.random.Generator, plane: Plane) -> np.ndarray:
    """Returns uneven density, float32 [height, width], 0 on average."""
    noise = rng.standard_normal((plane.height // 2 + 1, plane.width // 2 + 1), dtype=np.float32)
    fine, coarse = (gaussian_filter(noise, radius * plane.unit_x / 2, truncate=3) for radius in (0.008, 0.035))
    return plane.enlarge(fine / fine.std() + 0.8 * coarse / coarse.std())


def _inside(patient: Chest) -> np.ndarray:
    """Returns 1 inside the lungs, falling to 0 at their edges, float32 [height, width]."""
    return patient.lungs * np.clip(2 * patient.plane.blur(patient.lungs.astype(np.float32), 0.012) - 1, 0, 1)


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
