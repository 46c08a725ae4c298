import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from covid_tfds import phantom
from tests.fakes import layouts
from tests.fakes.examples import make_examples
from trainer.validation.controls import build_controls
from trainer.validation.lung_rectangle import lung_mask
from trainer.validation.lung_regions import find_lungs


def with_masks(*masks):
    examples = make_examples(np.arange(len(masks)) % 2)
    return dataclasses.replace(examples, read_masks=lambda rows: (masks[row] for row in rows))


def test_the_known_lungs_of_a_phantom_are_hidden_whatever_is_in_them():
    """The same chest with and without covid: nothing outside the lungs differs, so the control's inputs must not."""
    twins = [phantom.draw(3, labels) for labels in (phantom.LABELS, phantom.THREE_LABELS)]
    assert [twin.label for twin in twins] == ["normal", "covid"]
    resized = [Image.fromarray(twin.image).resize((224, 224)) for twin in twins]
    thumbnails = np.stack([np.asarray(image, float).reshape(32, 7, 32, 7).mean((1, 3)) for image in resized])
    lungs = find_lungs(with_masks(*(twin.lung_mask for twin in twins)), np.arange(2), 32).lungs
    assert np.abs(thumbnails[0] - thumbnails[1]).max() > 10
    outside = np.where(lungs, 0, thumbnails)
    assert np.abs(outside[0] - outside[1]).max() < 1
    assert 0.1 < lungs[0].mean() < lung_mask(32, 32).mean()


def test_the_masks_of_a_folder_are_taken_by_the_controls(tmp_path):
    """The Radiography Database's layout with drawn radiographs and their true lungs."""
    drawn = [phantom.draw(index) for index in range(4)]
    for index, one in enumerate(drawn):
        for kind, pixels, side in (("images", one.image, 112), ("masks", 255 * one.lung_mask.astype(np.uint8), 64)):
            path = tmp_path / ("COVID", "Normal")[index % 2] / kind / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).resize((side, side)).save(path)
    examples = layouts.read(tmp_path)
    found = find_lungs(examples, np.arange(4), 32)
    assert found.has_mask.all()
    truth = find_lungs(
        with_masks(*(drawn[int(Path(name).stem)].lung_mask for name in examples.image_id)), np.arange(4), 32
    )
    assert np.mean(found.lungs == truth.lungs) > 0.95
    controls = build_controls(examples, np.zeros((4, 32, 32)), np.zeros((4, 2)), np.zeros((4, 2)))
    assert "lung masks" in next(control.what for control in controls if control.name == "lungs_blacked_out")


def test_without_masks_the_rectangle_stands_for_the_lungs():
    found = find_lungs(make_examples([0, 1]), np.arange(2), 32)
    assert not found.has_mask.any()
    assert (found.lungs == lung_mask(32, 32)).all()
    assert "84 % of the width" in found.describe()


def test_masks_take_the_place_of_the_rectangle():
    mask = np.zeros((64, 128), bool)
    mask[16:32, 4:8] = True
    found = find_lungs(with_masks(mask, None, np.zeros((8, 8), bool)), np.arange(3), 32)
    assert found.has_mask.tolist() == [True, False, False]
    expected = np.zeros((32, 32), bool)
    expected[8:16, 1:2] = True
    assert (found.lungs[0] == expected).all()
    assert (found.lungs[1:] == lung_mask(32, 32)).all()
    assert "2 images" in found.describe()
