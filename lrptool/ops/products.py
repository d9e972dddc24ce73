"""Products and quotients of two tensors: one carries the signal, the other scales it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lrptool.graph import Graph, Node, Shape
from lrptool.ops.axes import broadcast, plain, reduce_to
from lrptool.ops.base import Operator, Passage, Treatment, Values
from lrptool.ops.registry import register

_GATES = {"Sigmoid": 2, "HardSigmoid": 2, "Softmax": 2, "ThresholdedStep": 2, "Clip": 1, "Tanh": 1, "Erf": 1}
"""Operators whose output scales a signal instead of carrying one: 2 always, 1 beside a factor that is none of these."""

_TRANSPARENT = (
    *("Identity", "Dropout", "Flatten", "Reshape", "Transpose", "Expand", "Tile", "Slice", "Split", "Gather", "Resize"),
    *("Mul", "Div", "Sum", "Power"),
)
"""Operators a gate may still go through, where they read but one tensor: an expansion, a shift, a factor."""


def gate_strength(tensor: str, graph: Graph) -> int:
    """Return how sure it is that a tensor scales a signal: 2, 1, or 0 where it does not look so."""
    producers = graph.producers
    while tensor in producers:
        node = producers[tensor]
        if node.op in _GATES:
            return _GATES[node.op]
        sources = [name for name in node.inputs if name in graph.tensors]
        if node.op not in _TRANSPARENT or len(sources) != 1:
            return 0
        tensor = sources[0]
    return 0


def signal(passage: Passage) -> int:
    """Return the position of the input that carries the signal.

    The one that is no gate, else the larger one, else the first. What divides is never the signal, unless what it
    divides is a constant.
    """
    candidates = passage.tensor_inputs
    if passage.node.op == "Div" or len(candidates) == 1:
        return candidates[0]

    def carries(k: int) -> tuple[int, int, int]:
        tensor = passage.node.inputs[k]
        size = int(np.prod(plain(passage.graph.tensors[tensor].shape)))
        return -gate_strength(tensor, passage.graph), size, -k

    return max(candidates, key=carries)


class _SignalTakesAll:
    """All relevance to the signal, none to the gate (Arras et al. 2017, doi:10.18653/v1/W17-5221)."""

    def __init__(self) -> None:
        self._taker: int | None = None

    def __call__(self, passage: Passage) -> tuple[Values, ...]:
        """Look for the signal of a node once."""
        if self._taker is None:
            self._taker = signal(passage)
        r = passage.relevances[0]
        shapes = {k: passage.input_shape(k, len(r)) for k in passage.tensor_inputs}
        return tuple(
            reduce_to(r, shape) if k == self._taker else np.zeros(shape, r.dtype) for k, shape in shapes.items()
        )


def _signal_takes_all(passage: Passage) -> tuple[Values, ...]:
    """The way back of a node met for the first time."""
    return _SignalTakesAll()(passage)


def _alike(passage: Passage) -> tuple[Values, ...]:
    """The same to every factor that is no constant (Achtibat et al. 2024, arXiv:2402.05602, proposition 3.2)."""
    r, takers = passage.relevances[0], passage.tensor_inputs
    part = r / len(takers)
    return tuple(reduce_to(part, passage.input_shape(k, len(r))) for k in takers)


def _product_gradient(passage: Passage) -> tuple[Values, ...]:
    """To each factor the other one."""
    r = passage.relevances[0]
    return tuple(
        reduce_to(r * passage.xs[1 - k].astype(r.dtype, copy=False), passage.input_shape(k, len(r)))
        for k in passage.tensor_inputs
    )


def _quotient_gradient(passage: Passage) -> tuple[Values, ...]:
    """1 / below for what is divided, −above / below² for what divides."""
    r = passage.relevances[0]
    above, below = (x.astype(r.dtype, copy=False) for x in passage.xs)
    slopes = (1 / below, -above / (below * below))
    return tuple(reduce_to(r * slopes[k], passage.input_shape(k, len(r))) for k in passage.tensor_inputs)


_INPUTS = frozenset({"inputs"})


class _OfTwo(Operator):
    """What products and quotients share."""

    default = "signal-takes-all"

    def treatment(self, node: Node, name: str) -> Treatment:
        """Return the treatment of one node, which looks for its signal but once."""
        found = super().treatment(node, name)
        return replace(found, redistribute=_SignalTakesAll()) if name == self.default else found

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Broadcast."""
        return (broadcast(node, shapes),)

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """When both inputs are."""
        return all(inputs)


@register
class Mul(_OfTwo):
    """x₁ · x₂; a constant factor scales, a second tensor gates."""

    name = "Mul"
    treatments = {
        "signal-takes-all": Treatment(_signal_takes_all, at_zero="as behind"),
        "attnlrp": Treatment(_alike, at_zero="as behind"),
        "gradient": Treatment(_product_gradient, reads=_INPUTS),
    }


@register
class Div(_OfTwo):
    """x₁ / x₂; what divides only scales."""

    name = "Div"
    treatments = {
        "signal-takes-all": Treatment(_signal_takes_all),
        "gradient": Treatment(_quotient_gradient, reads=_INPUTS),
    }
