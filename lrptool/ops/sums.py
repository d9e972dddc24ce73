"""Sums and differences of several tensors."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import DTypeLike

from lrptool.graph import Graph, Node, Shape
from lrptool.kernels import Gather, TransposedScale
from lrptool.ops.axes import broadcast, reduce_to
from lrptool.ops.base import LinearMap, OnnxNode, Operator, Spelling, Values, WeightPart, misfit
from lrptool.ops.registry import register
from lrptool.ops.spelling import Words


class SumMap:
    """A weighted sum of several inputs as a linear map.

    Parameters
    ----------
    shapes : sequence of Shape
        Shapes of the inputs.
    weights : sequence of float
        One per input.
    bias : array or None
        The constant summand.
    """

    def __init__(self, shapes: Sequence[Shape], weights: Sequence[float], bias: Values | None = None) -> None:
        self._shapes, self._bias = shapes, bias
        self._weights = [np.asarray(weight, np.float64) for weight in weights]

    def gather(self, k: int, parts: tuple[WeightPart, ...], dtype: DTypeLike) -> Gather | None:
        """Return the kernel for inputs of the sum's own shape; None where one was broadcast."""
        if len(set(self._shapes)) > 1:
            return None
        channels, *rest = (size for size in self._shapes[0][1:] if size is not None)
        return TransposedScale(prod(rest), [np.repeat(part.of(self._weights[k]), channels) for part in parts])

    def forward(self, xs: Sequence[Values], part: WeightPart) -> Values:
        """Return Σₖ ŵₖ xₖ."""
        total, *others = (self._scaled(k, x, part) for k, x in enumerate(xs))
        for other in others:
            total = total + other
        return total

    def transpose(self, s: Values, part: WeightPart) -> tuple[Values, ...]:
        """Return ŵₖ s for every input k."""
        batch = s.shape[0]
        shapes = [tuple(batch if size is None else size for size in shape) for shape in self._shapes]
        return tuple(reduce_to(self._scaled(k, s, part), shape) for k, shape in enumerate(shapes))

    def bias(self, part: WeightPart, like: Values) -> Values | None:
        """Return the part of the constant summand."""
        return None if self._bias is None else part.of(self._bias.astype(like.dtype, copy=False))

    def _scaled(self, k: int, values: Values, part: WeightPart) -> Values:
        """Times the part of input k's weight."""
        weight = part.of(self._weights[k]).astype(values.dtype)
        return values if weight == 1 else values * weight


def _coefficients(node: Node) -> tuple[float, ...]:
    """Return one factor per input."""
    given = node.attributes.get("coefficients", ())
    if not isinstance(given, tuple):
        raise TypeError(f"node {node.name!r} ({node.op}): coefficients is not a list")
    return given or (1.0,) * len(node.inputs)


@register
class Sum(Operator):
    """c₁ x₁ + … + cₙ xₙ: residual connections; differences and means with coefficients of their own."""

    name = "Sum"
    default = "proportion"

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Broadcast."""
        if len(_coefficients(node)) != len(node.inputs):
            found = len(_coefficients(node))
            raise misfit(node, f"expected {len(node.inputs)} coefficients, found {found}")
        return (broadcast(node, shapes),)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """A difference, or a sum of products with the coefficients."""
        coefficients = _coefficients(node)
        if all(c == 1 for c in coefficients):
            return Spelling((OnnxNode("Sum", node.inputs, node.outputs),))
        if coefficients == (1, -1):
            return Spelling((OnnxNode("Sub", node.inputs, node.outputs),))
        words = Words(node.outputs[0])
        terms = zip(node.inputs, coefficients, strict=True)
        words.add("Sum", *(x if c == 1 else words.add("Mul", x, words.number(c)) for x, c in terms))
        return words.finish()

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """When all inputs are and nothing is taken off."""
        return all(inputs) and min(_coefficients(node)) >= 0

    def linear_map(self, node: Node, graph: Graph) -> LinearMap:
        """Return the sum as a linear map; a constant summand is its bias."""
        terms = list(zip(node.inputs, _coefficients(node), strict=True))
        tensors = [(graph.tensors[name].shape, c) for name, c in terms if name in graph.tensors]
        constants = [graph.constants[name] * np.float32(c) for name, c in terms if name in graph.constants]
        bias = sum(constants[1:], start=constants[0]) if constants else None
        return SumMap([shape for shape, _ in tensors], [c for _, c in tensors], bias)
