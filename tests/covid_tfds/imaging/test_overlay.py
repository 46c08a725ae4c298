"""The drawing shows heat where it is, nothing where the head reads nothing, and a scale to read it by."""

import numpy as np
import pytest

from covid_tfds.imaging.overlay import draw_overlay

WHOLE = [0.0, 0.0, 1.0, 1.0]


def grey(height, width):
    return np.full((height, width, 3), 90, np.uint8)


def coloured(page) -> np.ndarray:
    """Bool [height, width] of the page: pixels that are neither grey nor the frame's blue."""
    red, _, blue = np.moveaxis(np.asarray(page).astype(int), -1, 0)
    return red - blue > 40


@pytest.mark.parametrize("size", [(600, 500), (500, 800), (60, 40), (3000, 2600)], ids=str)
def test_heat_is_drawn_where_the_hot_cell_is(size):
    height, width = size
    heat = np.zeros((7, 7), np.float32)
    heat[1, 5] = 0.02
    page = draw_overlay(grey(height, width), heat, WHOLE, "image.png")
    assert max(page.size) < 1200
    assert min(page.size) > 300
    margin = round(0.02 * min(max(height, width, 480), 1000))
    factor = min(max(480 / max(height, width), 1), 1000 / max(height, width))
    drawing = coloured(page)[margin : margin + round(height * factor), margin : margin + round(width * factor)]
    rows, columns = np.nonzero(drawing)
    assert rows.mean() / drawing.shape[0] == pytest.approx(1.5 / 7, abs=0.02)
    assert columns.mean() / drawing.shape[1] == pytest.approx(5.5 / 7, abs=0.02)


def test_nothing_is_painted_beyond_what_the_head_reads():
    heat = np.zeros((7, 7), np.float32)
    heat[:4, :4] = 1
    page = draw_overlay(grey(700, 700), heat, [0.0, 0.0, 4 / 7, 4 / 7], "image.png")
    painted = coloured(page)[14:714, 14:714]
    assert painted[50:330, 50:330].all()
    assert not painted[410:].any()
    assert not painted[:, 410:].any()
    frame = np.all(np.asarray(page) == (90, 220, 255), axis=-1)[14:714, 14:714]
    rows, columns = np.nonzero(frame)
    assert (rows.max(), columns.max()) == pytest.approx((400, 400), abs=2)


def test_an_empty_map_says_so_and_shows_the_film():
    empty = draw_overlay(grey(500, 500), np.zeros((7, 7), np.float32), WHOLE, "image.png")
    assert not coloured(empty)[12:500, 12:500].any()
    full = draw_overlay(grey(500, 500), np.ones((7, 7), np.float32), WHOLE, "image.png")
    caption, usual = (np.asarray(page)[-40:-5, 10:500] for page in (empty, full))
    assert (caption != usual).any()


def test_a_long_name_is_wrapped_not_cut():
    title = " ".join(["a rather long name"] * 12)
    short, long = (draw_overlay(grey(300, 300), np.ones((7, 7)), WHOLE, text) for text in ("image.png", title))
    assert long.width == short.width
    assert long.height > short.height + 25
