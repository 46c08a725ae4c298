"""Write the ONNX model: resize, scaling, backbone, head and heat map in one graph.

    write_onnx(network, info, path)      # about 6 s; tf2onnx's own way of calling its optimiser takes 15 s

Input: `image` uint8 [batch, height, width, 3]. Outputs: `probabilities` float32 [batch, K], `heatmap` float32
[batch, 7, 7] (or [batch, 14, 14]), `typicality` and `distance` float32 [batch]. Two inner tensors have names, too:
`resized` float32 [batch, 224, 224, 3], the resized image, and `feature_map` float32 [batch, 512, 7, 7] (or 14), the
backbone's output.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx
import tensorflow as tf
from tf2onnx import constants, convert

from covid_tfds.common.files import atomic
from export.graph.canonical import canonicalize
from export.graph.network import Network
from export.graph.onnx_resize import resize_bilinear
from export.runtime.model_file import open_session
from export.runtime.model_info import ModelInfo

OPSET = 17
RESIZED, FEATURE_MAP = "resized", "feature_map"
KERNEL_RANK = 4  # of a convolution's kernel
AXES = ("batch", "height", "width")

# Set to anything, this makes tf2onnx's optimiser raise its errors instead of passing over them; it then copies no
# weights before each of its passes, which takes two thirds of the time.
os.environ.setdefault(constants.ENV_TF2ONNX_CATCH_ERRORS, "false")
logging.getLogger("tf2onnx").setLevel(logging.ERROR)


def write_onnx(network: Network, info: ModelInfo, path: Path) -> None:
    """Convert a network and write it, checked as `save_onnx` does.

    Args:
        network: The trained model.
        info: What goes into the file's metadata.
        path: File to write; it does not exist unless the model is valid.
    """
    converted = _convert(network)
    model = canonicalize(converted, network.outputs, {_find_feature_map(converted.graph): FEATURE_MAP})
    if network.training_images is not None:
        _store_in_half(model.graph, network.training_images.features.T)
    _name_axes(model.graph, network)
    save_onnx(model, info, path)


def save_onnx(model: onnx.ModelProto, info: ModelInfo, path: Path) -> None:
    """Write a model with its metadata once ONNX's full check passes and ONNX Runtime loads it; else their error."""
    del model.metadata_props[:]
    for key, value in sorted(info.to_json().items()):
        model.metadata_props.add(key=key, value=json.dumps(value, sort_keys=True, ensure_ascii=False))
    onnx.checker.check_model(model, full_check=True)
    with atomic(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
        open_session(temporary.read_bytes())


def expose_tensor(model: bytes, tensor: str) -> bytes:
    """Returns the serialized model with an inner float tensor (`RESIZED` or `FEATURE_MAP`) as one more output."""
    proto = onnx.load_model_from_string(model)
    proto.graph.output.add(name=tensor).type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return proto.SerializeToString()


def _convert(network: Network) -> onnx.ModelProto:
    """Convert with the backbone's kernels as inputs, then put them in as weights.

    They are nearly all of the model. As constants, tf2onnx and TensorFlow would copy them some thirty times: 2 GB.
    """
    image = tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")
    variables = network.backbone.variables
    kernels = {f"kernel{i}": variable for i, variable in enumerate(variables) if len(variable.shape) == KERNEL_RANK}
    specs = [tf.TensorSpec(variable.shape, tf.float32, name=name) for name, variable in kernels.items()]

    def predict(image, *values):
        given = dict(zip(kernels, values, strict=True))
        backbone = _with_weights(network.backbone, [given.get(f"kernel{i}", v) for i, v in enumerate(variables)])
        resized = resize_bilinear(image, network.side)
        return {RESIZED: resized, **dataclasses.replace(network, backbone=backbone).predict_resized(resized)}

    # An output in conversion, so that `resized` keeps its name and layout; `canonicalize` makes it an inner tensor.
    function = tf.function(predict, input_signature=[image, *specs], autograph=False)
    model, _ = convert.from_function(function, input_signature=[image, *specs], opset=OPSET)
    _put_in(model.graph, {name: variable.numpy() for name, variable in kernels.items()})
    return model


def _with_weights(backbone: keras.Model, values: list) -> Callable[..., tf.Tensor]:
    """The backbone as a function of its weights, in the order of `backbone.variables`."""
    value_of = {id(variable): value for variable, value in zip(backbone.variables, values, strict=True)}
    split = [
        [value_of[id(v)] for v in part] for part in (backbone.trainable_variables, backbone.non_trainable_variables)
    ]
    return lambda image, training: backbone.stateless_call(*split, image, training=training)[0]


def _put_in(graph: onnx.GraphProto, kernels: dict[str, np.ndarray]) -> None:
    """Turn inputs into weights, transposed as the graph would do at every call."""
    for node in [node for node in graph.node if node.op_type == "Transpose" and node.input[0] in kernels]:
        order = onnx.helper.get_attribute_value(node.attribute[0])
        weight = np.ascontiguousarray(kernels[node.input[0]].transpose(order))
        graph.initializer.append(onnx.numpy_helper.from_array(weight, node.output[0]))
        graph.node.remove(node)
    kept = [value for value in graph.input if value.name not in kernels]
    del graph.input[:]
    graph.input.extend(kept)


def _find_feature_map(graph: onnx.GraphProto) -> str:
    """tf2onnx's name of the backbone's output."""
    pools = [node for node in graph.node if node.op_type == "MaxPool"]
    if len(pools) not in (4, 5):
        raise ValueError(f"Expected VGG16's 4 or 5 MaxPools in the converted graph, got {len(pools)}.")
    return pools[-1].output[0]


def _store_in_half(graph: onnx.GraphProto, values: np.ndarray) -> None:
    """Store a constant, float16, in 16 bits again: tf2onnx has made a constant of 32 bits of it and its cast."""
    for tensor in graph.initializer:
        if tuple(tensor.dims) == values.shape and np.array_equal(onnx.numpy_helper.to_array(tensor), values):
            name, half = tensor.name, f"{tensor.name}_half"
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values), half))
            cast = onnx.helper.make_node("Cast", [half], [name], name=f"{name}_cast", to=onnx.TensorProto.FLOAT)
            graph.node.insert(0, cast)
            return
    raise ValueError("Expected the features of the training images among the graph's constants.")


def _name_axes(graph: onnx.GraphProto, network: Network) -> None:
    shapes = {
        "image": (*AXES, 3),
        "probabilities": ("batch", network.classes),
        "heatmap": ("batch", *network.map_shape),
        "typicality": ("batch",),
        "distance": ("batch",),
    }
    for value in (*graph.input, *graph.output):
        shape = value.type.tensor_type.shape
        shape.Clear()
        for size in shapes[value.name]:
            shape.dim.add(**{"dim_param" if isinstance(size, str) else "dim_value": size})
