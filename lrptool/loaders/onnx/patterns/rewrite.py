"""What all rewrites share: new nodes in the place of others, with the tensors and constants they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from lrptool.graph import Array, Attribute, Graph, Node, Shape, TensorSpec
from lrptool.graph.passes import prune
from lrptool.ops import operator


@dataclass(slots=True)
class Rewrite:
    """Replacements in a graph, collected and then made at once.

    Parameters
    ----------
    graph : Graph
    """

    graph: Graph
    nodes: dict[str, tuple[Node, ...]] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    tensors: dict[str, TensorSpec] = field(default_factory=dict)

    def constant(self, wanted: str, value: ArrayLike) -> str:
        """Add a constant; return its name."""
        name = self._fresh(wanted)
        self.constants[name] = np.array(value, np.float32)
        return name

    def node(
        self,
        op: str,
        name: str,
        inputs: Sequence[str],
        output: str = "",
        attributes: Mapping[str, Attribute] | None = None,
    ) -> Node:
        """Return a node; without an output it writes a tensor called like itself, whose shape is inferred."""
        written = output or self._fresh(name)
        node = Node(written if not output else name, op, tuple(inputs), (written,), attributes or {})
        if not output:
            (shape,) = operator(op, name).infer(node, [self._shape(tensor) for tensor in inputs])
            self.tensors[written] = TensorSpec(written, shape)
        return node

    def put(self, end: Node, *nodes: Node, gone: Sequence[Node] = ()) -> None:
        """Let nodes, the last of which writes what `end` writes, take its place; others, read by it alone, go."""
        self.nodes[end.name] = nodes
        self.nodes.update({node.name: () for node in gone})

    def made(self) -> Graph:
        """Return the graph with all replacements; what nobody reads any more is gone."""
        if not self.nodes:
            return self.graph
        graph = self.graph
        nodes = tuple(new for node in graph.nodes for new in self.nodes.get(node.name, (node,)))
        constants = {**graph.constants, **self.constants}
        return prune(replace(graph, nodes=nodes, constants=constants, tensors={**graph.tensors, **self.tensors}))

    def _shape(self, name: str) -> Shape:
        """Return the shape of a tensor or constant, old or new."""
        for constants in (self.constants, self.graph.constants):
            if name in constants:
                return constants[name].shape
        return (self.tensors.get(name) or self.graph.tensors[name]).shape

    def _fresh(self, wanted: str) -> str:
        """Return a name that no tensor, constant or node has."""
        taken = {*self.constants, *self.tensors, *self.graph.constants, *self.graph.tensors}
        name, count = wanted, 1
        while name in taken:
            count += 1
            name = f"{wanted}#{count}"
        return name
