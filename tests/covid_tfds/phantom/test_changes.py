import numpy as np
import pytest

from covid_tfds.phantom.changes import CHANGES


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (60, 40, 3), np.uint8)


def test_a_change_of_place_or_sign_is_undone_by_itself(image):
    for name in ("inverted", "rotated by 180", "mirrored"):
        changed = CHANGES[name](image)
        assert (changed != image).mean() > 0.9
        np.testing.assert_array_equal(CHANGES[name](changed), image)


def test_a_quarter_turn_swaps_the_sides(image):
    assert CHANGES["rotated by 90"](image).shape == (40, 60, 3)
    assert CHANGES["rotated by 90"](image)[-1, 0].tolist() == image[0, 0].tolist()


def test_half_is_black(image):
    changed = CHANGES["half black"](image)
    assert changed[:, 20:].max() == 0
    np.testing.assert_array_equal(changed[:, :20], image[:, :20])


def test_noise_is_grey_and_the_same_for_the_same_image(image):
    noise = CHANGES["noise"](image)
    assert (noise == noise[..., :1]).all()
    assert 100 < noise.mean() < 155
    np.testing.assert_array_equal(noise, CHANGES["noise"](image))


def test_a_screenshot_shows_the_whole_image_smaller():
    black = np.zeros((120, 100, 3), np.uint8)
    changed = CHANGES["screenshot"](black)
    assert changed.shape == black.shape
    assert (changed == 0).all(2).sum() == 62 * 88
