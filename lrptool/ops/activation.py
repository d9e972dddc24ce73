"""Elementwise functions with kinks: relevance passes them unchanged by default."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.graph import Graph, Node, Shape
from lrptool.kernels import Place
from lrptool.ops.axes import broadcast
from lrptool.ops.base import OnnxNode, Operator, Passage, Placing, Spelling, Treatment, Values, misfit
from lrptool.ops.registry import register

Slope = Callable[[Passage], Values]
"""The derivative of an elementwise function, in the dtype of the relevance."""


def _pass(passage: Passage) -> tuple[Values, ...]:
    """Relevance in is relevance out."""
    return (passage.relevances[0],)


def _relu_gradient(passage: Passage) -> tuple[Values, ...]:
    """Only what was let through comes back."""
    return (np.where(passage.ys[0] > 0, passage.relevances[0], 0),)


def _deconvnet(passage: Passage) -> tuple[Values, ...]:
    """Only what is positive comes back (Zeiler and Fergus 2014, doi:10.1007/978-3-319-10590-1_53)."""
    return (np.maximum(passage.relevances[0], 0),)


def _guided(passage: Passage) -> tuple[Values, ...]:
    """Only what is positive and was let through comes back (Springenberg et al. 2015, arXiv:1412.6806)."""
    return (np.where(passage.ys[0] > 0, np.maximum(passage.relevances[0], 0), 0),)


def add_alias(placing: Placing, node: Node, _graph: Graph, arriving: Sequence[Place]) -> None:
    """Let the first input's relevance be the output's, without moving it."""
    placing.alias(node.inputs[0], arriving[0])


PASS = Treatment(_pass, at_zero="as behind", add_to=add_alias)
PASS_ANYTHING = Treatment(_pass, add_to=add_alias)
"""For functions that make something of zero."""
INPUT, OUTPUT = frozenset({"inputs"}), frozenset({"outputs"})


def function(slope: Slope, reads: frozenset[str], *, zero_stays: bool = True) -> Mapping[str, Treatment]:
    """Return the treatments of an elementwise function: relevance passes, or the derivative is applied.

    Parameters
    ----------
    slope : callable
    reads : set of {"inputs", "outputs"}
        The activations the derivative is computed from.
    zero_stays : bool
        Whether f(0) = 0.
    """

    def gradient(passage: Passage) -> tuple[Values, ...]:
        """Times the derivative."""
        return (passage.relevances[0] * slope(passage),)

    return {"pass": PASS if zero_stays else PASS_ANYTHING, "gradient": Treatment(gradient, reads=reads)}


class Elementwise(Operator):
    """What all elementwise operators of one input share."""

    default = "pass"

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As the input."""
        return (shapes[0],)


class Nonnegative(Elementwise):
    """Elementwise, with values ≥ 0."""

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """Always."""
        return True


class SignKept(Elementwise):
    """Elementwise, with values ≥ 0 where the input is ≥ 0."""

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """As the input."""
        return inputs[0]


@register
class Relu(Nonnegative):
    """max(x, 0)."""

    name = "Relu"
    treatments = {
        "pass": PASS,
        "gradient": Treatment(_relu_gradient, reads=OUTPUT, at_zero="nothing"),
        "deconvnet": Treatment(_deconvnet),
        "guided": Treatment(_guided, reads=OUTPUT, at_zero="nothing"),
    }


def _leaky_slope(passage: Passage) -> Values:
    """1 or alpha, by the sign of the input."""
    x = passage.xs[0]
    return np.where(x > 0, x.dtype.type(1), x.dtype.type(passage.node.number("alpha")))


@register
class LeakyRelu(SignKept):
    """x where positive, alpha · x elsewhere."""

    name = "LeakyRelu"
    treatments = function(_leaky_slope, INPUT)


def _prelu_gradient(passage: Passage) -> tuple[Values, ...]:
    """Times 1 or the learned slope, by the sign of the input."""
    (x, slope), r = passage.xs, passage.relevances[0]
    return (np.where(x > 0, r, r * slope.astype(r.dtype, copy=False)),)


@register
class PRelu(SignKept):
    """x where positive, slope · x elsewhere; the slopes are constants."""

    name = "PRelu"
    treatments = {"pass": PASS, "gradient": Treatment(_prelu_gradient, reads=INPUT)}

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As the input; the slopes broadcast to it."""
        if None in shapes[1] or broadcast(node, shapes) != shapes[0]:
            raise misfit(node, f"slopes {shapes[1]} do not fit an input of shape {shapes[0]}")
        return (shapes[0],)


def _clip_slope(passage: Passage) -> Values:
    """1 between the bounds."""
    (x,), node = passage.xs, passage.node
    inside = (x > node.number("min")) & (x < node.number("max"))
    return inside.astype(x.dtype)


def _clip_guided(passage: Passage) -> tuple[Values, ...]:
    """Only what is positive and was let through comes back."""
    return (np.maximum(passage.relevances[0], 0) * _clip_slope(passage),)


@register
class Clip(Elementwise):
    """x held between min and max; either may be infinite. ReLU6 is one."""

    name = "Clip"
    treatments = {
        **function(_clip_slope, INPUT, zero_stays=False),
        "deconvnet": Treatment(_deconvnet),
        "guided": Treatment(_clip_guided, reads=INPUT),
    }

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As the input."""
        if not node.number("min") <= node.number("max"):
            low, high = node.number("min"), node.number("max")
            raise misfit(node, f"expected min ≤ max, found {low:g} and {high:g}")
        return (shapes[0],)

    def treatment(self, node: Node, name: str) -> Treatment:
        """Zero stays zero where the bounds hold it between them."""
        if name == "pass" and node.number("min") <= 0 <= node.number("max"):
            return PASS
        return super().treatment(node, name)

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """When the lower bound is, or the input and the upper bound are."""
        return node.number("min") >= 0 or (inputs[0] and node.number("max") >= 0)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """ONNX takes the bounds as tensors, and leaves out what is infinite."""
        names = [node.inputs[0]]
        constants: dict[str, NDArray[Any]] = {}
        for key in ("min", "max"):
            finite = math.isfinite(node.number(key))
            names.append(f"{node.outputs[0]}/{key}" if finite else "")
            if finite:
                constants[names[-1]] = np.array(node.number(key), np.float32)
        while not names[-1]:
            names.pop()
        return Spelling((OnnxNode("Clip", tuple(names), node.outputs),), constants)


@register
class Abs(Nonnegative):
    """|x|."""

    name = "Abs"
    treatments = function(lambda passage: np.sign(passage.xs[0]), INPUT)


@register
class Neg(Elementwise):
    """−x."""

    name = "Neg"
    treatments = function(lambda passage: -np.ones_like(passage.relevances[0]), frozenset())


@register
class ThresholdedStep(Nonnegative):
    """1 where x is above the threshold, 0 elsewhere (Caffe)."""

    name = "ThresholdedStep"
    treatments = function(lambda passage: np.zeros_like(passage.relevances[0]), frozenset(), zero_stays=False)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """Compare and make a number of it."""
        y = node.outputs[0]
        above, threshold = f"{y}/above", f"{y}/threshold"
        return Spelling(
            (
                OnnxNode("Greater", (node.inputs[0], threshold), (above,)),
                OnnxNode("Cast", (above,), node.outputs, {"to": 1}),
            ),
            {threshold: np.array(node.number("threshold"), np.float32)},
        )


def _hard_sigmoid_slope(passage: Passage) -> Values:
    """Alpha between the bounds."""
    y = passage.ys[0]
    return np.where((y > 0) & (y < 1), y.dtype.type(passage.node.number("alpha")), y.dtype.type(0))


@register
class HardSigmoid(Nonnegative):
    """alpha · x + beta, held between 0 and 1."""

    name = "HardSigmoid"
    treatments = function(_hard_sigmoid_slope, OUTPUT, zero_stays=False)


def _hard_swish_slope(passage: Passage) -> Values:
    """0, 1, or the parabola's slope in between."""
    x = passage.xs[0]
    return np.where(np.abs(x) < 3, x / 3 + x.dtype.type(0.5), (x > 0).astype(x.dtype))


@register
class HardSwish(SignKept):
    """x · clip(x / 6 + ½, 0, 1)."""

    name = "HardSwish"
    treatments = function(_hard_swish_slope, INPUT)
