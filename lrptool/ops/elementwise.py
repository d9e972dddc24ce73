"""Sums, products and maxima of several tensors."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import DTypeLike

from lrptool.errors import ModelError
from lrptool.graph import Graph, Node, Shape
from lrptool.kernels import Gather, TransposedSum
from lrptool.ops.base import LinearMap, Operator, Passage, Treatment, Values, WeightPart
from lrptool.ops.registry import register

_GATES = ("Sigmoid", "Softmax")
"""Operators whose output scales a signal instead of carrying one."""


def _broadcast(node: Node, shapes: Sequence[Shape]) -> Shape:
    """Shape of an elementwise result; sizes agree or are 1."""
    rank = max(len(shape) for shape in shapes)
    result: list[int | None] = []
    for axis in range(-rank, 0):
        sizes = {shape[axis] for shape in shapes if len(shape) >= -axis} - {1}
        if len(sizes) > 1:
            raise ModelError(f"node {node.name!r}: inputs of shapes {', '.join(map(str, shapes))} do not fit together")
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def _reduce_to(values: Values, shape: Sequence[int]) -> Values:
    """Sum over the axes along which an input of `shape` was broadcast."""
    values = values.sum(axis=tuple(range(values.ndim - len(shape))))
    spread = tuple(axis for axis, size in enumerate(shape) if size == 1 and values.shape[axis] != 1)
    return values.sum(axis=spread, keepdims=True) if spread else values


class SumMap:
    """A sum of several inputs as a linear map: every weight is 1.

    Parameters
    ----------
    item_shapes : sequence of tuple of int
        Shapes of the inputs without their batch axis.
    bias : array or None
        The constant summand.
    """

    def __init__(self, item_shapes: Sequence[tuple[int, ...]], bias: Values | None = None) -> None:
        self._item_shapes, self._bias = item_shapes, bias

    def gather(self, k: int, parts: tuple[WeightPart, ...], dtype: DTypeLike) -> Gather | None:
        """Return the kernel for inputs of the sum's own shape; None where one was broadcast."""
        if len(set(self._item_shapes)) > 1:
            return None
        return TransposedSum(prod(self._item_shapes[0]), [float(part.of(np.ones(()))) for part in parts])

    def forward(self, xs: Sequence[Values], part: WeightPart) -> Values:
        """Return Σₖ ŵ xₖ."""
        total = xs[0]
        for x in xs[1:]:
            total = total + x
        return self._scaled(total, part)

    def transpose(self, s: Values, part: WeightPart) -> tuple[Values, ...]:
        """Return ŵ s for every input."""
        scaled = self._scaled(s, part)
        return tuple(_reduce_to(scaled, (s.shape[0], *shape)) for shape in self._item_shapes)

    def bias(self, part: WeightPart, like: Values) -> Values | None:
        """Return the part of the constant summand."""
        return None if self._bias is None else part.of(self._bias.astype(like.dtype, copy=False))

    @staticmethod
    def _scaled(values: Values, part: WeightPart) -> Values:
        """Times the part of a weight of 1."""
        return values * part.of(np.ones((), values.dtype))


@register
class Sum(Operator):
    """x₁ + … + xₙ: residual connections."""

    name = "Sum"
    default = "proportion"

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Broadcast."""
        return (_broadcast(node, shapes),)

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """When all inputs are."""
        return all(inputs)

    def linear_map(self, node: Node, graph: Graph) -> LinearMap:
        """Return the sum as a linear map; a constant summand is its bias."""
        tensors = [graph.tensors[name].item_shape for name in node.inputs if name in graph.tensors]
        constants = [graph.constants[name] for name in node.inputs if name in graph.constants]
        return SumMap(tensors, sum(constants[1:], start=constants[0]) if constants else None)


def _tensor_inputs(passage: Passage) -> list[int]:
    """Positions of the inputs that are not constants."""
    return [k for k, tensor in enumerate(passage.node.inputs) if tensor in passage.graph.tensors]


def _signal(passage: Passage) -> int:
    """Position of a product's signal: the input no gate produced, the larger one where that does not tell."""
    producers = passage.graph.producers
    candidates = _tensor_inputs(passage)

    def carries(k: int) -> tuple[bool, int, int]:
        tensor = passage.node.inputs[k]
        gate = tensor in producers and producers[tensor].op in _GATES
        return (not gate, int(np.prod(passage.graph.tensors[tensor].item_shape)), -k)

    return max(candidates, key=carries)


def _signal_takes_all(passage: Passage) -> tuple[Values, ...]:
    """All relevance to the signal, none to the gate (Arras et al. 2017, doi:10.18653/v1/W17-5221)."""
    r = passage.relevances[0]
    signal = _signal(passage)
    return tuple(
        _reduce_to(r, passage.input_shape(k, r.shape[0]))
        if k == signal
        else np.zeros(passage.input_shape(k, r.shape[0]), r.dtype)
        for k in _tensor_inputs(passage)
    )


def _product_gradient(passage: Passage) -> tuple[Values, ...]:
    """To each factor the product of the others."""
    r = passage.relevances[0]
    result = []
    for k in _tensor_inputs(passage):
        others = [x for j, x in enumerate(passage.xs) if j != k]
        result.append(_reduce_to(r * np.prod(np.broadcast_arrays(*others), axis=0), passage.input_shape(k, len(r))))
    return tuple(result)


@register
class Mul(Operator):
    """x₁ · x₂; a constant factor scales, a second tensor gates."""

    name = "Mul"
    default = "signal-takes-all"
    treatments = {
        "signal-takes-all": Treatment(_signal_takes_all),
        "gradient": Treatment(_product_gradient, reads=frozenset({"inputs"})),
    }

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Broadcast."""
        return (_broadcast(node, shapes),)

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """When all inputs are."""
        return all(inputs)


def _first_maximum(passage: Passage) -> tuple[Values, ...]:
    """All relevance to the first input that attains the maximum."""
    r = passage.relevances[0]
    winner = np.argmax(np.stack(passage.xs), axis=0)
    return tuple(np.where(winner == k, r, 0) for k in range(len(passage.xs)))


_MAXIMUM = Treatment(_first_maximum, reads=frozenset({"inputs"}), at_zero="as behind")


@register
class Max(Operator):
    """The largest of several tensors, position by position."""

    name = "Max"
    default = "route"
    treatments = {"route": _MAXIMUM, "gradient": _MAXIMUM}

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """All inputs agree."""
        if len(set(shapes)) != 1:
            raise ModelError(f"node {node.name!r}: inputs of shapes {', '.join(map(str, shapes))} differ")
        return (shapes[0],)

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """When any input is."""
        return any(inputs)
