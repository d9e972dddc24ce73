"""Parts of a graph that compute one tensor from one other tensor and numbers alone.

What such a part computes can be found out by computing it: no order of factors, no spelling of a square root escapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from onnx import TypeProto, helper
from onnx.reference import ReferenceEvaluator

from lrptool.graph import Graph, Node
from lrptool.ops import operator

Numbers = NDArray[np.float64]

FUNCTIONS = frozenset(
    {
        *("Abs", "Clip", "Div", "Elu", "Erf", "Exp", "HardSigmoid", "LeakyRelu", "Log", "Max", "Min", "Mul", "Neg"),
        *("Power", "Reciprocal", "Relu", "Sigmoid", "Softplus", "Sqrt", "Sum", "Tanh"),
    }
)
BENT = FUNCTIONS - {"Div", "Mul", "Neg", "Sum"}
"""Those that are no straight line."""
STATISTICS = frozenset(
    {
        "ReduceMean",
        "ReduceSum",
        "ReduceMax",
        "ReduceMin",
        "ReduceL1",
        "ReduceL2",
        "ReduceSumSquare",
        "GlobalAveragePool",
    }
)
_MOST_NODES = 14
_OPSET = 17


@dataclass(frozen=True, slots=True)
class Cone:
    """A part of a graph between two tensors.

    Parameters
    ----------
    root : str
        The tensor it reads.
    end : Node
        Its last node.
    nodes : tuple of Node
        All of them, in order.
    """

    root: str
    end: Node
    nodes: tuple[Node, ...]

    @property
    def ops(self) -> frozenset[str]:
        """The operators it is made of."""
        return frozenset(node.op for node in self.nodes)


def cones(graph: Graph) -> Iterator[Cone]:
    """Yield parts of two or more nodes that compute a tensor from another of the same shape, the largest first.

    From the scores back; of the parts with one end, the one that begins first comes first.
    """
    order = {node.name: index for index, node in enumerate(graph.nodes)}
    by_name = {node.name: node for node in graph.nodes}
    roots: dict[str, dict[str, frozenset[str]]] = {graph.input.name: {graph.input.name: frozenset()}}
    for node in graph.nodes:
        reach = _reach(graph, node, roots)
        for tensor in node.outputs:
            roots[tensor] = {**reach, tensor: frozenset()}
    for node in reversed(graph.nodes):
        out = node.outputs[0]
        found = [(len(names), root, names) for root, names in roots[out].items() if len(names) > 1]
        for _, root, names in sorted(found, key=lambda entry: (-entry[0], entry[1])):
            if graph.tensors[root].shape == graph.tensors[out].shape:
                yield Cone(root, node, tuple(by_name[name] for name in sorted(names, key=order.__getitem__)))


def _reach(graph: Graph, node: Node, roots: Mapping[str, Mapping[str, frozenset[str]]]) -> dict[str, frozenset[str]]:
    """Return the tensors a node's output is a function of, alone, and the nodes between."""
    tensors = [name for name in node.inputs if name in graph.tensors]
    numbers = [graph.constants[name] for name in node.inputs if name in graph.constants]
    if node.op not in FUNCTIONS | STATISTICS | {"Expand"} or any(number.size != 1 for number in numbers):
        return {}
    if node.op in STATISTICS and node.op != "GlobalAveragePool" and not node.integer("keepdims"):
        return {}
    shared = set.intersection(*(set(roots[name]) for name in tensors))
    reach = {root: frozenset({node.name}).union(*(roots[name][root] for name in tensors)) for root in shared}
    return {root: names for root, names in reach.items() if len(names) <= _MOST_NODES}


def computed(graph: Graph, cone: Cone, x: Numbers) -> Numbers:
    """Return what a part computes of a batch of its root, in float64."""
    spellings = [operator(node.op, node.name).spell(node, graph) for node in cone.nodes]
    feeds = {name: value.astype(np.float64) for name, value in graph.constants.items() if _read(cone.nodes, name)}
    for spelling in spellings:
        feeds.update({k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in spelling.constants.items()})
    feeds[cone.root] = x
    nodes = [
        helper.make_node(part.op, part.inputs, part.outputs, **cast("dict[str, Any]", part.attributes))
        for spelling in spellings
        for part in spelling.nodes
    ]
    proto = helper.make_graph(
        nodes,
        "part",
        [helper.make_value_info(name, TypeProto()) for name in feeds],
        [helper.make_value_info(cone.end.outputs[0], TypeProto())],
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", _OPSET)])
    with np.errstate(all="ignore"):
        (result,) = ReferenceEvaluator(model).run(None, feeds)
    return np.asarray(result, np.float64)


def _read(nodes: Sequence[Node], name: str) -> bool:
    """Whether one of the nodes reads a constant."""
    return any(name in node.inputs for node in nodes)
