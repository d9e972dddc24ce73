"""What loaders build graphs with: nodes in, shapes inferred at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from lrptool.errors import ModelError
from lrptool.graph import Array, Attribute, Graph, Head, Node, Shape, TensorSpec
from lrptool.ops.registry import operator


class GraphBuilder:
    """Collects nodes in topological order and infers the shape of each output as it comes.

    Parameters
    ----------
    name : str
        Name of the network.
    input : TensorSpec
        The image tensor, ``(None, C, H, W)``.
    """

    def __init__(self, name: str, input: TensorSpec) -> None:  # noqa: A002
        self.name = name
        self.input = input
        self._nodes: list[Node] = []
        self._constants: dict[str, Array] = {}
        self._tensors: dict[str, TensorSpec] = {input.name: input}

    def shape(self, tensor: str) -> Shape:
        """Return the shape of a tensor or constant already there."""
        if tensor in self._constants:
            return self._constants[tensor].shape
        return self._tensors[tensor].shape

    def constant(self, name: str, value: ArrayLike) -> str:
        """Add a float32 constant; return its name."""
        if name in self._constants or name in self._tensors:
            raise ModelError(f"constant {name!r}: the name is used twice")
        array = np.ascontiguousarray(value, dtype=np.float32)
        self._constants[name] = array if array.base is None else array.copy()
        return name

    def add(
        self,
        op: str,
        name: str,
        inputs: Sequence[str],
        outputs: Sequence[str] | None = None,
        **attributes: Attribute,
    ) -> tuple[str, ...]:
        """Add a node and return the names of its outputs (one, called like the node, unless said otherwise)."""
        node = Node(name, op, tuple(inputs), tuple(outputs) if outputs is not None else (name,), attributes)
        for tensor in node.outputs:
            if tensor in self._tensors or tensor in self._constants:
                raise ModelError(f"node {name!r}: tensor {tensor!r} is written twice")
        shapes = operator(op, name).infer(node, [self.shape(tensor) for tensor in node.inputs])
        for tensor, shape in zip(node.outputs, shapes, strict=True):
            self._tensors[tensor] = TensorSpec(tensor, shape)
        self._nodes.append(node)
        return node.outputs

    def finish(self, output: str, head: Head) -> Graph:
        """Return the graph that ends in tensor `output`."""
        return Graph(self.name, self.input, output, head, tuple(self._nodes), self._constants, self._tensors)
