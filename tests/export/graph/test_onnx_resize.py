"""That the resize in the ONNX graph is the one that training used, bit for bit."""

import numpy as np
import pytest
import tensorflow as tf
from tf2onnx import convert

from export.graph import onnx_graph, onnx_resize
from export.runtime.model_file import open_session
from trainer.models import preprocessing

SIZES = [(1, 1), (1, 9), (3, 2), (47, 61), (223, 225), (224, 224), (448, 112), (897, 1161), (2003, 35)]


@pytest.fixture(scope="module")
def session():
    signature = [tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")]
    function = tf.function(
        lambda image: {"small": onnx_resize.resize_bilinear(image, preprocessing.IMAGE_SIZE)}, input_signature=signature
    )
    converted, _ = convert.from_function(function, signature, opset=onnx_graph.OPSET)
    return open_session(converted.SerializeToString())


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_the_trainers_layer_bit_for_bit(session, size):
    images = np.random.default_rng(1).integers(0, 256, (2, *size, 3)).astype(np.uint8)
    layer = preprocessing.build_preprocessing("unit").get_layer("resize")
    expected = np.asarray(layer(images.astype(np.float32)))
    np.testing.assert_array_equal(onnx_resize.resize_bilinear(tf.constant(images), preprocessing.IMAGE_SIZE), expected)
    np.testing.assert_array_equal(session.run(None, {"image": images})[0], expected)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_positions_survive_runtimes_that_compute_in_16_bits(size, monkeypatch):
    """As OpenVINO does by default on some processors: a sample may then move by 1e-3 pixels, not by several."""
    exact = onnx_resize._compute_keras_position

    def rounded(length, side):
        return tf.cast(tf.cast(exact(length, side), tf.bfloat16), tf.float32)

    monkeypatch.setattr(onnx_resize, "_compute_keras_position", rounded)
    images = np.random.default_rng(1).integers(0, 256, (1, *size, 3)).astype(np.uint8)
    expected = np.asarray(preprocessing.build_preprocessing("unit").get_layer("resize")(images.astype(np.float32)))
    actual = onnx_resize.resize_bilinear(tf.constant(images), preprocessing.IMAGE_SIZE)
    np.testing.assert_allclose(actual, expected, atol=2 * 255 * 1.1 * onnx_resize.LARGEST_DRIFT)
