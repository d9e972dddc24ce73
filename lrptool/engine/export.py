"""A graph as an ONNX model for others: nodes and ends called as in the original, probabilities where it makes any."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import helper

from lrptool.engine.emit import emit
from lrptool.graph import Graph

_SPOKEN = {"L2Normalize": "Div", "RMSNormalization": "Div"}
"""Operators that readers find by one of another kind: it has their name."""


def export(
    graph: Graph, *, probabilities: str | None = None, metadata: Mapping[str, str] | None = None
) -> onnx.ModelProto:
    """Return the ONNX model of a graph.

    Parameters
    ----------
    graph : Graph
        As a loader made it: with the nodes of the original.
    probabilities : str, optional
        The output that a softmax over the scores is to write, where one is wanted; otherwise the scores are the output.
    metadata : mapping of str to str, optional

    Returns
    -------
    onnx.ModelProto
        With an open batch wherever the graph has one.
    """
    model = emit(graph, [graph.output])
    _name(model, graph)
    if probabilities is not None and graph.head == "softmax":
        _add_softmax(model, graph, probabilities)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    return model


def _name(model: onnx.ModelProto, graph: Graph) -> None:
    """Give nodes the names of the graph's.

    A node may have become several: then the one of its own operator has its name, else the one that writes its output.
    Several write one after the other, in the order of the graph.
    """
    group: list[onnx.NodeProto] = []
    nodes = {node.outputs[0]: node for node in graph.nodes}
    for part in model.graph.node:
        group.append(part)
        if part.output[0] in nodes:
            node = nodes[part.output[0]]
            named = next((one for one in reversed(group) if one.op_type == _SPOKEN.get(node.op, node.op)), part)
            for one in group:
                one.name = node.name if one is named else f"{node.name}/{one.output[0]}"
            group = []


def _add_softmax(model: onnx.ModelProto, graph: Graph, wanted: str) -> None:
    """Let a softmax over the classes be the output."""
    taken = {name for node in model.graph.node for name in (*node.input, *node.output, node.name)}
    output = wanted
    while output in taken:
        output += "_"
    model.graph.node.append(helper.make_node("Softmax", [graph.output], [output], name=output, axis=1))
    model.graph.output[0].name = output
