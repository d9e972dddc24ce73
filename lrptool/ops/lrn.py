"""Local response normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from lrptool.errors import UnsupportedError
from lrptool.graph import Attribute, Graph, Node, Shape
from lrptool.ops.activation import PASS
from lrptool.ops.axes import stabilise
from lrptool.ops.base import Kept, OnnxNode, Operator, Passage, Spelling, Treatment, Values, misfit
from lrptool.ops.kept import by_proportion, by_quotient, total
from lrptool.ops.registry import register

_AXES = {"LRN": (1,), "LRNWithinChannel": (2, 3)}
"""Axes a neighbourhood extends along."""


def _window_sum(values: Values, size: int, axes: Sequence[int], *, mirrored: bool = False) -> Values:
    """Sum over `size` neighbours along each axis, zeros beyond the border; an even window has one more behind.

    ``mirrored`` sums over the positions whose window contains this one, instead of over this one's window.
    """
    before, after = (size - 1) // 2, size // 2
    if mirrored:
        before, after = after, before
    for axis in axes:
        padding = [(0, 0)] * values.ndim
        padding[axis] = (before, after)
        padded = np.pad(values, padding)
        count = values.shape[axis]
        total: Values = np.take(padded, range(count), axis=axis)
        for shift in range(1, size):
            total += np.take(padded, range(shift, shift + count), axis=axis)
        values = total
    return values


class _Normalisation:
    """y = x · scale^−β with scale = k + (α/n) Σ x² over a neighbourhood of n values."""

    def __init__(self, passage: Passage) -> None:
        node = passage.node
        self.x, self.r = passage.xs[0], passage.relevances[0]
        self.size, self.axes = node.integer("size"), _AXES[node.op]
        self.beta, self.k = node.number("beta"), node.number("bias")
        self.factor = node.number("alpha") / self.size ** len(self.axes)
        self.scale: Values = self.k + self.factor * self.window(self.x * self.x)

    def window(self, values: Values, *, mirrored: bool = False) -> Values:
        """Sum over the neighbourhood of each position."""
        return _window_sum(values, self.size, self.axes, mirrored=mirrored)

    def gradient(self, r: Values) -> Values:
        """Jacobianᵀ r."""
        cross: Values = self.window(r * self.x * self.scale ** (-self.beta - 1), mirrored=True)
        direct: Values = r * self.scale**-self.beta
        lateral: Values = 2 * self.factor * self.beta * self.x * cross
        return direct - lateral


def _taylor(passage: Passage) -> tuple[Values, ...]:
    """Shares of the first-order expansion of y_k at the point where only x_k is left.

    Output k sends to itself in proportion to x_k (k + (α/n) x_k²)^−β and to neighbour i in proportion to
    −2 (α/n) β x_k x_i² scale_k^(−β−1). Source: Binder et al. 2016, doi:10.1007/978-3-319-44781-0_8.
    """
    n = _Normalisation(passage)
    squares = n.x * n.x
    own, pull = _expansion(n)
    s = n.r / stabilise(own + pull * (n.window(squares) - squares), passage.epsilon)
    return (own * s + squares * (n.window(pull * s, mirrored=True) - pull * s),)


def _expansion(n: _Normalisation) -> tuple[Values, Values]:
    """What output k sends to itself, and to a neighbour per square of the neighbour's value."""
    own: Values = n.x * (n.k + n.factor * n.x * n.x) ** -n.beta
    pull: Values = -2 * n.factor * n.beta * n.x * n.scale ** (-n.beta - 1)
    return own, pull


def _taylor_keeps(passage: Passage) -> Kept:
    """The stabiliser's part of the shares."""
    n = _Normalisation(passage)
    own, pull = _expansion(n)
    squares = n.x * n.x
    return by_proportion(n.r, own + pull * (n.window(squares) - squares), passage.epsilon)


def _gradient(passage: Passage) -> tuple[Values, ...]:
    """The plain derivative."""
    n = _Normalisation(passage)
    return (n.gradient(n.r),)


def _linearised(passage: Passage) -> tuple[Values, ...]:
    """x times the derivative of y's weighted sum: the epsilon rule on the layer's own linearisation."""
    n = _Normalisation(passage)
    y = n.x * n.scale**-n.beta
    return (n.x * n.gradient(n.r / stabilise(y, passage.epsilon)),)


def _linearised_keeps(passage: Passage) -> Kept:
    """y less its derivative along x is the constant of the linearisation."""
    n = _Normalisation(passage)
    y = n.x * n.scale**-n.beta
    along = y * (1 - 2 * n.beta * n.factor * n.window(n.x * n.x) / n.scale)
    stable = stabilise(y, passage.epsilon)
    return {**by_quotient(n.r, y, stable), "linearisation": total(n.r * (y - along) / stable)}


_INPUTS = frozenset({"inputs"})


class _Lrn(Operator):
    """What both normalisations share."""

    default = "pass"
    treatments: ClassVar = {
        "pass": PASS,
        "taylor": Treatment(_taylor, reads=_INPUTS, at_zero="nothing", keeps=_taylor_keeps),
        "gradient": Treatment(_gradient, reads=_INPUTS),
        "linearised": Treatment(_linearised, reads=_INPUTS, at_zero="nothing", keeps=_linearised_keeps),
    }

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As the input."""
        if len(shapes[0]) != 4:
            raise misfit(node, f"expected an input (N, C, H, W), found shape {shapes[0]}")
        if node.integer("size") < 1:
            raise misfit(node, f"expected a size of at least 1, found {node.integer('size')}")
        return (shapes[0],)

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """As the input: the scale is positive."""
        return inputs[0]

    def steep(self, node: Node, graph: Graph) -> bool:
        """With less than k = 1: the factor reaches k^−β, and approaches that of a norm without bound as k does zero.

        From 1 on nothing is made larger, and what is made smaller stands out from nobody. Published networks have 1
        or 2.
        """
        return node.number("bias") < 1


@register
class Lrn(_Lrn):
    """Normalisation over neighbouring channels."""

    name = "LRN"

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As the input."""
        if node.integer("size") % 2 == 0:
            raise UnsupportedError(
                f"node {node.name!r} ({node.op}): expected an odd size, found {node.integer('size')}",
                hint="a neighbourhood of even size has no centre, and runtimes refuse it",
            )
        return super().infer(node, shapes)


@register
class LrnWithinChannel(_Lrn):
    """Normalisation over a square of neighbours in the same map; ONNX has no word for it."""

    name = "LRNWithinChannel"

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """x · (k + α mean(x²))^−β, the mean over a window that counts the padding."""
        y, size = node.outputs[0], node.integer("size")
        names = {key: f"{y}/{key}" for key in ("squares", "mean", "scaled", "scale", "power", "alpha", "k", "beta")}
        before, after = (size - 1) // 2, size // 2
        window: dict[str, Attribute] = {
            "kernel_shape": (size, size),
            "pads": (before, before, after, after),
            "strides": (1, 1),
            "count_include_pad": 1,
        }
        return Spelling(
            (
                OnnxNode("Mul", (node.inputs[0], node.inputs[0]), (names["squares"],)),
                OnnxNode("AveragePool", (names["squares"],), (names["mean"],), window),
                OnnxNode("Mul", (names["mean"], names["alpha"]), (names["scaled"],)),
                OnnxNode("Add", (names["scaled"], names["k"]), (names["scale"],)),
                OnnxNode("Pow", (names["scale"], names["beta"]), (names["power"],)),
                OnnxNode("Mul", (node.inputs[0], names["power"]), node.outputs),
            ),
            {
                names["alpha"]: np.array(node.number("alpha"), np.float32),
                names["k"]: np.array(node.number("bias"), np.float32),
                names["beta"]: np.array(-node.number("beta"), np.float32),
            },
        )
