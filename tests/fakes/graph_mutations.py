"""Faults of the kind that an export can have without anybody noticing, put into an exported ONNX graph."""

import numpy as np
import onnx
from onnx import helper, numpy_helper


def swap_channels(model: onnx.ModelProto) -> None:
    """RGB is taken for BGR."""
    _after_resize(model, "Gather", np.asarray([2, 1, 0]), axis=3)


def scale_by_256(model: onnx.ModelProto) -> None:
    """Pixels are divided by 256, not 255."""
    _after_resize(model, "Mul", np.float32(255 / 256))


def swap_height_and_width(model: onnx.ModelProto) -> None:
    """The image is transposed on its way in."""
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == "image":
                node.input[place] = "turned"
    model.graph.node.insert(0, helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 2, 1, 3]))


def zero_head_biases(model: onnx.ModelProto) -> None:
    """The head's dense layers lose their biases."""
    biases = {name for node in model.graph.node if node.op_type == "Add" for name in node.input}
    changed = [tensor for tensor in model.graph.initializer if tensor.name in biases and tensor.dims in ([64], [2])]
    assert len(changed) == 2
    for tensor in changed:
        tensor.CopyFrom(numpy_helper.from_array(np.zeros(tensor.dims, np.float32), tensor.name))


def forget_training_images(model: onnx.ModelProto) -> None:
    """All but three of the training images that others are compared with are lost."""
    tensor = next(tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16)
    features = numpy_helper.to_array(tensor).copy()
    features[:, 3:] = 0
    tensor.CopyFrom(numpy_helper.from_array(features, tensor.name))


def add_weight_noise(model: onnx.ModelProto) -> None:
    """Every convolution's weights are off by one part in a thousand."""
    random = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4 and tensor.dims[2] == 3:
            weights = numpy_helper.to_array(tensor)
            noisy = weights * (1 + 1e-3 * random.standard_normal(weights.shape))
            tensor.CopyFrom(numpy_helper.from_array(noisy.astype(np.float32), tensor.name))


def resize_by(mode: str, transform: str, antialias: bool = False):
    """A mutation that has ONNX's own Resize do the resizing, in some way."""

    def mutate(model: onnx.ModelProto) -> None:
        if antialias:  # which came with opset 18
            model.CopyFrom(onnx.version_converter.convert_version(model, 18))
        options = {"nearest_mode": "floor"} if mode == "nearest" else {}
        options |= {"antialias": 1} if antialias else {}
        maker = next(index for index, node in enumerate(model.graph.node) if "resized" in node.output)
        model.graph.node[maker].output[0] = "resized_before"
        sizes = numpy_helper.from_array(np.asarray([224, 224]), "sizes")
        batch = helper.make_node("Shape", ["image"], ["batch_size"], start=0, end=1)
        model.graph.initializer.extend([sizes, numpy_helper.from_array(np.asarray([3]), "channels")])
        nodes = [
            helper.make_node("Cast", ["image"], ["floats"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
            batch,
            helper.make_node("Concat", ["batch_size", "channels", "sizes"], ["new_shape"], axis=0),
            helper.make_node(
                "Resize",
                ["planes", "", "", "new_shape"],
                ["small_planes"],
                mode=mode,
                coordinate_transformation_mode=transform,
                **options,
            ),
            helper.make_node("Transpose", ["small_planes"], ["resized"], perm=[0, 2, 3, 1]),
        ]
        for offset, node in enumerate(nodes, start=maker + 1):
            model.graph.node.insert(offset, node)

    return mutate


def raise_positive_logit(model: onnx.ModelProto) -> None:
    """The first class's log-odds are 1 higher."""
    at, softmax = next((at, node) for at, node in enumerate(model.graph.node) if node.op_type == "Softmax")
    model.graph.initializer.append(numpy_helper.from_array(np.asarray([1, 0], np.float32), "raise"))
    model.graph.node.insert(at, helper.make_node("Add", [softmax.input[0], "raise"], ["raised"]))
    softmax.input[0] = "raised"


def transpose_heatmap(model: onnx.ModelProto) -> None:
    """The heat map's rows are its columns."""
    maker = next(node for node in model.graph.node if "heatmap" in node.output)
    maker.output[list(maker.output).index("heatmap")] = "upright"
    model.graph.node.append(helper.make_node("Transpose", ["upright"], ["heatmap"], perm=[0, 2, 1]))


def spoil_third_image(model: onnx.ModelProto) -> None:
    """The third and later images of a batch get a probability of 0.5 for each of two classes."""
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == "probabilities":
                node.output[place] = "right"
    zero, two, end = ("first", 0), ("third", 2), ("end", 1 << 40)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray([at]), name) for name, at in (zero, two, end))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0), "nothing"))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "half"))
    model.graph.node.extend(
        [
            helper.make_node("Slice", ["right", "first", "third", "first"], ["two"]),
            helper.make_node("Slice", ["right", "third", "end", "first"], ["rest"]),
            helper.make_node("Mul", ["rest", "nothing"], ["zeros"]),
            helper.make_node("Add", ["zeros", "half"], ["halves"]),
            helper.make_node("Concat", ["two", "halves"], ["probabilities"], axis=0),
        ]
    )


def _after_resize(model: onnx.ModelProto, operator: str, constant: np.ndarray, **attributes) -> None:
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == "resized":
                node.input[place] = "resized_wrong"
    maker = next(index for index, node in enumerate(model.graph.node) if "resized" in node.output)
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(constant), "wrong"))
    model.graph.node.insert(
        maker + 1, helper.make_node(operator, ["resized", "wrong"], ["resized_wrong"], **attributes)
    )
