"""The largest and the smallest of several tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lrptool.graph import Node, Shape
from lrptool.ops.axes import broadcast, reduce_to
from lrptool.ops.base import Kept, Operator, Passage, Treatment, Values
from lrptool.ops.kept import total
from lrptool.ops.registry import register


def _winner(choose: Callable[..., Values]) -> Treatment:
    """All relevance to the first input that attains the extreme; a constant keeps what it wins."""

    def route(passage: Passage) -> tuple[Values, ...]:
        r = passage.relevances[0]
        winner = choose(np.stack(np.broadcast_arrays(*passage.xs)), axis=0)
        return tuple(
            reduce_to(np.where(winner == k, r, r.dtype.type(0)), passage.input_shape(k, len(r)))
            for k in passage.tensor_inputs
        )

    return Treatment(route, reads=frozenset({"inputs"}), at_zero="as behind", keeps=_won_by_constants)


def _won_by_constants(passage: Passage) -> Kept:
    """Relevance where a constant is the first to equal the output."""
    y, open_ = passage.ys[0], np.ones(passage.ys[0].shape, bool)
    kept = np.zeros(len(y))
    for k, x in enumerate(passage.xs):
        won = open_ & (x == y)
        open_ &= ~won
        if k not in passage.tensor_inputs:
            kept += total(np.where(won, passage.relevances[0], 0))
    return {"constants": kept}


_LARGEST, _SMALLEST = _winner(np.argmax), _winner(np.argmin)


class _Extreme(Operator):
    """What both share."""

    default = "route"

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Broadcast."""
        return (broadcast(node, shapes),)


@register
class Max(_Extreme):
    """The largest of several tensors, position by position."""

    name = "Max"
    treatments = {"route": _LARGEST, "gradient": _LARGEST}

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """When any input is."""
        return any(inputs)


@register
class Min(_Extreme):
    """The smallest of several tensors, position by position."""

    name = "Min"
    treatments = {"route": _SMALLEST, "gradient": _SMALLEST}

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """When all inputs are."""
        return all(inputs)
