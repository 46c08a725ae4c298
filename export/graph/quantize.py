"""Write the int8 model: a quarter of the size, about three times as fast, probabilities within 0.03.

Static quantization, weights per channel, as QuantizeLinear and DequantizeLinear around float operators, which most
runtimes read (export/README.md lists them). Resize, scaling and head stay in float: they take hardly any time, and
precision matters most there.
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime import quantization
from tqdm import tqdm

from covid_tfds.imaging.tensorflow_decoder import decode_any_image
from export.graph.onnx_graph import FEATURE_MAP, expose_tensor, save_onnx
from export.runtime.model_file import open_session
from export.runtime.model_info import ModelInfo


def write_int8(source: Path, info: ModelInfo, images: list[bytes], target: Path) -> None:
    """Quantize a float model and write it, checked as `onnx_graph.save_onnx` does.

    Args:
        source: The float model.
        info: Its metadata.
        images: Encoded JPEG and PNG files to calibrate on.
        target: File to write.
    """
    model = onnx.load(source)
    logging.getLogger().addFilter(_is_relevant)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            quantized = Path(scratch) / "int8.onnx"
            quantization.quantize_static(
                source,
                quantized,
                _CalibrationReader(images),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                op_types_to_quantize=["Conv", "Relu", "MaxPool"],
                nodes_to_quantize=_find_backbone(model.graph),
            )
            result = onnx.load(quantized)
    finally:
        logging.getLogger().removeFilter(_is_relevant)
    # ONNX Runtime's default is newer than what its older versions read.
    result.ir_version = model.ir_version
    scale, shift = _fit_channels(_compute_maps(result, images), _compute_maps(model, images))
    _correct_feature_map(result.graph, scale, shift)
    save_onnx(result, dataclasses.replace(info, precision="int8"), target)


def _compute_maps(model: onnx.ModelProto, images: list[bytes]) -> np.ndarray:
    """Feature maps of images, float64 [images, channels, h, w]."""
    session = open_session(expose_tensor(model.SerializeToString(), FEATURE_MAP))
    maps = [session.run([FEATURE_MAP], inputs)[0][0] for inputs in _decode_inputs(images, "int8 correction")]
    return np.asarray(maps, dtype=np.float64)


def _fit_channels(found: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of each channel, by least squares over images and cells, float64 [channels] each.

    A ridge of the channels' mean variance holds scales near 1, most of all those of channels that vary little: what
    rounding did to these is noise.
    """
    cells = (0, 2, 3)
    mean, wanted_mean = found.mean(cells), wanted.mean(cells)
    deviation = found - mean[:, None, None]
    variance = (deviation**2).mean(cells)
    covariance = (deviation * (wanted - wanted_mean[:, None, None])).mean(cells)
    ridge = max(variance.mean(), float(np.finfo(np.float32).tiny))
    scale = (covariance + ridge) / (variance + ridge)
    return scale, wanted_mean - scale * mean


def _correct_feature_map(graph: onnx.GraphProto, scale: np.ndarray, shift: np.ndarray) -> None:
    """Multiply each channel of the feature map by its scale, and add its shift.

    Rounded weights change a channel by nearly the same amount in every image, and the head adds that up over 512
    channels. Nagel et al. (2019), Data-Free Quantization Through Weight Equalization and Bias Correction, correct the
    mean in the same way, layer by layer.
    """
    index, node = next((i, node) for i, node in enumerate(graph.node) if FEATURE_MAP in node.output)
    raw, scaled = f"{FEATURE_MAP}_uncorrected", f"{FEATURE_MAP}_scaled"
    node.output[list(node.output).index(FEATURE_MAP)] = raw
    steps = (("Mul", raw, scale, scaled), ("Add", scaled, shift, FEATURE_MAP))
    for offset, (operator, source, values, result) in enumerate(steps, start=1):
        name = f"{FEATURE_MAP}_{operator.lower()}"
        graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32).reshape(1, -1, 1, 1), name))
        graph.node.insert(index + offset, onnx.helper.make_node(operator, [source, name], [result], name=name))


class _CalibrationReader(quantization.CalibrationDataReader):
    """Calibration images for ONNX Runtime, one at a time."""

    def __init__(self, images: list[bytes]):
        self._inputs = _decode_inputs(images, "int8 calibration")

    def get_next(self) -> dict | None:
        return next(self._inputs, None)


def _decode_inputs(images: list[bytes], task: str) -> Iterator[dict[str, np.ndarray]]:
    for encoded in tqdm(images, desc=task, unit="image", disable=None, leave=False):
        yield {"image": decode_any_image(encoded).numpy()[None]}


def _find_backbone(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes from the first 3 x 3 convolution up to the one that makes the feature map."""
    first = next(index for index, node in enumerate(graph.node) if _find_kernel(node) == [3, 3])
    last = next(index for index, node in enumerate(graph.node) if FEATURE_MAP in node.output)
    return [node.name for node in graph.node[first:last]]


def _find_kernel(node: onnx.NodeProto) -> list[int] | None:
    shapes = [list(attribute.ints) for attribute in node.attribute if attribute.name == "kernel_shape"]
    return shapes[0] if node.op_type == "Conv" and shapes else None


def _is_relevant(record: logging.LogRecord) -> bool:
    # ONNX Runtime recommends a preparation that fuses what tf2onnx has fused already.
    return "pre-processing before quantization" not in record.getMessage()
