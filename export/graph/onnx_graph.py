"""The ONNX model: resize, scaling, backbone, head and heat map in one graph.

    write(network, metadata, path)      # about 6 s; tf2onnx's own way of calling its optimiser takes 15 s

In: image uint8 [batch, height, width, 3]. Out: probabilities float32 [batch, 2], heatmap float32 [batch, 7, 7] (or
[batch, 14, 14]). Inside, `resized` float32 [batch, 224, 224, 3] is the image that the network looks at, `feature_map`
float32 [batch, 512, 7, 7] (or 14) what the backbone makes of it.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import onnx
import onnxruntime
import tensorflow as tf
from tf2onnx import constants, convert

from covid_tfds.common.files import atomic
from export.graph import resize
from export.graph.canonical import canonical
from export.graph.network import Network

OPSET = 17
OUTPUTS = ["probabilities", "heatmap"]
RESIZED, FEATURE_MAP = "resized", "feature_map"
AXES = ("batch", "height", "width")

# Set to anything, it makes tf2onnx's optimiser raise what goes wrong instead of passing over it, and so spares it a
# copy of all weights before each of its passes, which is two thirds of the time.
os.environ.setdefault(constants.ENV_TF2ONNX_CATCH_ERRORS, "false")
logging.getLogger("tf2onnx").setLevel(logging.ERROR)


def write(network: Network, metadata: dict, path: Path) -> None:
    """Convert, check and write; nothing is at `path` unless it is a valid model that ONNX Runtime loads.

    metadata: what goes into `metadata_props`, each value as JSON.
    """
    converted = _convert(network)
    model = canonical(converted, OUTPUTS, {_feature_map(converted.graph): FEATURE_MAP})
    _name_axes(model.graph, network.map_shape)
    save(model, metadata, path)


def save(model: onnx.ModelProto, metadata: dict, path: Path) -> None:
    """Write a model with its metadata, checked: by ONNX in full, and by loading it in ONNX Runtime. Both are fatal."""
    del model.metadata_props[:]
    for key in sorted(metadata):
        model.metadata_props.add(key=key, value=json.dumps(metadata[key], sort_keys=True, ensure_ascii=False))
    onnx.checker.check_model(model, full_check=True)
    with atomic(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
        session(temporary.read_bytes())


def session(model: bytes) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU that reports errors only."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def showing(model: bytes, tensor: str) -> bytes:
    """The same model with an inner float tensor (`RESIZED` or `FEATURE_MAP`) as one more output."""
    proto = onnx.load_model_from_string(model)
    proto.graph.output.add(name=tensor).type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return proto.SerializeToString()


def _convert(network: Network) -> onnx.ModelProto:
    image = tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")

    def predict(image):
        resized = resize.bilinear(image, network.side)
        return {RESIZED: resized, **network.from_resized(resized)}

    # An output in conversion, so that `resized` keeps its name and layout; `canonical` makes it an inner tensor.
    function = tf.function(predict, input_signature=[image], autograph=False)
    model, _ = convert.from_function(function, input_signature=[image], opset=OPSET)
    return model


def _feature_map(graph: onnx.GraphProto) -> str:
    """tf2onnx's name of the backbone's output."""
    pools = [node for node in graph.node if node.op_type == "MaxPool"]
    if len(pools) not in (4, 5):
        raise ValueError(f"Expected VGG16's 4 or 5 MaxPools in the converted graph, got {len(pools)}.")
    return pools[-1].output[0]


def _name_axes(graph: onnx.GraphProto, map_shape: tuple[int, int]) -> None:
    shapes = {"image": (*AXES, 3), "probabilities": ("batch", 2), "heatmap": ("batch", *map_shape)}
    for value in (*graph.input, *graph.output):
        shape = value.type.tensor_type.shape
        shape.Clear()
        for size in shapes[value.name]:
            shape.dim.add(**{"dim_param" if isinstance(size, str) else "dim_value": size})
