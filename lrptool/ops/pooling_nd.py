"""Pooling of lines, volumes and dilated windows; power averages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod

import numpy as np
from numpy.typing import DTypeLike

from lrptool.graph import Graph, Node, Shape
from lrptool.ops.axes import stabilise
from lrptool.ops.base import (
    Kept,
    LinearMap,
    OnnxNode,
    Operator,
    Passage,
    Spelling,
    Treatment,
    Values,
    WeightPart,
    misfit,
)
from lrptool.ops.kept import by_proportion
from lrptool.ops.pooling import AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool
from lrptool.ops.reduction import ReductionMap, route_to_first
from lrptool.ops.registry import register
from lrptool.ops.spelling import Words
from lrptool.ops.windows import Axis, add_sum, axes_of, explicit, route_over, spread_over, sum_over


def _is_flat(node: Node) -> bool:
    """Whether the windows are those of an image, without gaps."""
    undilated = "dilations" not in node.attributes or set(node.ints("dilations")) == {1}
    return len(node.ints("kernel_shape")) == 2 and undilated


def _axes(node: Node, graph: Graph) -> tuple[Axis, ...]:
    """Return the windows along every axis."""
    return axes_of(node, graph.tensors[node.inputs[0]].shape)


def _pooled(node: Node, shape: Shape) -> tuple[Shape, ...]:
    """Shape of the result."""
    return ((*shape[:2], *(axis.out for axis in axes_of(node, shape))),)


def _route(passage: Passage) -> tuple[Values, ...]:
    """All relevance of a window to its first maximum in scan order; overlapping windows add."""
    return (route_over(passage.xs[0], passage.relevances[0], _axes(passage.node, passage.graph)),)


_ROUTE = Treatment(_route, reads=frozenset({"inputs"}), at_zero="as behind")


@register
class MaxPoolNd(MaxPool):
    """The largest value of each window, along one to three axes."""

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(N, C, size…) → (N, C, windows…)."""
        return super().infer(node, shapes) if _is_flat(node) else _pooled(node, shapes[0])

    def treatment(self, node: Node, name: str) -> Treatment:
        """Images have loops of their own."""
        treatment = super().treatment(node, name)
        return treatment if _is_flat(node) else _ROUTE

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """Pad explicitly instead of rounding up."""
        if _is_flat(node):
            return super().spell(node, graph)
        axes = _axes(node, graph)
        attributes = explicit(axes) | {"dilations": tuple(axis.dilation for axis in axes)}
        return Spelling((OnnxNode("MaxPool", node.inputs, node.outputs, attributes),))


class WindowMap:
    """A weighted sum over windows as a linear map.

    Parameters
    ----------
    axes : sequence of Axis
    weight : float64 (windows…)
        The weight of all values of each window.
    """

    def __init__(self, axes: Sequence[Axis], weight: Values) -> None:
        self._axes, self._weight = axes, weight

    def gather(self, k: int, parts: tuple[WeightPart, ...], dtype: DTypeLike) -> None:
        """Return nothing: pooled maps are small."""
        return

    def forward(self, xs: Sequence[Values], part: WeightPart) -> Values:
        """Return Ŵ x, (N, C, windows…)."""
        return sum_over(xs[0], self._axes) * part.of(self._weight).astype(xs[0].dtype)

    def transpose(self, s: Values, part: WeightPart) -> tuple[Values, ...]:
        """Return Ŵᵀ s, (N, C, size…)."""
        return (spread_over(s * part.of(self._weight).astype(s.dtype), self._axes),)

    def bias(self, part: WeightPart, like: Values) -> None:
        """There is none."""
        return


def _divisors(node: Node, axes: Sequence[Axis]) -> Values:
    """Number of values each window's mean counts."""
    counts = [axis.counts(padding=bool(node.integer("count_include_pad"))).astype(np.float64) for axis in axes]
    return reduce(np.multiply.outer, counts)


@register
class AveragePoolNd(AveragePool):
    """The mean of each window, along one to three axes."""

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(N, C, size…) → (N, C, windows…)."""
        return super().infer(node, shapes) if _is_flat(node) else _pooled(node, shapes[0])

    def linear_map(self, node: Node, graph: Graph) -> LinearMap:
        """Return the mean as a linear map."""
        if _is_flat(node):
            return super().linear_map(node, graph)
        axes = _axes(node, graph)
        return WindowMap(axes, 1 / _divisors(node, axes))

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """The sum of each window, over what its mean counts."""
        if _is_flat(node):
            return super().spell(node, graph)
        axes, words = _axes(node, graph), Words(node.outputs[0])
        total, factor = add_sum(words, node.inputs[0], axes, graph, node.inputs[0])
        words.add("Mul", total, words.array("factor", (factor / _divisors(node, axes)).astype(np.float32)))
        return words.finish()


def _behind_channels(node: Node, shape: Shape) -> tuple[Shape, ...]:
    """Shape of a global pooling's result."""
    if len(shape) < 3:
        raise misfit(node, f"expected an input (N, C, …), found shape {shape}")
    return ((*shape[:2], *(1,) * (len(shape) - 2)),)


@register
class GlobalMaxPoolNd(GlobalMaxPool):
    """The largest value of each channel, over any number of axes."""

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(N, C, size…) → (N, C, 1…)."""
        return super().infer(node, shapes) if len(shapes[0]) == 4 else _behind_channels(node, shapes[0])

    def treatment(self, node: Node, name: str) -> Treatment:
        """Images have loops of their own."""
        flat = super().treatment(node, name)

        def route(passage: Passage) -> tuple[Values, ...]:
            x = passage.xs[0]
            if x.ndim == 4:
                return flat.redistribute(passage)
            return (route_to_first(x, passage.relevances[0], range(2, x.ndim), np.argmax),)

        return Treatment(route, flat.reads, flat.at_zero)


@register
class GlobalAveragePoolNd(GlobalAveragePool):
    """The mean of each channel, over any number of axes."""

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(N, C, size…) → (N, C, 1…)."""
        return super().infer(node, shapes) if len(shapes[0]) == 4 else _behind_channels(node, shapes[0])

    def linear_map(self, node: Node, graph: Graph) -> LinearMap:
        """Return the mean as a linear map."""
        shape = graph.tensors[node.inputs[0]].shape
        if len(shape) == 4:
            return super().linear_map(node, graph)
        return ReductionMap(shape, tuple(range(2, len(shape))), 1 / prod(size or 1 for size in shape[2:]))


def _powers(passage: Passage) -> tuple[Values, Values, Values]:
    """What each value adds to its windows' sums, the sums, and the relevance."""
    parts = np.abs(passage.xs[0]) ** passage.node.integer("p")
    return parts, sum_over(parts, _axes(passage.node, passage.graph)), passage.relevances[0]


def _lp_proportion(passage: Passage) -> tuple[Values, ...]:
    """In proportion to the powers."""
    parts, total, r = _powers(passage)
    return (parts * spread_over(r / stabilise(total, passage.epsilon), _axes(passage.node, passage.graph)),)


def _lp_keeps(passage: Passage) -> Kept:
    """The stabiliser's part."""
    _, total, r = _powers(passage)
    return by_proportion(r, total, passage.epsilon)


def _lp_gradient(passage: Passage) -> tuple[Values, ...]:
    """Sign(x) |x|^(p − 1) Σ y^(1 − p) R; nothing where a window holds but zeros."""
    (x,), p = passage.xs, passage.node.integer("p")
    _, total, r = _powers(passage)
    slope = np.where(total > 0, total, r.dtype.type(1)) ** r.dtype.type(1 / p - 1)
    spread = spread_over(np.where(total > 0, r * slope, r.dtype.type(0)), _axes(passage.node, passage.graph))
    return (np.sign(x) * np.abs(x) ** (p - 1) * spread,)


@register
class LpPool(Operator):
    """The p-th root of the sum of p-th powers of each window."""

    name = "LpPool"
    default = "proportion"
    treatments = {
        "proportion": Treatment(_lp_proportion, reads=frozenset({"inputs"}), at_zero="nothing", keeps=_lp_keeps),
        "gradient": Treatment(_lp_gradient, reads=frozenset({"inputs"})),
    }

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(N, C, size…) → (N, C, windows…)."""
        if node.integer("p") < 1:
            raise misfit(node, f"expected p of at least 1, found {node.integer('p')}")
        return _pooled(node, shapes[0])

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """Always."""
        return True

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """Powers, their sums, and the root."""
        words, x, p = Words(node.outputs[0]), node.inputs[0], node.integer("p")
        powers = words.add("Pow", words.add("Abs", x), words.number(float(p)))
        total, factor = add_sum(words, powers, _axes(node, graph), graph, x)
        words.add("Pow", words.add("Mul", total, words.number(factor)), words.number(1 / p))
        return words.finish()
