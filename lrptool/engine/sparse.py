"""Where most relevance is zero, known before any is there.

Max pooling hands that of a window to one value of it; and what is explained is a class or two, whose maps are all that
has relevance as long as channels are kept apart.
"""

from __future__ import annotations

from math import prod

from lrptool.graph import Graph, Node
from lrptool.rules import Rule

_LEAST = 4
"""Values for one with relevance."""
_CHANNEL_BY_CHANNEL = ("Relu", "AveragePool", "GlobalAveragePool", "MaxPool", "GlobalMaxPool")
"""Operators whose outputs look at their inputs of the same channel alone."""


def hands_on_little(node: Node, rule: Rule, graph: Graph, *, behind: bool) -> bool:
    """Whether few of a node's inputs get relevance.

    Parameters
    ----------
    node : Node
    rule : Rule
    graph : Graph
    behind : bool
        Whether few of its outputs do.
    """
    if node.op == "MaxPool":
        values, windows = (prod(graph.tensors[name].item_shape) for name in (node.inputs[0], node.outputs[0]))
        return windows * _LEAST <= values
    return behind and rule.name == "pass"


def keeps_channels_apart(node: Node, graph: Graph) -> bool:
    """Whether a channel of a node's input has no relevance where that channel of its output has none."""
    if node.op in ("Flatten", "Reshape"):
        shapes = [graph.tensors[name].item_shape for name in (node.inputs[0], node.outputs[0])]
        return shapes[0][:1] == shapes[1][:1] and all(prod(shape[1:]) == 1 for shape in shapes)
    return node.op in _CHANNEL_BY_CHANNEL
