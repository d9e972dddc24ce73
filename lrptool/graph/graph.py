"""A network as a frozen value: nodes in topological order, constants, and what is known about each tensor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, cast

from lrptool.graph.constants import Array, Constants
from lrptool.graph.node import Node
from lrptool.graph.tensor import TensorSpec

Head = Literal["softmax", "logits"]
"""How scores become probabilities: by a softmax over axis 1, or not at all."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A network from one image tensor to one score tensor.

    Parameters
    ----------
    name : str
        The name the model's author gave it.
    input : TensorSpec
        The image tensor, ``(None, C, H, W)``.
    output : str
        The tensor that holds the scores (before a softmax, where there is one).
    head : {"softmax", "logits"}
        How scores become probabilities.
    nodes : tuple of Node
        In topological order.
    constants : mapping of str to float32 array
        Weights by name; read-only. In memory, unless they were `let_go` of.
    tensors : mapping of str to TensorSpec
        Every tensor that depends on the input, the input included.

    Raises
    ------
    ValueError
        When a name is used twice, a node reads what nothing wrote before it, or the output does not exist. A loader
        that hands over such a graph is at fault, not the user.
    """

    name: str
    input: TensorSpec
    output: str
    head: Head
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    tensors: Mapping[str, TensorSpec]

    def __post_init__(self) -> None:
        # Graphs with the same constants let go of them together.
        same = isinstance(self.constants, Constants)
        object.__setattr__(self, "constants", self.constants if same else Constants(self.constants))
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))
        self._check()

    def _check(self) -> None:
        written = {self.input.name, *self.constants}
        names: set[str] = set()
        for node in self.nodes:
            if node.name in names:
                raise ValueError(f"graph {self.name!r}: two nodes are called {node.name!r}")
            names.add(node.name)
            for tensor in node.inputs:
                if tensor not in written:
                    raise ValueError(f"node {node.name!r} reads {tensor!r}, which nothing wrote before it")
            for tensor in node.outputs:
                if tensor in written:
                    raise ValueError(f"node {node.name!r} writes {tensor!r} a second time")
                if tensor not in self.tensors:
                    raise ValueError(f"tensor {tensor!r} has no spec")
                written.add(tensor)
        if self.output not in self.tensors or self.output not in written:
            raise ValueError(f"graph {self.name!r}: the output {self.output!r} does not exist")

    def let_go(self, names: Collection[str], again: Callable[[], Mapping[str, Array]]) -> None:
        """Let go of some constants until somebody asks for one of them; see `Constants.let_go`."""
        cast("Constants", self.constants).let_go(names, again)

    @property
    def producers(self) -> dict[str, Node]:
        """The node that writes each tensor."""
        return {tensor: node for node in self.nodes for tensor in node.outputs}

    @property
    def consumers(self) -> dict[str, tuple[Node, ...]]:
        """The nodes that read each tensor or constant, in order."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for tensor in dict.fromkeys(node.inputs):
                readers.setdefault(tensor, []).append(node)
        return {tensor: tuple(nodes) for tensor, nodes in readers.items()}

    def node(self, name: str) -> Node:
        """Return the node of that name; KeyError where there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)
