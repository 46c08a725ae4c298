import csv
import dataclasses

import numpy as np
import pytest

from covid_tfds import phantom
from covid_tfds.common.files import read_json
from tests.fakes.examples import make_examples
from trainer import recipes
from trainer.features import backbone_features
from trainer.models import heads
from trainer.recipes import Recipe
from trainer.run_folder import file_names
from trainer.validation import grad_cam, regions

SHAPE = (7, 7, 6)


def random_maps(n, shape=SHAPE):
    return np.random.default_rng(3).normal(size=(n, *shape)).astype(np.float32).clip(0)


def by_hand(head, maps):
    """Grad-CAM of average pooling -> relu -> covid logit, written out."""
    w1, b1, w2, _ = head.get_weights()
    active = (maps.mean((1, 2)) @ w1 + b1) > 0
    alpha = (active * w2[:, 0]) @ w1.T / (maps.shape[1] * maps.shape[2])
    heat = np.maximum(np.einsum("nhwc,nc->nhw", maps, alpha), 0)
    return heat / heat.max((1, 2), keepdims=True)


def test_grad_cam_equals_a_hand_computation():
    head = heads.build_head(Recipe(units=32), SHAPE, classes=2, seed=1)
    maps = random_maps(4)
    heat = grad_cam.grad_cam(head, maps)
    assert heat.shape == (4, 7, 7)
    assert heat.dtype == np.float32
    np.testing.assert_allclose(heat, by_hand(head, maps), atol=1e-5)


def test_one_channel_heat_is_that_channel():
    head = heads.build_head(Recipe(depth=0), (2, 2, 2), classes=2, seed=0)
    # The logit of covid is the mean of channel 0 minus that of channel 1; where the sum is negative heat is cut to 0.
    head.set_weights([np.asarray([[1.0, 0.0], [-1.0, 0.0]]), np.zeros(2)])
    maps = np.zeros((1, 2, 2, 2), np.float32)
    maps[0, :, :, 0] = [[4, 2], [0, 1]]
    maps[0, :, :, 1] = [[0, 0], [3, 1]]
    np.testing.assert_allclose(grad_cam.grad_cam(head, maps)[0], [[1, 0.5], [0, 0]], atol=1e-6)


def test_a_sure_head_still_has_a_heat_map():
    """The probability's gradient underflows at a logit of thousands; the logit's does not."""
    head = heads.build_head(Recipe(units=32), SHAPE, classes=2, seed=1)
    maps = random_maps(2)
    before = grad_cam.grad_cam(head, maps)
    head.set_weights([*head.get_weights()[:2], *(1e4 * weight for weight in head.get_weights()[2:])])
    np.testing.assert_allclose(grad_cam.grad_cam(head, maps), before, atol=1e-5)


def test_an_image_without_evidence_has_no_heat():
    head = heads.build_head(Recipe(units=32), SHAPE, classes=2, seed=1)
    heat = grad_cam.grad_cam(head, np.zeros((1, *SHAPE), np.float32))
    assert not heat.any()
    assert np.isnan(grad_cam.share(heat, np.ones((7, 7), bool))).all()


@pytest.mark.parametrize(("side", "seen"), [(7, 4), (14, 12)])
def test_blind_cells_are_those_that_change_nothing_and_have_no_heat(side, seen):
    head = heads.build_head(Recipe(pooling="corner", units=32), (side, side, 6), classes=2, seed=1)
    blind = grad_cam.blind_cells(head)
    assert (~blind).sum() == seen**2
    maps = random_maps(5, (side, side, 6))
    before = np.asarray(head(maps))
    maps[:, blind] += 100
    np.testing.assert_array_equal(np.asarray(head(maps)), before)
    heat = grad_cam.grad_cam(head, maps)
    assert not heat[:, blind].any()
    assert heat[:, ~blind].max() == 1
    maps[:, ~blind] += 100
    assert not np.allclose(np.asarray(head(maps)), before)


@pytest.mark.parametrize("pooling", ["average", "max", "average_and_max"])
def test_other_poolings_are_not_blind(pooling):
    assert not grad_cam.blind_cells(heads.build_head(Recipe(pooling=pooling), SHAPE, classes=2, seed=1)).any()


def test_share_of_a_known_map():
    heat = np.zeros((2, 4, 4), np.float32)
    heat[0, 0, 0], heat[0, 3, 3] = 3, 1
    mask = np.zeros((4, 4), bool)
    mask[0] = True
    np.testing.assert_allclose(grad_cam.share(heat, mask), [0.75, np.nan])


def test_a_uniform_map_has_the_areas_share():
    uniform = grad_cam.enlarge(np.ones((1, 7, 7), np.float32))
    lungs = regions.lung_mask(224, 224)
    assert grad_cam.share(uniform, ~lungs)[0] == pytest.approx(1 - lungs.mean())


def test_overlay_shows_heat_blindness_and_the_untouched_image():
    image = np.full((224, 224, 3), 90.0, np.float32)
    heat = np.zeros((224, 224), np.float32)
    heat[100:110, 100:110] = 1
    plain = grad_cam.overlay(image, heat, np.zeros((7, 7), bool))
    assert (plain[:, :224] == 90).all()
    right = plain[:, 224:]
    assert (right[50, 50] == 90).all()
    assert not (right[105, 105] == 90).any()
    hatched = grad_cam.overlay(
        image, heat, grad_cam.blind_cells(heads.build_head(Recipe(pooling="corner"), SHAPE, classes=2, seed=1))
    )[:, 224:]
    assert (hatched[50, 50] == 90).all()
    assert (hatched[200, 200] != 90).all()


@pytest.fixture
def cached(tmp_path):
    """Twelve made-up images whose feature maps are already on disk, so that no network runs."""
    import io

    from PIL import Image

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
    for row, feature_map in enumerate(random_maps(12)):
        result.write(row, 0, {recipe.cut: feature_map})
    return result


def test_write_measures_the_test_images_and_the_worst_mistakes(cached, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    held_out = np.full(12, 0.5) + np.where(np.arange(12) % 2, -0.4, 0.4)
    held_out[[2, 5]] = [0.05, 0.9]  # a covid image called normal and the reverse; the first is the surer mistake
    with (run / file_names.OUT_OF_FOLD).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "patient_id", "label", "repeat", "fold", "p_covid"])
        writer.writerows([f"image-{i}", "", "", repeat, 0, p] for repeat in (0, 1) for i, p in enumerate(held_out))
    head = heads.build_head(cached.recipe, SHAPE, classes=2, seed=1)
    p_covid = np.full(12, 0.3)
    p_covid[[8, 9, 10, 11]] = [0.25, 0.3, 0.15, 0.22]  # test images: two covid (called wrong and right), two normal
    grad_cam.write(run, cached, head, p_covid, threshold=0.2)
    result = read_json(run / file_names.SALIENCY)
    groups = [(image["group"], image["image_id"]) for image in result["images"]]
    # Wrong calls first, the largest error first among them: 10 (0.85), 9 (0.3), 11 (0.22); then 8, called rightly.
    assert [name for group, name in groups if group == "test"] == ["image-10", "image-9", "image-11", "image-8"]
    assert [name for group, name in groups if group == "mistake"] == ["image-2", "image-5"]
    assert result["images"][4]["p_out_of_fold"] == pytest.approx(0.05)
    assert result["area_blind"] == pytest.approx(33 / 49)
    test = [image for image in result["images"] if image["group"] == "test"]
    assert result["outside_lungs"]["value"] == pytest.approx(np.mean([image["outside_lungs"] for image in test]))
    assert result["opacities"] is None
    for image in result["images"]:
        from PIL import Image

        assert Image.open(run / image["picture"]).size == (448, 224)


def test_a_large_test_split_is_measured_whole_and_shown_in_part(cached, tmp_path, monkeypatch):
    monkeypatch.setattr(grad_cam, "SHOWN", {"test": 2, "mistake": 6})
    grad_cam.write(
        tmp_path, cached, heads.build_head(cached.recipe, SHAPE, classes=2, seed=1), np.full(12, 0.5), threshold=0.5
    )
    images = read_json(tmp_path / file_names.SALIENCY)["images"]
    assert [image["picture"] is not None for image in images] == [True, True, False, False]
    assert all(image["outside_lungs"] is not None for image in images)
    assert len(list((tmp_path / file_names.SALIENCY_PICTURES).iterdir())) == 2


def test_phantoms_opacities_are_compared_with_their_area(cached, tmp_path, monkeypatch):
    mask = np.zeros((224, 224), bool)
    mask[:112] = True  # the upper half
    monkeypatch.setattr(grad_cam, "_opacities", lambda image_id: mask)
    drawn = dataclasses.replace(cached, examples=dataclasses.replace(cached.examples, name="covid_tfds/phantom"))
    for row in range(12):
        upper = np.zeros(SHAPE, np.float32)
        upper[0] = 1
        drawn.write(row, 0, {"block5_pool": upper})
    head = heads.build_head(dataclasses.replace(cached.recipe, pooling="average", depth=0), SHAPE, classes=2, seed=1)
    head.set_weights([np.tile([1.0, 0.0], (SHAPE[-1], 1)), np.zeros(2)])
    grad_cam.write(tmp_path, drawn, head, np.full(12, 0.5), threshold=0.5)
    result = read_json(tmp_path / file_names.SALIENCY)["opacities"]
    # All heat is in the upper half, on the two covid images of the test split.
    assert result["heat"] == {"value": pytest.approx(1), "n": 2}
    assert result["area"]["value"] == 0.5
    assert result["ratio"]["value"] == pytest.approx(2)


def test_the_mask_of_a_phantom_is_its_own():
    mask = grad_cam._opacities("phantom-00000")
    assert mask.shape == (224, 224)
    assert mask.dtype == bool
    assert mask.mean() == pytest.approx(phantom.draw(0).opacity_mask.mean(), abs=0.005)
    assert mask.any()
    assert not grad_cam._opacities("phantom-00001").any()
