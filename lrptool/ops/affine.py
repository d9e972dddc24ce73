"""Batch normalisation: a factor and a shift per channel."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import DTypeLike

from lrptool.graph import Graph, Node, Shape
from lrptool.kernels import TransposedScale
from lrptool.ops.activation import PASS_ANYTHING
from lrptool.ops.axes import per_channel
from lrptool.ops.base import LinearMap, Operator, Values, WeightPart, misfit
from lrptool.ops.registry import register


class AffineMap:
    """A factor and a shift per channel as a linear map.

    Parameters
    ----------
    weight, bias : float32 or float64 (C,)
    item_shape : tuple of int
        Of the tensors it is applied to, (C, …).
    """

    def __init__(self, weight: Values, bias: Values, item_shape: tuple[int, ...]) -> None:
        rank = 1 + len(item_shape)
        self._weight, self._bias = per_channel(weight, rank), per_channel(bias, rank)
        self._values = prod(item_shape[1:])

    def gather(self, k: int, parts: tuple[WeightPart, ...], dtype: DTypeLike) -> TransposedScale:
        """Return the kernel that weighs fractions channel by channel."""
        return TransposedScale(self._values, [part.of(self._weight).reshape(-1).astype(dtype) for part in parts])

    def forward(self, xs: Sequence[Values], part: WeightPart) -> Values:
        """Return ŵ x."""
        return xs[0] * part.of(self._weight).astype(xs[0].dtype)

    def transpose(self, s: Values, part: WeightPart) -> tuple[Values, ...]:
        """Return ŵ s."""
        return (s * part.of(self._weight).astype(s.dtype),)

    def bias(self, part: WeightPart, like: Values) -> Values:
        """Return the bias' part, (C, 1, 1)."""
        return part.of(self._bias.astype(like.dtype, copy=False))


@register
class BatchNormalization(Operator):
    """(x − mean) / √(variance + ε) · scale + bias, with the statistics of the training set."""

    name = "BatchNormalization"
    default = "epsilon"
    treatments = {"pass": PASS_ANYTHING}

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As the input."""
        if any(shape != (shapes[0][1],) for shape in shapes[1:]):
            raise misfit(node, f"statistics {shapes[1:]} do not fit an input of shape {shapes[0]}")
        return (shapes[0],)

    def linear_map(self, node: Node, graph: Graph) -> LinearMap:
        """Return it as one factor and one shift per channel."""
        scale, bias, mean, variance = (graph.constants[name].astype(np.float64) for name in node.inputs[1:])
        weight = scale / np.sqrt(variance + node.number("epsilon"))
        return AffineMap(weight, bias - mean * weight, graph.tensors[node.inputs[0]].item_shape)
