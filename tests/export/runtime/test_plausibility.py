"""Images that can't be radiographs get a warning; radiographs get none."""

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from covid_tfds import phantom
from covid_tfds.imaging.reader import read_image
from export.runtime.plausibility import find_warnings


def radiograph(index=0):
    return np.repeat(phantom.draw(index).image[..., None], 3, axis=-1)


@pytest.mark.parametrize("index", range(4))
def test_drawn_radiographs_get_no_warning(index):
    assert find_warnings(radiograph(index)) == []


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (lambda image: image // 6, "almost black"),
        (lambda image: 255 - image // 6, "almost white"),
        (lambda image: 110 + image // 12, "hardly any contrast"),
        (lambda image: image[::8, ::8], "tiny: "),
        (lambda image: np.zeros_like(image), "almost black"),
        (lambda image: np.full_like(image, 255), "almost white"),
    ],
    ids=["dark", "bright", "flat", "tiny", "black", "white"],
)
def test_implausible_images_get_a_warning(change, warning):
    (found,) = find_warnings(change(radiograph()).astype(np.uint8))
    assert found.startswith(warning)


@pytest.mark.parametrize("index", [0, 1])
def test_photographs_get_a_warning(index):
    assert "colourful: no radiograph" in find_warnings(load_sample_images().images[index])


def test_a_tinted_radiograph_gets_no_warning():
    tint = np.asarray([0.7, 0.8, 1.0])
    assert find_warnings((radiograph() * tint).astype(np.uint8)) == []


def test_real_radiographs_get_no_warning(manual_dir):
    files = [path for path in sorted(manual_dir.rglob("*.*")) if path.suffix.lower() in (".png", ".jpg", ".jpeg")]
    warned = {path.name: found for path in files if (found := find_warnings(read_image(path).pixels))}
    assert len(files) >= 150
    assert warned == {}
