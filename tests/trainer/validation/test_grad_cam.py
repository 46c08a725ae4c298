import numpy as np
import pytest

from trainer.models import heads
from trainer.recipes import Recipe
from trainer.validation.grad_cam import compute_heat_maps, compute_share, enlarge, find_blind_cells
from trainer.validation.lung_rectangle import lung_mask

SHAPE = (7, 7, 6)


def random_maps(n, shape=SHAPE):
    return np.random.default_rng(3).normal(size=(n, *shape)).astype(np.float32).clip(0)


def by_hand(head, maps):
    """Grad-CAM of average pooling -> relu -> covid logit, written out."""
    w1, b1, w2, _ = head.get_weights()
    active = (maps.mean((1, 2)) @ w1 + b1) > 0
    alpha = (active * w2[:, 0]) @ w1.T / (maps.shape[1] * maps.shape[2])
    return np.maximum(np.einsum("nhwc,nc->nhw", maps, alpha), 0)


def of_positive(head, maps):
    return compute_heat_maps(head, maps, np.zeros(len(maps), int))


def test_grad_cam_equals_a_hand_computation():
    head = heads.build_head(Recipe(units=32), SHAPE, classes=2, seed=1)
    maps = random_maps(4)
    heat = of_positive(head, maps)
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
    np.testing.assert_allclose(of_positive(head, maps)[0], [[1, 0.5], [0, 0]], atol=1e-6)  # a mean over four cells


def test_each_image_has_the_heat_of_its_own_class():
    head = heads.build_head(Recipe(depth=0), (1, 2, 2), classes=3, seed=0)
    head.set_weights([np.asarray([[1.0, 0.0, 0.0], [0.0, 0.0, 3.0]]), np.zeros(3)])
    maps = np.tile(np.eye(2, dtype=np.float32)[None, None], (2, 1, 1, 1))  # channel 0 left, channel 1 right
    heat = compute_heat_maps(head, maps, np.asarray([0, 2]))
    np.testing.assert_allclose(heat, [[[0.5, 0]], [[0, 1.5]]], atol=1e-6)


def test_a_certain_head_still_has_a_heat_map():
    """The probability's gradient underflows at a logit of thousands; the logit's does not."""
    head = heads.build_head(Recipe(units=32), SHAPE, classes=2, seed=1)
    maps = random_maps(2)
    before = of_positive(head, maps)
    head.set_weights([*head.get_weights()[:2], *(1e4 * weight for weight in head.get_weights()[2:])])
    np.testing.assert_allclose(of_positive(head, maps), 1e4 * before, rtol=1e-4)


def test_an_image_without_evidence_has_no_heat():
    head = heads.build_head(Recipe(units=32), SHAPE, classes=2, seed=1)
    heat = of_positive(head, np.zeros((1, *SHAPE), np.float32))
    assert not heat.any()
    assert np.isnan(compute_share(heat, np.ones((7, 7), bool))).all()


@pytest.mark.parametrize(("side", "seen"), [(7, 4), (14, 12)])
def test_blind_cells_are_those_that_change_nothing_and_have_no_heat(side, seen):
    head = heads.build_head(Recipe(pooling="corner", units=32), (side, side, 6), classes=2, seed=1)
    blind = find_blind_cells(head)
    assert (~blind).sum() == seen**2
    maps = random_maps(5, (side, side, 6))
    before = np.asarray(head(maps))
    maps[:, blind] += 100
    np.testing.assert_array_equal(np.asarray(head(maps)), before)
    heat = of_positive(head, maps)
    assert not heat[:, blind].any()
    assert heat[:, ~blind].any()
    maps[:, ~blind] += 100
    assert not np.allclose(np.asarray(head(maps)), before)


@pytest.mark.parametrize("pooling", ["average", "max", "average_and_max"])
def test_other_poolings_are_not_blind(pooling):
    assert not find_blind_cells(heads.build_head(Recipe(pooling=pooling), SHAPE, classes=2, seed=1)).any()


def test_share_of_a_known_map():
    heat = np.zeros((2, 4, 4), np.float32)
    heat[0, 0, 0], heat[0, 3, 3] = 3, 1
    mask = np.zeros((4, 4), bool)
    mask[0] = True
    np.testing.assert_allclose(compute_share(heat, mask), [0.75, np.nan])


def test_a_uniform_map_has_the_areas_share():
    uniform = enlarge(np.ones((1, 7, 7), np.float32), 224)
    lungs = lung_mask(224, 224)
    assert compute_share(uniform, ~lungs)[0] == pytest.approx(1 - lungs.mean())
