"""Draw a healthy chest from the front, as a map of X-ray attenuation that `drawing` turns into grey levels.

Organs are polygons in the thorax units of `plane`. Attenuation has no unit: air is 0, a shoulder about 0.5, the spine
behind the heart about 1. Layers add up, as shadows do, and one blur at the end stands for the sharpness of a real
machine. The proportions are chosen by eye: they make an image that looks right, and are no source for anatomy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from covid_tfds.phantom.plane import Plane, blob, bone, line, mirrored, ramp, ribbon

SIDES = (-1, 1)
# Inner surface of the ribs: half the width of the thorax at each height.
WALL_Y = (-0.02, 0.02, 0.06, 0.12, 0.22, 0.36, 0.52, 0.70, 0.90, 1.10, 1.40, 1.90)
WALL_X = (0.22, 0.29, 0.34, 0.40, 0.47, 0.53, 0.575, 0.605, 0.62, 0.62, 0.59, 0.56)


@dataclass(frozen=True)
class Chest:
    """A healthy chest.

    Attributes:
        plane: The image plane.
        attenuation: float32 [height, width] of the plane.
        lungs: bool [height, width], True in the lungs beside the heart.
        sex: "F" or "M".
        age: Years, 21 to 85.
    """

    plane: Plane
    attenuation: np.ndarray
    lungs: np.ndarray
    sex: str
    age: int


def draw_chest(rng: np.random.Generator) -> Chest:
    """Draw one healthy chest from random numbers."""
    plane = Plane(rng)
    sex = "FM"[int(rng.random() < 0.5)]
    age = int(rng.integers(21, 86))
    shoulder = rng.uniform(-0.06, 0.03)
    body = _body(rng, plane, shoulder)
    lungs, abdomen = _lungs_and_abdomen(rng, plane)
    heart = _heart(rng, plane, age) * (1 - abdomen)
    gas = _stomach_gas(rng, plane)

    layers = body * (0.16 + 0.52 * plane.blur(body, 0.13)) * rng.uniform(0.92, 1.10)
    layers -= 0.36 * lungs * (0.30 + 0.80 * plane.blur(lungs, 0.07))
    layers += 0.20 * abdomen * (1 - gas) * (0.45 + 0.55 * plane.blur(abdomen, 0.08))
    layers += heart * (0.10 + 0.20 * plane.blur(heart, 0.06)) * ramp(plane.y, -0.3, 0.25)
    layers += _airway(rng, plane) + _spine(rng, plane)
    layers += _ribs(rng, plane) * (1 - 0.4 * heart)
    layers += _shoulder_girdle(rng, plane, shoulder) * body
    layers += _vessels(rng, plane) * lungs * (1 - 0.6 * heart)
    layers += _breasts(rng, plane) * body * (sex == "F")
    layers += _mottle(rng, plane) * body
    attenuation = gaussian_filter(layers, 0.0045 * plane.unit_x, truncate=3)
    return Chest(plane, attenuation, (lungs > 0) & (heart == 0), sex, age)


def _body(rng, plane, shoulder):
    neck = rng.uniform(0.17, 0.22)
    flank = rng.uniform(0.70, 0.77)
    elbow = rng.uniform(0.85, 1.1)
    top = line(
        (neck + 0.02, neck, neck + 0.02, 0.30, 0.48, 0.70, 0.90, 1.10, 1.45),
        np.array((-0.9, -0.5, -0.30, -0.17, -0.08, -0.02, 0.08, 0.30, 0.75)) + shoulder,
    )
    bottom = line(
        (1.30, 1.02, 0.86, flank + 0.03, flank, flank - 0.02, flank - 0.04, flank),
        (elbow + 0.3, elbow - 0.2, 0.52, 0.47, 0.62, 0.9, 1.25, 1.9),
    )
    half = np.concatenate([top, bottom])
    return plane.paint((np.concatenate([half, mirrored(-1, half)[::-1]]), 1))


def _lungs_and_abdomen(rng, plane):
    domes, cavities = [], []
    for side in SIDES:
        peak = rng.uniform(0.25, 0.32)
        # The liver lifts the right half of the diaphragm.
        level = 1.0 + rng.uniform(-0.025, 0.02) + (0.035 if side > 0 else 0)
        x = np.linspace(0, 0.66, 30)
        domes.append(mirrored(side, np.stack([x, level + np.where(x > peak, 1.2, 0.7) * (x - peak) ** 2], 1)))
        cavity = line((0.05, 0.05, 0.06, 0.07, 0.11, 0.17, *WALL_X[1:]), (1.4, 0.9, 0.5, 0.2, 0.06, 0.005, *WALL_Y[1:]))
        cavities.append((mirrored(side, cavity), 1))
    under = plane.paint((np.concatenate([domes[0][::-1], domes[1], [(0.66, 2.5), (-0.66, 2.5)]]), 1))
    wall = np.stack([WALL_X, WALL_Y], 1)
    thorax = plane.paint((np.concatenate([wall, mirrored(-1, wall)[::-1]]), 1))
    return plane.paint(*cavities) * (1 - under), under * thorax


def _stomach_gas(rng, plane):
    bubble = blob((-0.11, 0, 0.11, 0), (0, -0.055, 0, 0.05)) * rng.uniform(0.8, 1.4)
    at = (rng.uniform(0.2, 0.3), rng.uniform(1.12, 1.15))
    return plane.blur(plane.paint((bubble + at, rng.choice((0, 0.5, 0.9)))), 0.012)


def _heart(rng, plane, age):
    size = rng.uniform(0.88, 1.10)
    # The arch of the aorta widens with age.
    arch = 0.125 + 0.0006 * (age - 20) + rng.normal(0, 0.006)
    vessels_x = (0.09, 0.09, 0.09, arch - 0.015, arch, arch - 0.012, 0.115, 0.135)
    vessels_y = (-0.7, -0.2, 0.08, 0.23, 0.29, 0.35, 0.40, 0.47)
    ventricle = size * np.array((0.17, 0.26, 0.335, 0.36, 0.31, 0.20))
    left = line((*vessels_x, *ventricle), (*vessels_y, 0.56, 0.70, 0.84, 0.94, 1.04, 1.10))
    atrium = size * np.array((-0.12, -0.165, -0.17, -0.13, -0.06))
    right = line(
        (-0.08, -0.08, -0.085, -0.09, -0.095, *atrium), (-0.7, -0.2, 0.1, 0.3, 0.5, 0.62, 0.76, 0.88, 1.0, 1.10)
    )
    return plane.paint((np.concatenate([left, right[::-1]]), 1))


def _airway(rng, plane):
    x = rng.normal(0, 0.01)
    trachea = ribbon(line((x, x, x - 0.01), (-0.5, 0.1, 0.36)), 0.034)
    bronchi = [ribbon(line((x - 0.01, (x + end) / 2, end), (0.35, 0.41, 0.48)), 0.016) for end in (-0.11, 0.13)]
    return -0.09 * plane.blur(plane.paint((trachea, 1), *((outline, 0.7) for outline in bronchi)), 0.012)


def _spine(rng, plane):
    bend = rng.normal(0, 0.008, 3)
    parts = []
    for number in range(-7, 21):
        y = 0.02 + 0.098 * number
        centre = np.array([bend[0] + bend[1] * np.sin(3 * y) + bend[2] * np.sin(6 * y), y])
        half = 0.050 + 0.0012 * number
        waist = half * np.array((-1, 0, 1, 0.86, 1, 0, -1, -0.86))
        block = blob(waist, (-0.04, -0.036, -0.04, 0, 0.04, 0.036, 0.04, 0))
        parts += [(centre + block, 0.75), (centre + block * 0.82, 0.5)]
        pedicle = blob((0.012, 0, -0.012, 0), (0, 0.017, 0, -0.017))
        parts += [(centre + pedicle + (side * 0.62 * half, -0.008), 0.85) for side in SIDES]
        parts += [(centre + blob((0.010, 0, -0.010, 0), (0.02, 0.048, 0.02, -0.008)), 0.8)]
    bones = plane.paint(*parts)
    return 0.09 * bones + 0.08 * plane.blur(bones, 0.03)


def _ribs(rng, plane):
    # Neighbours overlap along the flank, where their shadows must add up: so they go on two canvases in turn.
    back: tuple[list, list] = ([], [])
    front: tuple[list, list] = ([], [])
    spacing = rng.uniform(0.098, 0.108)
    steepness = rng.uniform(0.9, 1.15)
    turn = np.linspace(0.005, 0.86, 40) * np.pi  # from the spine (0) round the flank towards the breastbone (pi)
    for side in SIDES:
        for number in range(11):
            root = -0.055 + spacing * number + rng.normal(0, 0.004)
            drop = steepness * np.interp(number, (0, 1, 3, 7, 10), (0.22, 0.31, 0.42, 0.48, 0.44))
            reach = np.interp(root + 0.45 * drop, WALL_Y, WALL_X) + 0.012
            x = 0.05 + (reach - 0.05) * np.sin(turn) ** 0.9
            y = root - 0.025 * np.sin(np.minimum(1.8 * turn, np.pi)) + drop * (turn / np.pi) ** 1.25
            path = mirrored(side, np.stack([x, y], 1))
            width = np.interp(turn, (0, 1.2, np.pi), (0.0135, 0.0165, 0.020)) * rng.uniform(0.9, 1.1)
            back[number % 2].extend(bone(path[:24], width[:24]))
            front[number % 2].extend(bone(path[23:], width[23:]))
    behind = plane.paint(*back[0]) + plane.paint(*back[1])
    before = plane.paint(*front[0]) + plane.paint(*front[1])
    # In front, ribs end in cartilage, which is nearly invisible; below, the abdomen hides them.
    ribs = 0.115 * behind + 0.085 * before * ramp(np.abs(plane.x), 0.2, 0.42)
    return ribs * (1 - 0.5 * ramp(plane.y, 0.9, 1.3))


def _shoulder_girdle(rng, plane, shoulder):
    bones, blades = [], []
    for side in SIDES:
        lift = (shoulder + rng.normal(0.04, 0.015)) * np.array((0.2, 0.5, 1, 1, 1))
        collar = line((0.055, 0.2, 0.38, 0.58, 0.80), np.array((0.12, 0.085, 0.04, 0.01, 0.025)) + lift)
        collar_width = np.interp(collar[:, 0], (0.05, 0.15, 0.4, 0.72, 0.80), (0.026, 0.019, 0.016, 0.020, 0.012))
        head = blob((0.84, 0.88, 0.94, 0.96, 0.92, 0.86), np.array((0.16, 0.10, 0.11, 0.18, 0.24, 0.23)) + shoulder)
        arm = line((0.90, 0.93, 1.0, 1.12, 1.3), np.array((0.15, 0.22, 0.36, 0.58, 0.9)) + shoulder)
        parts = [*bone(arm, np.linspace(0.052, 0.036, len(arm))), (head, 0.65)]
        bones += [(mirrored(side, outline), value) for outline, value in parts + bone(collar, collar_width)]

        shift = np.array((rng.uniform(-0.03, 0.04), shoulder + rng.uniform(-0.02, 0.04)))
        plate = blob(
            (0.54, 0.53, 0.57, 0.65, 0.70, 0.75, 0.81, 0.80, 0.66),
            (0.13, 0.20, 0.36, 0.56, 0.47, 0.31, 0.22, 0.13, 0.09),
        )
        edge = ribbon(line((0.81, 0.755, 0.705, 0.655), (0.19, 0.30, 0.44, 0.55)), 0.014)
        spine = line((0.56, 0.70, 0.82, 0.90), (0.19, 0.12, 0.06, 0.05))
        crest = ribbon(spine, np.linspace(0.008, 0.022, len(spine)))
        blades += [
            (mirrored(side, outline + shift), value) for outline, value in ((plate, 0.5), (edge, 0.9), (crest, 0.8))
        ]
    return 0.17 * plane.paint(*bones) + 0.07 * plane.paint(*blades)


def _breasts(rng, plane):
    sag = rng.uniform(-0.04, 0.06)
    shape = blob((0.08, 0.3, 0.52, 0.68, 0.64, 0.44, 0.2), np.array((0.72, 0.6, 0.62, 0.76, 0.95, 1.05, 0.98)) + sag)
    both = plane.paint(*((mirrored(side, shape), 1) for side in SIDES))
    return rng.uniform(0.08, 0.11) * both * plane.blur(both, 0.09)


def _vessels(rng, plane):
    image = Image.new("L", (plane.width, plane.height))
    pen = ImageDraw.Draw(image)
    hila = []
    for side in SIDES:
        hilum = np.array([0.12, 0.46 if side < 0 else 0.43])
        root = blob((-0.03, 0.02, 0.035, 0.015, -0.03), (-0.08, -0.04, 0.03, 0.11, 0.08)) * rng.uniform(0.8, 1.1)
        hila.append((mirrored(side, root + hilum), 0.7))
        start, angle = hilum + rng.normal(0, 0.02, (10, 2)), np.linspace(-1.3, 1.5, 10) + rng.normal(0, 0.12, 10)
        width, length = rng.uniform(0.008, 0.013, 10), rng.uniform(0.34, 0.46, 10)
        for _ in range(3):
            bend = angle[:, None] + np.cumsum(rng.normal(0, 0.13, (len(start), 9)), 1)
            steps = np.stack([np.cos(bend), np.sin(bend)], -1) * (length / 9)[:, None, None]
            path = start[:, None] + np.cumsum(np.concatenate([np.zeros_like(steps[:, :1]), steps], 1), 1)
            _draw_tapering(pen, plane.pixels(mirrored(side, path)), width * plane.unit_x)
            bud, knot = np.repeat(np.arange(len(start)), 2), rng.integers(2, 8, 2 * len(start))
            start = path[bud, knot]
            angle = bend[bud, knot] + rng.choice((-1, 1), len(bud)) * rng.uniform(0.35, 0.9, len(bud))
            width = width[bud] * rng.uniform(0.45, 0.65, len(bud))
            length = length[bud] * rng.uniform(0.35, 0.6, len(bud))
    return 0.14 * np.maximum(np.asarray(image, np.float32) / 255, plane.blur(plane.paint(*hila), 0.02))


def _draw_tapering(pen, paths, widths):
    for path, width in zip(paths, widths, strict=True):
        for first, share in ((0, 1.0), (3, 0.75), (6, 0.45)):
            thin = width * share
            # A line is never drawn thinner than a pixel: below that it gets fainter instead.
            fill = min(255, round(70 + 65 * thin))
            pen.line(path[first : first + 4].ravel().tolist(), fill=fill, width=max(1, round(thin)))


def _mottle(rng, plane):
    # Fat and muscle are not even.
    noise = rng.standard_normal((plane.height // 4 + 1, plane.width // 4 + 1), dtype=np.float32)
    smooth = gaussian_filter(noise, 0.03 * plane.unit_x / 4) + 2 * gaussian_filter(noise, 0.1 * plane.unit_x / 4)
    return 0.016 * plane.enlarge(smooth / smooth.std())
