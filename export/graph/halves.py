"""Cut an exported model at its resized image: two models of its own nodes that together give what it gives."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from export.runtime.model_file import ModelError

IMAGE, RESIZED, PROBABILITIES = "image", "resized", "probabilities"
SIDES: list[str | int | None] = ["batch", "side", "side", 3]


def take_part(data: bytes, first: str, last: Sequence[str]) -> bytes:
    """Returns the part of a serialized model from one tensor to others, IMAGE or RESIZED to RESIZED or outputs.

    Raises:
        ModelError: If the model has no tensor RESIZED.
    """
    whole = onnx.load_model_from_string(data)
    if not any(RESIZED in node.output for node in whole.graph.node):
        raise ModelError(f"expected a model of `python -m export`, with an inner tensor '{RESIZED}'. Export it again.")
    whole.graph.value_info.append(onnx.helper.make_tensor_value_info(RESIZED, onnx.TensorProto.FLOAT, SIDES))
    return onnx.utils.Extractor(whole).extract_model([first], [*last]).SerializeToString()
