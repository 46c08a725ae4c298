import numpy as np
import pytest

from trainer.models import heads
from trainer.recipes import CUTS, DEFAULT, POOLINGS, TUTORIAL, Recipe

FEATURES = np.random.default_rng(0).normal(0, 3, (4, 12)).astype(np.float32)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cut", CUTS)
def test_pooling_reads_what_it_says(pooling, cut):
    side = 7 if cut == "block5_pool" else 14
    feature_map = np.random.default_rng(0).uniform(0, 1, (2, side, side, 5)).astype(np.float32)
    pooled = np.asarray(heads.build_pooling(pooling, (side, side, 5))(feature_map))
    corner = feature_map[:, : side // 4 * 4, : side // 4 * 4].reshape(2, side // 4, 4, side // 4, 4, 5).mean((2, 4))
    wanted = {
        "corner": corner.reshape(2, -1),
        "average": feature_map.mean((1, 2)),
        "max": feature_map.max((1, 2)),
        "average_and_max": np.concatenate([feature_map.mean((1, 2)), feature_map.max((1, 2))], axis=1),
    }[pooling]
    np.testing.assert_allclose(pooled, wanted, rtol=1e-5)


@pytest.mark.parametrize("recipe", [DEFAULT, TUTORIAL, Recipe(depth=0), Recipe(depth=2)])
def test_the_initial_weights_are_the_keras_heads(recipe):
    head = heads.build_head(recipe, (7, 7, 512), classes=2, seed=3)
    drawn = heads.draw_initial_weights(recipe, 512, classes=2, seed=3)
    for one, other in zip(head.get_weights(), drawn, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_predictions_from_the_weights_are_the_keras_heads(depth):
    head = heads.build_head(Recipe(depth=depth, pooling="average"), (1, 1, 12), classes=2, seed=1)
    by_keras = head.predict(FEATURES[:, None, None], verbose=0)
    weights = head.get_weights()
    np.testing.assert_allclose(np.exp(heads.predict_log_probabilities(weights, FEATURES)), by_keras, atol=1e-6)
    np.testing.assert_allclose(heads.predict_probabilities(weights, FEATURES), by_keras, atol=1e-6)


def test_saturated_log_probabilities_keep_their_distance():
    weights = [np.asarray([[1e4, 0.0, 0.0]]), np.zeros(3)]
    log_p = heads.predict_log_probabilities(weights, np.asarray([[3.0], [-3.0]]))
    np.testing.assert_allclose(log_p[:, 0] - log_p[:, 1], [3e4, -3e4])
