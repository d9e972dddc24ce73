"""Dense (fully connected) layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from lrptool.errors import ModelError
from lrptool.graph import Graph, Node, Shape
from lrptool.kernels import Signed, TransposedDense, forward_dense, transpose_alone
from lrptool.ops.base import LinearMap, OnnxNode, Operator, Spelling, Values, WeightPart
from lrptool.ops.registry import register


class DenseMap:
    """A dense layer as a linear map.

    Parameters
    ----------
    weight : float32 or float64 (O, K)
    bias : same dtype (O,), or None
    """

    def __init__(self, weight: Values, bias: Values | None) -> None:
        self._weight, self._bias = np.ascontiguousarray(weight), bias

    def gather(self, k: int, parts: tuple[WeightPart, ...], dtype: DTypeLike) -> TransposedDense:
        """Return the transposed product with some parts of the weights."""
        return TransposedDense(self._weight.astype(dtype, copy=False), [_signed(part) for part in parts])

    def forward(self, xs: Sequence[Values], part: WeightPart) -> Values:
        """Return x Ŵᵀ, (N, O)."""
        x = xs[0]
        return forward_dense(x, self._weight.astype(x.dtype, copy=False), _signed(part))

    def transpose(self, s: Values, part: WeightPart) -> tuple[Values, ...]:
        """Return s Ŵ, (N, K)."""
        return (transpose_alone(self.gather(0, (part,), s.dtype), s, self._weight.shape[1:]),)

    def bias(self, part: WeightPart, like: Values) -> Values | None:
        """Return the bias' part, (O,)."""
        return None if self._bias is None else part.of(self._bias.astype(like.dtype, copy=False))


def _signed(part: WeightPart) -> Signed:
    """Return a part of the weights as factors by their sign."""
    more = 1 + part.gamma
    return {
        "all": Signed(1, 1),
        "pos": Signed(1, 0),
        "neg": Signed(0, 1),
        "squared": Signed(1, 1, power=2),
        "one": Signed(1, 1, power=0),
        "gamma-pos": Signed(more, 1),
        "gamma-neg": Signed(1, more),
    }[part.kind]


@register
class Gemm(Operator):
    """y = x Wᵀ + b."""

    name = "Gemm"
    default = None
    weighted = True

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(N, K) → (N, O)."""
        if len(shapes[0]) != 2 or len(shapes[1]) != 2 or shapes[0][1] != shapes[1][1]:
            raise ModelError(
                f"node {node.name!r}: weights of shape {shapes[1]} do not fit an input of shape {shapes[0]}"
            )
        if len(shapes) > 2 and shapes[2] != (shapes[1][0],):
            raise ModelError(f"node {node.name!r}: expected a bias of shape ({shapes[1][0]},), found {shapes[2]}")
        return ((shapes[0][0], shapes[1][0]),)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """ONNX's Gemm reads W the other way round unless told."""
        return Spelling((OnnxNode("Gemm", node.inputs, node.outputs, {"transB": 1}),))

    def macs(self, node: Node, graph: Graph) -> int:
        """One per weight."""
        return graph.constants[node.inputs[1]].size

    def linear_map(self, node: Node, graph: Graph) -> LinearMap:
        """Return the layer over the graph's own weights."""
        weight: Values = np.asarray(graph.constants[node.inputs[1]])
        return DenseMap(weight, graph.constants[node.inputs[2]] if len(node.inputs) > 2 else None)
