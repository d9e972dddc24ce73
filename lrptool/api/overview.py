"""The network as a list of rows: what each node is, how large, and which rule it gets."""

from __future__ import annotations

from typing import Any

from lrptool.graph import Graph
from lrptool.ops import operator
from lrptool.rules import Composite


def overview(graph: Graph, composite: Composite) -> dict[str, Any]:
    """Return a network's table in plain values.

    Parameters
    ----------
    graph : Graph
        As the engine works on it.
    composite : Composite

    Returns
    -------
    dict
        ``network, input, classes, head, composite, parameters, macs`` and ``nodes``: one dict per node with ``node, op,
        inputs, shape, parameters, macs, rule``; shapes without the batch axis, counts for one picture.
    """
    rules = composite.assign(graph)
    nodes = [
        {
            "node": node.name,
            "op": node.op,
            "inputs": [name for name in node.inputs if name in graph.tensors],
            "shape": list(graph.tensors[node.outputs[0]].item_shape),
            "parameters": sum(graph.constants[name].size for name in node.inputs if name in graph.constants),
            "macs": operator(node.op, node.name).macs(node, graph),
            "rule": str(rules[node.name]),
        }
        for node in graph.nodes
    ]
    return {
        "network": graph.name,
        "input": list(graph.input.item_shape),
        "classes": graph.tensors[graph.output].item_shape[0],
        "head": graph.head,
        "composite": str(composite),
        "parameters": sum(constant.size for constant in graph.constants.values()),
        "macs": sum(int(row["macs"]) for row in nodes),  # type: ignore[call-overload]
        "nodes": nodes,
    }
