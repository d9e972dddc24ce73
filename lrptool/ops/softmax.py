"""Softmax along an axis, as attention has it inside a network; below the last one stands the explained score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrptool.graph import Node, Shape
from lrptool.ops.activation import PASS_ANYTHING
from lrptool.ops.axes import normal_axis
from lrptool.ops.base import Kept, Operator, Passage, Treatment, Values
from lrptool.ops.kept import total
from lrptool.ops.registry import register


def _taylor(passage: Passage) -> tuple[Values, ...]:
    """R_x = x (R − s ΣR): the first-order expansion at x, whose constant term keeps a part.

    Source: Achtibat et al. 2024, arXiv:2402.05602, proposition 3.1.
    """
    x, s, r = passage.xs[0], passage.ys[0], passage.relevances[0]
    share = r - s * r.sum(axis=passage.node.integer("axis"), keepdims=True)
    # What a mask has set to −∞ takes no part.
    return (np.where(s > 0, x, 0) * share,)


def _taylor_keeps(passage: Passage) -> Kept:
    """Of y_j, all but its derivative along x, y_j (x_j − Σ s x): the constant term's part of what arrives there."""
    s, r = passage.ys[0], passage.relevances[0]
    x = np.where(s > 0, passage.xs[0], 0)
    mean = (s * x).sum(axis=passage.node.integer("axis"), keepdims=True)
    return {"softmax": total(r * (1 - x + mean))}


def _nothing(passage: Passage) -> tuple[Values, ...]:
    """The weights are taken as constants (Ali et al. 2022, arXiv:2202.07304)."""
    return (np.zeros_like(passage.relevances[0]),)


def _everything(passage: Passage) -> Kept:
    """Constants keep what they get."""
    return {"softmax": total(passage.relevances[0])}


def _softmax_gradient(passage: Passage) -> tuple[Values, ...]:
    """s (R − Σ s R)."""
    s, r = passage.ys[0], passage.relevances[0]
    return (s * (r - (s * r).sum(axis=passage.node.integer("axis"), keepdims=True)),)


def _log_softmax_gradient(passage: Passage) -> tuple[Values, ...]:
    """R − s ΣR."""
    y, r = passage.ys[0], passage.relevances[0]
    return (r - np.exp(y) * r.sum(axis=passage.node.integer("axis"), keepdims=True),)


class _AlongAxis(Operator):
    """What both share."""

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As the input."""
        normal_axis(node, shapes[0])
        return (shapes[0],)


@register
class Softmax(_AlongAxis):
    """Exponentials that sum to one along an axis."""

    name = "Softmax"
    default = "attnlrp"
    treatments = {
        "attnlrp": Treatment(_taylor, reads=frozenset({"inputs", "outputs"}), at_zero="nothing", keeps=_taylor_keeps),
        "cp-lrp": Treatment(_nothing, at_zero="nothing", keeps=_everything),
        "gradient": Treatment(_softmax_gradient, reads=frozenset({"outputs"})),
    }

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """Always."""
        return True


@register
class LogSoftmax(_AlongAxis):
    """The logarithm of a softmax."""

    name = "LogSoftmax"
    default = "pass"
    treatments = {
        "pass": PASS_ANYTHING,
        "gradient": Treatment(_log_softmax_gradient, reads=frozenset({"outputs"})),
    }
