"""Draw a heat map over its radiograph, with a colour scale. Pillow and NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Dark to bright at an even pace, so that order can be read off the colours, also by colour-blind readers and in print.
COLOURS = np.asarray([(0, 0, 0), (70, 15, 110), (175, 45, 95), (240, 110, 30), (252, 200, 40), (255, 255, 190)])
# Pixels of the longer side of the drawing; a heat map of 7 x 7 cells gains nothing from more.
SHORTEST, LONGEST = 480, 1000
OPACITY = 0.75
MARGIN, BAR, GAP = 0.02, 0.035, 0.012  # of the longer side
FRAME = (90, 220, 255)
COLOUR_MEANS = "Colour: raises the covid logit by so much (per map cell). Dashed: the part that the head reads."
NOTHING = "No map cell raises the covid logit: there is nothing to show. Dashed: the part that the head reads."


def draw_overlay(pixels: np.ndarray, heatmap: np.ndarray, region: Sequence[float], title: str) -> Image.Image:
    """Draw a radiograph under its heat map, with a colour scale and a dashed contour of what the head reads.

    Args:
        pixels: uint8 [height, width, 3], the radiograph.
        heatmap: float [h, w] >= 0, whose cells divide the radiograph evenly.
        region: Top, left, bottom, right of the cells that the head reads, as fractions of the radiograph's sides; the
            cells themselves see some way beyond.
        title: Text under the drawing.

    Example:
        >>> draw_overlay(np.zeros((90, 60, 3), np.uint8), np.eye(7), [0, 0, 1, 1], "image.png").mode
        'RGB'
    """
    highest = float(heatmap.max())
    return _add_legend(paint_heat(_scale(Image.fromarray(pixels)), heatmap, region, highest), highest, title)


def paint_heat(radiograph: Image.Image, heatmap: np.ndarray, region: Sequence[float], highest: float) -> Image.Image:
    """Returns a radiograph under its heat map, with a dashed contour of what the head reads.

    Args:
        radiograph: An RGB image.
        heatmap: As `draw_overlay` takes it; so is `region`.
        highest: Heat of the brightest colour, >= 0: the same for all images that are to be compared.
    """
    heat = Image.fromarray((heatmap / highest if highest > 0 else heatmap).astype(np.float32))
    heat = np.asarray(heat.resize(radiograph.size, Image.Resampling.BILINEAR)) * _inside(radiograph.size[::-1], region)
    opacity = OPACITY * heat[..., None]
    painted = np.asarray(radiograph, dtype=np.float32) * (1 - opacity) + _colours(heat) * opacity
    drawing = Image.fromarray(np.rint(painted).astype(np.uint8))
    _draw_dashed(ImageDraw.Draw(drawing), [region[1], region[0], region[3], region[2]], drawing.size)
    return drawing


def _scale(image: Image.Image) -> Image.Image:
    factor = min(max(SHORTEST / max(image.size), 1), LONGEST / max(image.size))
    width, height = (max(1, round(side * factor)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _inside(shape: Sequence[int], region: Sequence[float]) -> np.ndarray:
    """Returns 1.0 within the region, else 0.0: enlarging smears heat over its edge, where the head reads nothing."""
    row, column = ((np.arange(side) + 0.5) / side for side in shape)
    rows = (row > region[0]) & (row < region[2])
    columns = (column > region[1]) & (column < region[3])
    return (rows[:, None] & columns[None, :]).astype(np.float32)


def _colours(heat: np.ndarray) -> np.ndarray:
    position = np.linspace(0, 1, len(COLOURS))
    return np.stack([np.interp(heat, position, COLOURS[:, channel]) for channel in range(3)], axis=-1)


def _draw_dashed(draw: ImageDraw.ImageDraw, box: Sequence[float], size: tuple[int, int]) -> None:
    """Draw a dashed rectangle; box as fractions (left, top, right, bottom)."""
    width = max(2, round(max(size) / 300))
    dash = 6 * width
    left, top, right, bottom = (round(part * (side - 1)) for part, side in zip(box, (*size, *size), strict=True))
    for start in range(left, right, 2 * dash):
        for y in (top, bottom - width + 1):
            draw.rectangle([start, y, min(start + dash, right), y + width - 1], fill=FRAME)
    for start in range(top, bottom, 2 * dash):
        for x in (left, right - width + 1):
            draw.rectangle([x, start, x + width - 1, min(start + dash, bottom)], fill=FRAME)


def _add_legend(drawing: Image.Image, highest: float, title: str) -> Image.Image:
    """Put the drawing on a white page with a colour bar at its right and the text below."""
    side = max(drawing.size)
    letters = max(12, round(side * 0.022))
    font = ImageFont.load_default(letters)
    line = round(letters * 1.35)
    margin, bar, gap = (round(side * part) for part in (MARGIN, BAR, GAP))
    labels = [f"{highest * part:.3g}" for part in (1, 0.5, 0)] if highest > 0 else ["", "", "0"]
    legend = COLOUR_MEANS if highest > 0 else NOTHING
    lines = [text for whole in (title, legend) for text in _wrap(whole, font, drawing.width + bar)]
    width = drawing.width + 2 * margin + 3 * gap + bar + round(max(map(font.getlength, labels)))
    page = Image.new("RGB", (width, drawing.height + 2 * margin + gap + line * len(lines)), "white")
    page.paste(drawing, (margin, margin))
    x = margin + drawing.width + 2 * gap
    ramp = np.linspace(1, 0, drawing.height)[:, None].repeat(bar, axis=1)
    page.paste(Image.fromarray(np.rint(_colours(ramp)).astype(np.uint8)), (x, margin))
    draw = ImageDraw.Draw(page)
    for part, label, anchor in zip((0, 0.5, 1), labels, ("lt", "lm", "lb"), strict=True):
        draw.text((x + bar + gap, margin + part * (drawing.height - 1)), label, "black", font, anchor=anchor)
    for index, text in enumerate(lines):
        draw.text((margin, margin + drawing.height + gap + index * line), text, "black", font)
    return page


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
