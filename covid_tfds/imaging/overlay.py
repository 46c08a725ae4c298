"""A heat map over its radiograph, as a picture that a person can read. Pillow and NumPy only."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Dark to bright at an even pace, so that order can be read off the picture, also by colour-blind readers and in print.
COLOURS = np.asarray([(0, 0, 0), (70, 15, 110), (175, 45, 95), (240, 110, 30), (252, 200, 40), (255, 255, 190)])
LONGEST = 1000  # pixels of the picture's longer side; a heat map of 7 x 7 cells gains nothing from more
SMALLEST = 480
OPACITY = 0.75
MARGIN, BAR, GAP = 0.02, 0.035, 0.012  # of the picture's longer side
FRAME = (90, 220, 255)
COLOUR_MEANS = "Colour: raises the covid logit by so much (per map cell). Dashed: the part that the head reads."
NOTHING = "No map cell raises the covid logit: there is nothing to show. Dashed: the part that the head reads."


def overlay(image: np.ndarray, heatmap: np.ndarray, region: list[float], title: str) -> Image.Image:
    """The radiograph under its heat map, with a colour scale and a dashed contour of what the head can read.

    image: uint8 [height, width, 3]. heatmap: float [h, w] >= 0, whose cells divide the image evenly. region: top,
    left, bottom, right of the cells that the head reads, as fractions of the image's sides; the cells themselves see
    some way beyond. title: one line under the picture.
    """
    film = _scaled(Image.fromarray(image))
    top = float(heatmap.max())
    heat = Image.fromarray((heatmap / top if top > 0 else heatmap).astype(np.float32))
    heat = np.asarray(heat.resize(film.size, Image.Resampling.BILINEAR)) * _inside(film.size[::-1], region)
    opacity = OPACITY * heat[..., None]
    painted = np.asarray(film, dtype=np.float32) * (1 - opacity) + _colours(heat) * opacity
    picture = Image.fromarray(np.rint(painted).astype(np.uint8))
    _dashed(ImageDraw.Draw(picture), [region[1], region[0], region[3], region[2]], picture.size)
    return _with_scale(picture, top, title)


def _scaled(film: Image.Image) -> Image.Image:
    factor = min(max(SMALLEST / max(film.size), 1), LONGEST / max(film.size))
    size = [max(1, round(side * factor)) for side in film.size]
    return film.resize(size, Image.Resampling.LANCZOS)


def _inside(shape: tuple[int, int], region: list[float]) -> np.ndarray:
    """1.0 within the region: enlarging smears heat over its edge, where the head reads nothing."""
    row, column = ((np.arange(side) + 0.5) / side for side in shape)
    rows = (row > region[0]) & (row < region[2])
    columns = (column > region[1]) & (column < region[3])
    return (rows[:, None] & columns[None, :]).astype(np.float32)


def _colours(heat: np.ndarray) -> np.ndarray:
    place = np.linspace(0, 1, len(COLOURS))
    return np.stack([np.interp(heat, place, COLOURS[:, channel]) for channel in range(3)], axis=-1)


def _dashed(draw: ImageDraw.ImageDraw, box: list[float], size: tuple[int, int]) -> None:
    """A dashed rectangle; box as fractions (left, top, right, bottom)."""
    width = max(2, round(max(size) / 300))
    dash = 6 * width
    left, top, right, bottom = (round(part * (side - 1)) for part, side in zip(box, (*size, *size), strict=True))
    for start in range(left, right, 2 * dash):
        for y in (top, bottom - width + 1):
            draw.rectangle([start, y, min(start + dash, right), y + width - 1], fill=FRAME)
    for start in range(top, bottom, 2 * dash):
        for x in (left, right - width + 1):
            draw.rectangle([x, start, x + width - 1, min(start + dash, bottom)], fill=FRAME)


def _with_scale(picture: Image.Image, top: float, title: str) -> Image.Image:
    """The picture on a white page with a colour bar at its right and the text below."""
    side = max(picture.size)
    font = ImageFont.load_default(max(12, round(side * 0.022)))
    line = round(font.size * 1.35)
    margin, bar, gap = (round(side * part) for part in (MARGIN, BAR, GAP))
    labels = [f"{top * part:.3g}" for part in (1, 0.5, 0)] if top > 0 else ["", "", "0"]
    legend = COLOUR_MEANS if top > 0 else NOTHING
    lines = [text for whole in (title, legend) for text in _wrapped(whole, font, picture.width + bar)]
    page = Image.new(
        "RGB",
        (
            picture.width + 2 * margin + 2 * gap + bar + round(max(map(font.getlength, labels))) + gap,
            picture.height + 2 * margin + gap + line * len(lines),
        ),
        "white",
    )
    page.paste(picture, (margin, margin))
    x = margin + picture.width + 2 * gap
    ramp = np.linspace(1, 0, picture.height)[:, None].repeat(bar, axis=1)
    page.paste(Image.fromarray(np.rint(_colours(ramp)).astype(np.uint8)), (x, margin))
    draw = ImageDraw.Draw(page)
    for part, label in zip((0, 0.5, 1), labels, strict=True):
        y = margin + part * (picture.height - 1)
        draw.text((x + bar + gap, y), label, "black", font, anchor=("lt", "lm", "lb")[round(part * 2)])
    for index, text in enumerate(lines):
        draw.text((margin, margin + picture.height + gap + index * line), text, "black", font)
    return page


def _wrapped(text: str, font, width: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
