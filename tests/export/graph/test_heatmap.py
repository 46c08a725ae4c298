"""That the closed form of Grad-CAM is Grad-CAM, for every head that a recipe or the search can produce."""

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from tf2onnx import convert

from covid_tfds.common.errors import UsageError
from export.graph import heatmap, onnx_graph
from export.runtime.model_file import open_session
from trainer import recipes
from trainer.models import heads
from trainer.recipes import Recipe

CHANNELS = 24
SIDES = {"block5_pool": 7, "block4_pool": 14}
HEADS = [
    pytest.param(cut, pooling, depth, id=f"{cut}-{pooling}-{depth}")
    for cut in recipes.CUTS
    for pooling in recipes.POOLINGS
    for depth in range(4)
]


def make_head(cut, pooling, depth):
    side = SIDES[cut]
    return heads.build_head(
        Recipe(cut=cut, pooling=pooling, depth=depth, units=16), (side, side, CHANNELS), classes=2, seed=depth + 1
    )


def maps(cut, batch=5):
    """Feature maps as a relu leaves them: many zeros, so that maxima have ties."""
    random = np.random.default_rng(2)
    return np.maximum(random.normal(size=(batch, SIDES[cut], SIDES[cut], CHANNELS)) - 0.4, 0).astype(np.float32)


def by_gradient_tape(head, features):
    """Grad-CAM as published, of the covid logit; float [n, h, w], negative values kept."""
    last = head.get_layer("probabilities")
    penultimate = keras.Model(head.inputs, last.input)
    features = tf.constant(features)
    with tf.GradientTape() as tape:
        tape.watch(features)
        logit = (penultimate(features, training=False) @ last.kernel + last.bias)[:, 0]
    weight = tf.reduce_mean(tape.gradient(logit, features), axis=(1, 2), keepdims=True)
    return tf.reduce_sum(weight * features, axis=-1).numpy()


def closed_form(head):
    inside = heatmap.expose_activations(head)

    def function(features):
        return {"heatmap": heatmap.compute_heatmap(features, inside, inside(features, training=False))}

    return function


@pytest.mark.parametrize(("cut", "pooling", "depth"), HEADS)
def test_equals_grad_cam_where_the_head_reads_and_is_zero_elsewhere(cut, pooling, depth):
    head = make_head(cut, pooling, depth)
    expected = by_gradient_tape(head, maps(cut))
    readable = heatmap.find_readable_cells(pooling, *expected.shape[1:])
    actual = closed_form(head)(tf.constant(maps(cut)))["heatmap"].numpy()
    assert np.abs(actual - np.maximum(expected, 0) * readable).max() <= 1e-5 * np.abs(expected).max()
    assert (actual > 0).any()


@pytest.mark.parametrize(("cut", "pooling", "depth"), [head for head in HEADS if head.values[2] in (0, 2)])
def test_equals_grad_cam_in_onnx_runtime(cut, pooling, depth, tmp_path):
    head = make_head(cut, pooling, depth)
    signature = [tf.TensorSpec((None, *head.input_shape[1:]), tf.float32, name="features")]
    function = tf.function(closed_form(head), input_signature=signature, autograph=False)
    converted, _ = convert.from_function(function, signature, opset=onnx_graph.OPSET)
    onnx.checker.check_model(converted, full_check=True)
    features = maps(cut)
    session = open_session(converted.SerializeToString())
    (actual,) = session.run(["heatmap"], {"features": features})
    expected = by_gradient_tape(head, features)
    expected = np.maximum(expected, 0) * heatmap.find_readable_cells(pooling, *expected.shape[1:])
    assert np.abs(actual - expected).max() <= 1e-4 * expected.max()


@pytest.mark.parametrize(("side", "read"), [(7, 4), (14, 12)])
def test_the_corner_pool_reads_whole_windows_only(side, read):
    readable = heatmap.find_readable_cells("corner", side, side)
    assert readable[:read, :read].all()
    assert readable.sum() == read * read
    pool = heads.build_pooling("corner", (side, side, 2))
    features = np.random.default_rng(0).random((1, side, side, 2)).astype(np.float32)
    changed = features.copy()
    changed[0][~readable] += 100
    np.testing.assert_array_equal(pool(features), pool(changed))


@pytest.mark.parametrize("pooling", recipes.POOLINGS)
def test_finds_the_pooling_of_a_head(pooling):
    assert heatmap.find_pooling(make_head("block5_pool", pooling, 1)) == pooling


def test_a_head_that_the_formula_does_not_fit_is_refused():
    features = keras.Input((7, 7, 4))
    pooled = keras.layers.GlobalAveragePooling2D(name="average_pool")(features)
    hidden = keras.layers.Dense(3, activation="tanh", name="hidden1")(pooled)
    tanh = keras.Model(features, keras.layers.Dense(2, activation="softmax", name="probabilities")(hidden))
    with pytest.raises(UsageError, match=r"hidden1 \(tanh\)"):
        heatmap.expose_activations(tanh)
    flat = keras.Model(
        features, keras.layers.Dense(2, activation="softmax", name="probabilities")(keras.layers.Flatten()(features))
    )
    with pytest.raises(UsageError, match="corner_pool"):
        heatmap.expose_activations(flat)
