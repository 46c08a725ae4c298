import numpy as np
import pytest
import tensorflow as tf

from export.graph.typicality import measure_typicality
from trainer.run_folder.typicality import Reference, join_features, quarter_weights


@pytest.fixture
def reference():
    random = np.random.default_rng(0)
    vectors = join_features(random.uniform(size=(20, 4 * 5)) ** 3, random.uniform(0, 255, (20, 16, 16)))
    patient = np.repeat(np.arange(10), [1, 3] * 5)
    return Reference(vectors.astype(np.float16), patient, np.arange(20).astype(str))


@pytest.mark.parametrize("side", [7, 14])
def test_the_graph_gives_what_numpy_gives(reference, side):
    maps = np.random.default_rng(1).uniform(size=(50, side, side, 5)).astype(np.float32)
    maps *= np.random.default_rng(2).uniform(size=(50, 1, 1, 5)) ** 2
    images = np.random.default_rng(3).uniform(0, 255, size=(50, 32, 32, 3)).astype(np.float32)
    outputs = tf.function(lambda *given: measure_typicality(*given, reference))(maps.astype(np.float32), images)
    quarters = (quarter_weights(side, side) @ maps.reshape(50, side * side, 5)).reshape(50, -1)
    distance, typicality = reference.measure(join_features(quarters, images.mean(-1)))
    np.testing.assert_allclose(outputs["distance"], distance, atol=1e-6)
    np.testing.assert_allclose(outputs["typicality"], typicality, atol=1e-6)
    assert len(np.unique(typicality)) > 2


def test_an_empty_feature_map_is_declined(reference):
    outputs = measure_typicality(tf.zeros((1, 7, 7, 5)), tf.zeros((1, 32, 32, 3)), reference)
    assert outputs["distance"].numpy() == pytest.approx([0.95], abs=1e-4)  # of an image of one grey
    assert outputs["typicality"].numpy() == pytest.approx([reference.level])
