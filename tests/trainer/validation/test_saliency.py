import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from covid_tfds import phantom
from tests.fakes.examples import make_examples
from trainer import recipes
from trainer.features import backbone_features, shards
from trainer.models import heads
from trainer.recipes import Recipe
from trainer.run_folder.saliency import Mean
from trainer.validation import saliency
from trainer.validation.fold_heads import FoldHeads
from trainer.validation.grad_cam import find_blind_cells
from trainer.validation.saliency import draw_overlay, measure_saliency

SHAPE = (7, 7, 6)


def random_maps(n, shape=SHAPE):
    return np.random.default_rng(3).normal(size=(n, *shape)).astype(np.float32).clip(0)


def test_an_overlay_holds_the_image_and_each_heat_map_on_one_scale():
    image = np.full((224, 224, 3), 90.0, np.float32)
    heat = np.zeros((7, 7), np.float32)
    heat[1, 1] = 1
    lungs = np.zeros((224, 224), bool)
    lungs[150:200, 20:60] = True
    blind = find_blind_cells(heads.build_head(Recipe(pooling="corner"), SHAPE, classes=2, seed=1))
    pixels = np.asarray(draw_overlay(image, [heat, heat / 10], lungs, blind, highest=1.0)).astype(int)
    assert pixels.shape == (224, 3 * 224, 3)
    assert (pixels[:, :224] == 90).all()
    hot, faint = (np.abs(pixels[48, place * 224 + 48] - 90).max() for place in (1, 2))
    assert hot > 100
    assert faint < hot / 3
    assert (pixels[150, 224 + 20 : 224 + 60] == 255).all()
    assert (pixels[170, 224 + 30] == 90).all()
    frame = np.all(pixels[:, 224:448] == (90, 220, 255), axis=-1)
    assert (frame.any(1).nonzero()[0].max(), frame.any(0).nonzero()[0].max()) == pytest.approx((127, 127), abs=2)


@pytest.fixture
def features(tmp_path):
    """Twelve made-up images whose feature maps are already on disk, so that no network runs."""
    recipe = Recipe(augmentation=recipes.Augmentation(), units=4, pooling="corner")
    random = np.random.default_rng(0)

    def png(_):
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 255, (32, 40), np.uint8)).save(file, "png")
        return file.getvalue()

    encoded = [png(i) for i in range(12)]
    findings = np.where(np.arange(12) % 2, "Normal", "COVID-19")
    split = np.asarray(["train"] * 8 + ["test"] * 4)
    examples = make_examples(np.arange(12) % 2, encoded, split=split, facts={"finding": findings})

    class Network:
        def get_layer(self, _):
            return type("Layer", (), {"output": np.empty((1, *SHAPE))})

    result = backbone_features.Features(
        examples, backbone_features.Backbone(Network(), "0"), recipe, 1, tmp_path / "features"
    )
    shards.write_shard(result.folder, result.key(0), examples.sha256, {recipe.cut: random_maps(12)})
    return result


def two_classes(p):
    """Probabilities float [n, 2] from those of the positive class."""
    return np.stack([p, 1 - np.asarray(p)], axis=1)


def fold_heads(features, head, repeats=1):
    """The same head for both folds of each repeat."""
    folds = np.tile(np.arange(12) % 2, (repeats, 1))
    weights = {(repeat, fold): head.get_weights() for repeat in range(repeats) for fold in (0, 1)}
    return FoldHeads(features, folds, np.ones((repeats, 12)), weights)


def test_test_images_and_the_largest_mistakes_are_measured(features):
    out_of_fold = np.full(12, 0.5) + np.where(np.arange(12) % 2, -0.4, 0.4)
    out_of_fold[[2, 5]] = [0.05, 0.9]  # a covid image called normal and the reverse; the first error is larger
    head = heads.build_head(features.recipe, SHAPE, classes=2, seed=1)
    p = np.full(12, 0.3)
    p[[8, 9, 10, 11]] = [0.25, 0.3, 0.15, 0.22]  # two covid images, called wrongly and rightly, two normal ones
    result, overlays = measure_saliency(
        features, head, two_classes(p), fold_heads(features, head), two_classes(out_of_fold), threshold=0.2
    )
    groups = [(image.group, image.image_id) for image in result.images]
    # Mistakes first, the largest error first: 10 (0.85), 9 (0.3), 11 (0.22); then 8, called rightly.
    assert [name for group, name in groups if group == "test"] == ["image-10", "image-9", "image-11", "image-8"]
    assert [name for group, name in groups if group == "mistake"] == ["image-2", "image-5"]
    mistake = result.images[4]
    assert mistake.probabilities == {"covid": pytest.approx(0.05), "normal": pytest.approx(0.95)}
    assert (mistake.decision, mistake.decision_argmax) == ("normal", "normal")
    assert (result.images[3].decision, result.images[3].decision_argmax) == ("covid", "normal")
    assert mistake.finding == "COVID-19"
    assert result.area_blind == pytest.approx(33 / 49)
    assert result.highest == max(image.peak for image in result.images)
    test = [image for image in result.images if image.group == "test"]
    assert result.outside_lungs.value == pytest.approx(np.mean([image.outside_lungs for image in test]))
    assert result.opacities is None
    assert {image.overlay for image in result.images} == set(overlays)
    assert {Image.open(io.BytesIO(content)).size for content in overlays.values()} == {(448, 224)}


def test_a_mistakes_heat_is_that_of_the_heads_that_made_it(features):
    """Not the final head's, which was trained on the image."""
    plain = dataclasses.replace(features, recipe=dataclasses.replace(features.recipe, pooling="average", depth=0))
    one, other = (head_of_channel(channel) for channel in (0, 1))
    folds = np.tile(np.arange(12) % 2, (2, 1))
    weights = {(repeat, fold): (one, other)[repeat] for repeat in (0, 1) for fold in (0, 1)}
    made = FoldHeads(plain, folds, np.asarray([[1.0], [2.0]]).repeat(12, 1), weights)
    heat = made.compute_heat_maps(np.asarray([2]), np.asarray([0]))[0]
    (feature_map,) = plain.maps(np.asarray([2]))
    np.testing.assert_allclose(heat, (feature_map[..., 0] + feature_map[..., 1] / 2) / 49 / 2, rtol=1e-5)


def head_of_channel(channel):
    """Weights of a head without hidden layer whose positive logit is the mean of one channel."""
    kernel = np.zeros((SHAPE[-1], 2))
    kernel[channel, 0] = 1
    return [kernel, np.zeros(2)]


def test_of_three_classes_the_decided_one_has_its_own_heat(features):
    examples = dataclasses.replace(features.examples, class_names=("covid", "normal", "pneumonia"))
    three = dataclasses.replace(features, examples=examples)
    head = heads.build_head(three.recipe, SHAPE, classes=3, seed=1)
    probabilities = np.tile([0.1, 0.2, 0.7], (12, 1))
    probabilities[8] = [0.6, 0.1, 0.3]
    result, overlays = measure_saliency(
        three, head, probabilities, fold_heads(three, head), np.eye(3)[examples.labels], threshold=0.5
    )
    by_name = {image.image_id: image for image in result.images}
    assert by_name["image-8"].decision_peak is None
    assert by_name["image-9"].decision == "pneumonia"
    assert by_name["image-9"].decision_peak >= 0
    widths = {name: Image.open(io.BytesIO(overlays[image.overlay])).width for name, image in by_name.items()}
    assert (widths["image-8"], widths["image-9"]) == (448, 672)


def test_a_large_test_split_is_measured_whole_and_drawn_in_part(features, monkeypatch):
    monkeypatch.setattr(saliency, "SHOWN", {"test": 2, "mistake": 6})
    head = heads.build_head(features.recipe, SHAPE, classes=2, seed=1)
    correct = two_classes(np.where(features.examples.labels == 0, 0.9, 0.1))
    half = np.full((12, 2), 0.5)
    result, overlays = measure_saliency(features, head, half, fold_heads(features, head), correct, threshold=0.5)
    assert [image.overlay is not None for image in result.images] == [True, True, False, False]
    assert all(image.outside_lungs is not None for image in result.images)
    assert len(overlays) == 2


def test_phantoms_opacities_are_compared_with_their_area(features, monkeypatch):
    mask = np.zeros((224, 224), bool)
    mask[:112] = True  # the upper half
    monkeypatch.setattr(saliency, "_draw_opacities", lambda image_id: mask)
    drawn = dataclasses.replace(features, examples=dataclasses.replace(features.examples, name="covid_tfds/phantom"))
    upper = np.zeros((12, *SHAPE), np.float32)
    upper[:, 0] = 1
    shards.write_shard(drawn.folder, drawn.key(0), drawn.examples.sha256, {"block5_pool": upper})
    head = heads.build_head(dataclasses.replace(features.recipe, pooling="average", depth=0), SHAPE, classes=2, seed=1)
    head.set_weights([np.tile([1.0, 0.0], (SHAPE[-1], 1)), np.zeros(2)])
    half, correct = np.full((12, 2), 0.5), two_classes(np.where(features.examples.labels == 0, 0.9, 0.1))
    opacities = measure_saliency(drawn, head, half, fold_heads(drawn, head), correct, threshold=0.5)[0].opacities
    # All heat is in the upper half, on the two covid images of the test split.
    assert opacities.heat == Mean(pytest.approx(1), 2)
    assert opacities.area.value == 0.5
    assert opacities.ratio.value == pytest.approx(2)


def test_the_mask_of_a_phantom_is_its_own():
    mask = saliency._draw_opacities("phantom-00000")
    assert mask.shape == (224, 224)
    assert mask.dtype == bool
    assert mask.mean() == pytest.approx(phantom.draw(0).opacity_mask.mean(), abs=0.005)
    assert mask.any()
    assert not saliency._draw_opacities("phantom-00001").any()
