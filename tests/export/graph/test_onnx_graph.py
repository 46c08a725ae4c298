"""The ONNX file: its interface, its metadata, its bytes, and that an invalid one never gets a name."""

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper

from covid_tfds.common.errors import UsageError
from export.file_names import ONNX
from export.graph import heatmap, onnx_graph
from export.graph.network import Network
from export.parity import reference
from export.runtime.model_file import open_session
from export.runtime.model_info import ModelInfo
from export.runtime.predictor import Predictor
from trainer.models import heads, preprocessing, vgg16
from trainer.recipes import Recipe
from trainer.run_folder import file_names
from trainer.run_folder.typicality import Reference, join_features, load_reference

INFO = ModelInfo(["covid", "normal"], "covid", 0.5, [0.0, 0.0, 1.0, 1.0], "A test.")


@pytest.fixture(scope="module")
def graph(exported):
    return onnx.load(exported / ONNX)


def test_is_opset_17_and_valid(graph):
    assert [(opset.domain, opset.version) for opset in graph.opset_import] == [("", 17)]
    onnx.checker.check_model(graph, full_check=True)


def test_axes_have_names(graph):
    def shape(value):
        return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]

    assert {value.name: shape(value) for value in graph.graph.input} == {"image": ["batch", "height", "width", 3]}
    assert {value.name: shape(value) for value in graph.graph.output} == {
        "probabilities": ["batch", 2],
        "heatmap": ["batch", 7, 7],
        "typicality": ["batch"],
        "distance": ["batch"],
    }
    assert graph.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8


def test_names_do_not_come_from_the_converter(graph):
    """They would differ from export to export."""
    text = " ".join([node.name for node in graph.graph.node] + [tensor.name for tensor in graph.graph.initializer])
    assert "__" not in text
    assert "ReadVariableOp" not in text
    assert not graph.doc_string
    assert not graph.graph.doc_string
    assert not any(node.doc_string for node in graph.graph.node)


def test_two_exports_of_a_run_are_the_same_bytes(trained_run, exported, tmp_path):
    info = Predictor(exported / ONNX).info
    again = Network.load(trained_run / file_names.MODEL, load_reference(trained_run / file_names.REFERENCE))
    onnx_graph.write_onnx(again, info, tmp_path / ONNX)
    assert (tmp_path / ONNX).read_bytes() == (exported / ONNX).read_bytes()


def test_an_invalid_graph_is_fatal_and_leaves_nothing(tmp_path):
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    opset = {"opset_imports": [helper.make_opsetid("", 17)], "ir_version": 8}
    unknown = helper.make_graph([helper.make_node("NoSuchThing", ["x"], ["y"])], "g", value[:1], value[1:])
    with pytest.raises(onnx.checker.ValidationError, match="NoSuchThing"):
        onnx_graph.save_onnx(helper.make_model(unknown, **opset), INFO, tmp_path / "model.onnx")
    # ONNX's own check passes over what only a runtime knows: that it has no such kernel.
    bits = [helper.make_tensor_value_info(name, TensorProto.INT8, ["n"]) for name in ("x", "y")]
    no_kernel = helper.make_graph([helper.make_node("Sin", ["x"], ["y"])], "g", bits[:1], bits[1:])
    with pytest.raises(Exception, match="Sin"):
        onnx_graph.save_onnx(helper.make_model(no_kernel, **opset), INFO, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "side", "read"),
    [
        (Recipe(scaling="unit", cut="block5_pool", pooling="corner", depth=1), 7, 4),
        (Recipe(scaling="caffe", cut="block4_pool", pooling="corner", depth=0), 14, 12),
        (Recipe(scaling="unit", cut="block4_pool", pooling="average_and_max", depth=2), 14, 14),
    ],
    ids=["tutorial", "block4-corner-0", "block4-both-2"],
)
def test_other_recipes_convert_and_agree(recipe, side, read, tmp_path):
    """Whole models, untrained heads: resize to heat map as Keras and GradientTape have it."""
    backbone = vgg16.cut_backbone(vgg16.load_backbone("random", 0), recipe.cut)
    head = heads.build_head(recipe, backbone.output_shape[1:], classes=2, seed=1)
    whole = vgg16.assemble_model(preprocessing.build_preprocessing(recipe.scaling), backbone, head)
    image = np.random.default_rng(5).integers(0, 256, (301, 187, 3)).astype(np.uint8)
    # Untrained, a head on features of this size is sure of everything.
    while abs(odds := np.subtract(*np.log(np.maximum(whole(image[None].astype(np.float32))[0], 1e-30)))) > 2:
        last = head.get_layer("probabilities")
        last.set_weights([weight / abs(odds) for weight in last.get_weights()])
    whole.save(tmp_path / "model.keras")
    random = np.random.default_rng(6)
    quarters, thumbnails = random.uniform(size=(6, 4 * backbone.output_shape[-1])), random.uniform(0, 255, (6, 16, 16))
    features = join_features(quarters, thumbnails).astype(np.float16)
    network = Network.load(tmp_path / "model.keras", Reference(features, np.arange(6), np.arange(6).astype(str)))
    onnx_graph.write_onnx(network, INFO, tmp_path / "model.onnx")
    session = open_session((tmp_path / "model.onnx").read_bytes())
    probabilities, heat, typicality, distance = session.run(network.outputs, {"image": image[None]})
    truth = reference.Reference(network).predict([image])[0]
    assert 0.01 < truth.probabilities[0] < 0.99
    np.testing.assert_allclose(probabilities[0], truth.probabilities, atol=1e-5)
    assert distance[0] == pytest.approx(truth.distance, abs=1e-5)
    assert truth.typicality[0] <= typicality[0] + 1e-6 <= truth.typicality[1] + 2e-6
    assert heat.shape == (1, side, side)
    assert np.abs(heat[0] - truth.heatmap).max() <= 1e-3 * truth.heat_scale
    readable = heatmap.find_readable_cells(recipe.pooling, side, side)
    assert readable.sum() == read * read
    assert not heat[0][~readable].any()
    assert heat[0][readable].any()


def test_a_model_of_other_parts_is_refused(tmp_path):
    import keras

    inputs = keras.Input((None, None, 3))
    keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs)).save(tmp_path / "other.keras")
    with pytest.raises(UsageError, match="preprocessing, backbone, head"):
        Network.load(tmp_path / "other.keras")
    (tmp_path / "broken.keras").write_bytes(b"no model")
    with pytest.raises(UsageError, match=r"broken\.keras"):
        Network.load(tmp_path / "broken.keras")


def test_code_in_a_model_is_not_run(tmp_path):
    import keras

    inputs = keras.Input((None, None, 3))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs)).save(tmp_path / "lambda.keras")
    with pytest.raises(UsageError, match="Lambda"):
        Network.load(tmp_path / "lambda.keras")


def test_predict_is_the_same_function_eager_and_traced(trained_run):
    network = Network.load(trained_run / file_names.MODEL, load_reference(trained_run / file_names.REFERENCE))
    image = np.random.default_rng(3).integers(0, 256, (1, 90, 70, 3)).astype(np.uint8)
    eager = network.predict(tf.constant(image))
    traced = tf.function(network.predict)(tf.constant(image))
    for name in ("probabilities", "heatmap", "typicality", "distance"):
        np.testing.assert_allclose(eager[name], traced[name], atol=1e-5)
