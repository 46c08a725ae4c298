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
from trainer.validation.grad_cam import find_blind_cells
from trainer.validation.saliency import draw_overlay, measure_saliency

SHAPE = (7, 7, 6)


def random_maps(n, shape=SHAPE):
    return np.random.default_rng(3).normal(size=(n, *shape)).astype(np.float32).clip(0)


def test_an_overlay_holds_the_image_its_heat_and_its_blind_cells():
    image = np.full((224, 224, 3), 90.0, np.float32)
    heat = np.zeros((224, 224), np.float32)
    heat[100:110, 100:110] = 1
    plain = draw_overlay(image, heat, np.zeros((7, 7), bool))
    assert (plain[:, :224] == 90).all()
    right = plain[:, 224:]
    assert (right[50, 50] == 90).all()
    assert not (right[105, 105] == 90).any()
    hatched = draw_overlay(
        image, heat, find_blind_cells(heads.build_head(Recipe(pooling="corner"), SHAPE, classes=2, seed=1))
    )[:, 224:]
    assert (hatched[50, 50] == 90).all()
    assert (hatched[200, 200] != 90).all()


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
    examples = make_examples(np.arange(12) % 2, encoded, split=np.asarray(["train"] * 8 + ["test"] * 4))

    class Network:
        def get_layer(self, _):
            return type("Layer", (), {"output": np.empty((1, *SHAPE))})

    result = backbone_features.Features(
        examples, backbone_features.Backbone(Network(), "0"), recipe, 1, tmp_path / "features"
    )
    shards.write_shard(result.folder, result.key(0), examples.sha256, {recipe.cut: random_maps(12)})
    return result


def test_test_images_and_the_largest_mistakes_are_measured(features):
    out_of_fold = np.full(12, 0.5) + np.where(np.arange(12) % 2, -0.4, 0.4)
    out_of_fold[[2, 5]] = [0.05, 0.9]  # a covid image called normal and the reverse; the first error is larger
    head = heads.build_head(features.recipe, SHAPE, classes=2, seed=1)
    p_covid = np.full(12, 0.3)
    p_covid[[8, 9, 10, 11]] = [0.25, 0.3, 0.15, 0.22]  # two covid images, called wrongly and rightly, two normal ones
    result, overlays = measure_saliency(features, head, p_covid, out_of_fold, threshold=0.2)
    groups = [(image.group, image.image_id) for image in result.images]
    # Mistakes first, the largest error first: 10 (0.85), 9 (0.3), 11 (0.22); then 8, called rightly.
    assert [name for group, name in groups if group == "test"] == ["image-10", "image-9", "image-11", "image-8"]
    assert [name for group, name in groups if group == "mistake"] == ["image-2", "image-5"]
    assert result.images[4].p_out_of_fold == pytest.approx(0.05)
    assert result.area_blind == pytest.approx(33 / 49)
    test = [image for image in result.images if image.group == "test"]
    assert result.outside_lungs.value == pytest.approx(np.mean([image.outside_lungs for image in test]))
    assert result.opacities is None
    assert {image.overlay for image in result.images} == set(overlays)
    assert {Image.open(io.BytesIO(content)).size for content in overlays.values()} == {(448, 224)}


def test_a_large_test_split_is_measured_whole_and_drawn_in_part(features, monkeypatch):
    monkeypatch.setattr(saliency, "SHOWN", {"test": 2, "mistake": 6})
    head = heads.build_head(features.recipe, SHAPE, classes=2, seed=1)
    correct = np.where(features.examples.labels == 0, 0.9, 0.1)
    result, overlays = measure_saliency(features, head, np.full(12, 0.5), correct, threshold=0.5)
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
    opacities = measure_saliency(drawn, head, np.full(12, 0.5), np.full(12, 0.5), threshold=0.5)[0].opacities
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
