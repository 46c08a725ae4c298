"""That the spelling of a graph does not depend on how the converter happened to name and order it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.graph.canonical import canonicalize


def graph(names: dict[str, str], backwards: bool) -> onnx.ModelProto:
    """y = relu(x @ w) + relu(x @ w); an output beside it that nobody wants; inner tensors named as `names` says."""
    weights = [numpy_helper.from_array(np.eye(2, dtype=np.float32), names["w"])]
    weights += [numpy_helper.from_array(np.zeros(3, np.float32), "unused")]
    nodes = [
        helper.make_node("MatMul", ["x", names["w"]], [names["a"]], name=names["a"], doc_string="made by a machine"),
        helper.make_node("Relu", [names["a"]], [names["b"]], name=names["b"]),
        helper.make_node("Add", [names["b"], names["b"]], ["y"], name="sum"),
        helper.make_node("Neg", [names["b"]], ["side"]),
    ]
    order = [0, 1, 3, 2] if backwards else [0, 1, 2, 3]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in ("x", "y", "side")]
    made = helper.make_graph([nodes[i] for i in order], "g", value[:1], value[1:], weights[:: -1 if backwards else 1])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_names_and_order_do_not_matter():
    first = canonicalize(graph({"w": "w__12", "a": "a__7", "b": "b__1"}, False), ["y"], {"b__1": "middle"})
    second = canonicalize(graph({"w": "zz", "a": "q", "b": "k"}, True), ["y"], {"k": "middle"})
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert [node.op_type for node in first.graph.node] == ["MatMul", "Relu", "Add"]
    assert first.graph.node[1].output[0] == "middle"
    assert len(first.graph.initializer) == 1
    assert not any(node.doc_string for node in first.graph.node)
    onnx.checker.check_model(first, full_check=True)


def test_the_computation_stays_and_so_do_names_of_outputs():
    import onnxruntime

    model = canonicalize(graph({"w": "w", "a": "a", "b": "b"}, False), ["side", "y"], {})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    side, y = session.run(None, {"x": np.asarray([[1, -2]], np.float32)})
    np.testing.assert_array_equal(side, [[-1, 0]])
    np.testing.assert_array_equal(y, [[2, 0]])


def test_control_flow_is_refused():
    body = helper.make_graph([helper.make_node("Neg", ["x"], ["z"])], "body", [], [])
    node = helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body)
    value = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("x", "y")]
    model = helper.make_model(helper.make_graph([node], "g", value[:1], value[1:]))
    with pytest.raises(ValueError, match="got If"):
        canonicalize(model, ["y"], {})
