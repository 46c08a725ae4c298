"""An ONNX graph in one fixed spelling, so that two exports of one run are the same bytes.

tf2onnx names tensors by counters and orders them by hashes; neither means anything. Here nodes are ordered by what
the outputs need, named by kind and position, and everything that is not computed with is cleared.
"""

from __future__ import annotations

import onnx


def canonical(model: onnx.ModelProto, outputs: list[str], names: dict[str, str]) -> onnx.ModelProto:
    """The same computation with canonical order and names.

    outputs: the graph outputs to keep, in this order; the others become inner tensors and keep their name. names: more
    tensors that get a name of their own, old to new. Raises ValueError for control flow, whose inner graphs are left
    alone.
    """
    graph = model.graph
    nodes = _in_order(graph, outputs)
    new = {"": ""} | {value.name: value.name for value in [*graph.input, *graph.output]} | names
    weights = {tensor.name: tensor for tensor in graph.initializer}
    used = []
    result = onnx.ModelProto(ir_version=model.ir_version, producer_name=model.producer_name)
    result.producer_version = model.producer_version
    domains = {node.domain for node in nodes}
    result.opset_import.extend(opset for opset in model.opset_import if opset.domain in domains)
    result.graph.name = "covid_vgg16"
    for index, node in enumerate(nodes):
        name = f"{node.op_type}_{index}"
        for place, tensor in enumerate(node.input):
            if tensor in weights and tensor not in new:
                new[tensor] = f"{name}.{place}"
                used.append(weights[tensor])
        for place, tensor in enumerate(node.output):
            new.setdefault(tensor, f"{name}:{place}")
        attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
        if any(attribute.HasField("g") or attribute.graphs for attribute in attributes):
            raise ValueError(f"Expected a graph without control flow, got {node.op_type}.")
        copy = result.graph.node.add(op_type=node.op_type, domain=node.domain, name=name)
        copy.input.extend(new[tensor] for tensor in node.input)
        copy.output.extend(new[tensor] for tensor in node.output)
        copy.attribute.extend(attributes)
    for tensor in used:
        copy = result.graph.initializer.add()
        copy.CopyFrom(tensor)
        copy.name = new[tensor.name]
        copy.ClearField("doc_string")
    values = {value.name: value for value in graph.output}
    result.graph.input.extend(graph.input)
    result.graph.output.extend(values[name] for name in outputs)
    return result


def _in_order(graph: onnx.GraphProto, outputs: list[str]) -> list[onnx.NodeProto]:
    """The nodes that `outputs` need, each after what it needs, in an order given by the graph's shape alone."""
    maker = {tensor: node for node in graph.node for tensor in node.output}
    order: list[onnx.NodeProto] = []
    done: set[str] = set()
    stack = [(maker[name], False) for name in reversed(outputs)]
    while stack:
        node, ready = stack.pop()
        if node.output[0] in done:
            continue
        if ready:
            done.add(node.output[0])
            order.append(node)
            continue
        stack.append((node, True))
        stack += [(maker[tensor], False) for tensor in reversed(node.input) if tensor in maker]
    return order
