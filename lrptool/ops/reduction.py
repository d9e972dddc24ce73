"""Sums, means, norms and maxima along axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from lrptool.graph import Attribute, Graph, Node, Shape
from lrptool.ops.axes import normal_axes, plain, stabilise
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
from lrptool.ops.registry import register


def _spread(values: Values, node: Node, rank: int) -> Values:
    """Return the reduced values with an axis of size 1 wherever one was summed away."""
    if node.integer("keepdims"):
        return values
    return np.expand_dims(values, tuple(axis % rank for axis in node.ints("axes")))


class ReductionMap:
    """A sum along axes, times one factor, as a linear map.

    Parameters
    ----------
    shape : Shape
        Of the input.
    axes : tuple of int
    keepdims : bool
        Whether an axis of size 1 is left where one was summed.
    factor : float
        Every weight there is.
    """

    def __init__(self, shape: Shape, axes: tuple[int, ...], factor: float, *, keepdims: bool = True) -> None:
        self._shape, self._axes, self._keepdims = shape, axes, keepdims
        self._factor = np.asarray(factor, np.float64)

    def gather(self, k: int, parts: tuple[WeightPart, ...], dtype: DTypeLike) -> None:
        """Return nothing: there is but one factor."""
        return

    def forward(self, xs: Sequence[Values], part: WeightPart) -> Values:
        """Return ŵ Σ x."""
        total = xs[0].sum(axis=self._axes, keepdims=self._keepdims)
        return np.asarray(total * part.of(self._factor).astype(total.dtype))

    def transpose(self, s: Values, part: WeightPart) -> tuple[Values, ...]:
        """Return ŵ s for every value summed."""
        s = s * part.of(self._factor).astype(s.dtype)
        s = s if self._keepdims else np.expand_dims(s, self._axes)
        return (np.broadcast_to(s, tuple(s.shape[0] if size is None else size for size in self._shape)),)

    def bias(self, part: WeightPart, like: Values) -> None:
        """There is none."""
        return


class _Reduction(Operator):
    """What all reductions share."""

    default = "proportion"
    axes_are_a_tensor = False
    """ONNX says so, at opset 17 of ReduceSum only."""

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Size 1, or no axis, wherever values were summed."""
        axes = normal_axes(node, shapes[0], node.ints("axes"))
        if not axes or len(set(axes)) != len(axes):
            raise misfit(node, f"expected axes, each of them once, found {node.ints('axes')}")
        kept = [size for axis, size in enumerate(shapes[0]) if axis not in axes]
        if node.integer("keepdims"):
            return (tuple(1 if axis in axes else size for axis, size in enumerate(shapes[0])),)
        if not kept:
            raise misfit(node, f"expected keepdims where all axes of {shapes[0]} are reduced")
        return (tuple(kept),)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """As it stands, but for the axes that are a tensor."""
        keepdims: dict[str, Attribute] = {"keepdims": node.integer("keepdims")}
        if not self.axes_are_a_tensor:
            attributes = keepdims | {"axes": node.ints("axes")}
            return Spelling((OnnxNode(node.op, node.inputs, node.outputs, attributes),))
        axes = f"{node.outputs[0]}/axes"
        constants: dict[str, Any] = {axes: np.array(node.ints("axes"), np.int64)}
        return Spelling((OnnxNode(node.op, (*node.inputs, axes), node.outputs, keepdims),), constants)


class _LinearReduction(_Reduction):
    """Sum and mean."""

    def linear_map(self, node: Node, graph: Graph) -> LinearMap:
        """Return the reduction as a linear map."""
        shape, axes = graph.tensors[node.inputs[0]].shape, node.ints("axes")
        count = prod(plain(shape)[axis] for axis in axes)
        factor = 1 / count if node.op == "ReduceMean" else 1
        return ReductionMap(shape, axes, factor, keepdims=bool(node.integer("keepdims")))

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """As the input."""
        return inputs[0]


@register
class ReduceSum(_LinearReduction):
    """The sum along axes."""

    name = "ReduceSum"
    axes_are_a_tensor = True


@register
class ReduceMean(_LinearReduction):
    """The mean along axes."""

    name = "ReduceMean"


def route_to_first(x: Values, r: Values, axes: Sequence[int], choose: Callable[..., Any]) -> Values:
    """Return relevance in the shape of x, all of it at the first value along `axes` that attains the extreme.

    Parameters
    ----------
    x : array
    r : array
        One value for each that is left when the axes are reduced.
    choose : callable
        ``np.argmax`` or ``np.argmin``.
    """
    reduced = sorted(axis % x.ndim for axis in axes)
    others = [axis for axis in range(x.ndim) if axis not in reduced]
    turned = x.transpose(*others, *reduced)
    flat = turned.reshape(*(x.shape[axis] for axis in others), -1)
    back = np.zeros(flat.shape, r.dtype)
    np.put_along_axis(back, choose(flat, axis=-1)[..., None], r.reshape(*flat.shape[:-1], 1), axis=-1)
    return back.reshape(turned.shape).transpose(np.argsort((*others, *reduced)))


def _first(choose: Callable[..., Any]) -> Treatment:
    """All relevance to the first value that attains the extreme, in scan order."""

    def route(passage: Passage) -> tuple[Values, ...]:
        return (route_to_first(passage.xs[0], passage.relevances[0], passage.node.ints("axes"), choose),)

    return Treatment(route, reads=frozenset({"inputs"}), at_zero="as behind")


class _Extreme(_Reduction):
    """Maximum and minimum."""

    default = "route"

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """As the input."""
        return inputs[0]


@register
class ReduceMax(_Extreme):
    """The maximum along axes."""

    name = "ReduceMax"
    treatments = {"route": _first(np.argmax), "gradient": _first(np.argmax)}


@register
class ReduceMin(_Extreme):
    """The minimum along axes."""

    name = "ReduceMin"
    treatments = {"route": _first(np.argmin), "gradient": _first(np.argmin)}


def _norm(contribution: Callable[[Values], Values], slope: Callable[[Values, Values], Values]) -> dict[str, Treatment]:
    """Return the ways back through a norm.

    Parameters
    ----------
    contribution : callable
        x → what each value adds to the norm (to its square, where a root follows).
    slope : callable
        x, norm → the derivative.
    """

    def proportion(passage: Passage) -> tuple[Values, ...]:
        """In proportion to what each value adds."""
        x, node = passage.xs[0], passage.node
        c = contribution(x)
        z = stabilise(c.sum(axis=node.ints("axes"), keepdims=True), passage.epsilon)
        return (c * (_spread(passage.relevances[0], node, x.ndim) / z),)

    def keeps(passage: Passage) -> Kept:
        """The stabiliser's part."""
        x, node = passage.xs[0], passage.node
        z = contribution(x).sum(axis=node.ints("axes"), keepdims=True)
        return by_proportion(_spread(passage.relevances[0], node, x.ndim), z, passage.epsilon)

    def gradient(passage: Passage) -> tuple[Values, ...]:
        """The plain derivative."""
        (x,), (y,), (r,) = passage.xs, passage.ys, passage.relevances
        y, r = (_spread(values, passage.node, x.ndim) for values in (y, r))
        return (r * slope(x, y),)

    return {
        "proportion": Treatment(proportion, reads=frozenset({"inputs"}), at_zero="nothing", keeps=keeps),
        "gradient": Treatment(gradient, reads=frozenset({"inputs", "outputs"})),
    }


class _Norm(_Reduction):
    """What is never negative."""

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """Always."""
        return True


@register
class ReduceL1(_Norm):
    """The sum of absolute values along axes."""

    name = "ReduceL1"
    treatments = _norm(np.abs, lambda x, _: np.sign(x))


@register
class ReduceL2(_Norm):
    """The Euclidean norm along axes."""

    name = "ReduceL2"
    treatments = _norm(np.square, lambda x, y: x / np.where(y > 0, y, 1).astype(y.dtype))


@register
class ReduceSumSquare(_Norm):
    """The sum of squares along axes."""

    name = "ReduceSumSquare"
    treatments = _norm(np.square, lambda x, _: 2 * x)
