import numpy as np
import pytest
import tensorflow as tf

from export.graph.typicality import measure_typicality
from trainer.run_folder.typicality import Reference, quarter_weights


@pytest.fixture
def reference():
    vectors = np.random.default_rng(0).uniform(size=(20, 4 * 5)) ** 3
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    patient = np.repeat(np.arange(10), [1, 3] * 5)
    return Reference(unit.astype(np.float16), patient, np.arange(20).astype(str))


@pytest.mark.parametrize("side", [7, 14])
def test_the_graph_gives_what_numpy_gives(reference, side):
    maps = np.random.default_rng(1).uniform(size=(50, side, side, 5)).astype(np.float32)
    maps *= np.random.default_rng(2).uniform(size=(50, 1, 1, 5)) ** 2
    outputs = tf.function(lambda maps: measure_typicality(maps, reference))(maps.astype(np.float32))
    vectors = (quarter_weights(side, side) @ maps.reshape(50, side * side, 5)).reshape(50, -1)
    distance, typicality = reference.measure(vectors)
    np.testing.assert_allclose(outputs["distance"], distance, atol=1e-6)
    np.testing.assert_allclose(outputs["typicality"], typicality, atol=1e-6)
    assert len(np.unique(typicality)) > 2


def test_an_empty_feature_map_is_declined(reference):
    outputs = measure_typicality(tf.zeros((1, 7, 7, 5)), reference)
    assert outputs["distance"].numpy() == pytest.approx([1])
    assert outputs["typicality"].numpy() == pytest.approx([reference.level])
