"""Write an ONNX graph in one fixed form, so that two exports of one run are the same bytes.

tf2onnx names tensors by counters and orders them by hashes, so both differ between exports. Here nodes are in the order
in which the outputs need them, tensors are named by operator and position, and what takes no part in the computation is
removed.
"""

from __future__ import annotations

import onnx


def canonicalize(model: onnx.ModelProto, outputs: list[str], names: dict[str, str]) -> onnx.ModelProto:
    """Returns the same computation with canonical order and names.

    Args:
        model: The converted model.
        outputs: The graph outputs to keep, in this order; the others become inner tensors and keep their names.
        names: Inner tensors that get a given name, old name to new.

    Raises:
        ValueError: If a node has control flow: its inner graphs would not be canonical.
    """
    graph = model.graph
    new_names = {"": ""} | {value.name: value.name for value in [*graph.input, *graph.output]} | names
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes, used = [], []
    for index, node in enumerate(_sort_nodes(graph, outputs)):
        name = f"{node.op_type}_{index}"
        for position, tensor in enumerate(node.input):
            if tensor in weights and tensor not in new_names:
                new_names[tensor] = f"{name}.{position}"
                used.append(tensor)
        for position, tensor in enumerate(node.output):
            new_names.setdefault(tensor, f"{name}:{position}")
        attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
        if any(attribute.HasField("g") or attribute.graphs for attribute in attributes):
            raise ValueError(f"Expected a graph without control flow, got {node.op_type}.")
        names_in, names_out = ([new_names[tensor] for tensor in tensors] for tensors in (node.input, node.output))
        nodes.append(onnx.helper.make_node(node.op_type, names_in, names_out, name, domain=node.domain))
        nodes[-1].attribute.extend(attributes)
    values = {value.name: value for value in graph.output}
    kept = [values[name] for name in outputs]
    result = onnx.helper.make_graph(nodes, "covid_vgg16", graph.input, kept, [weights[tensor] for tensor in used])
    for tensor in result.initializer:
        tensor.name = new_names[tensor.name]
        tensor.ClearField("doc_string")
    domains = {node.domain for node in nodes}
    return onnx.helper.make_model(
        result,
        opset_imports=[opset for opset in model.opset_import if opset.domain in domains],
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
    )


def _sort_nodes(graph: onnx.GraphProto, outputs: list[str]) -> list[onnx.NodeProto]:
    """The nodes that `outputs` need, each after those it needs, in an order that depends on the graph's shape alone."""
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
