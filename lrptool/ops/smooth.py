"""Smooth elementwise functions: relevance passes them unchanged by default."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lrptool.graph import Graph, Node, Shape
from lrptool.ops.activation import INPUT, OUTPUT, Elementwise, Nonnegative, SignKept, function
from lrptool.ops.base import Passage, Spelling, Values, misfit
from lrptool.ops.registry import register
from lrptool.ops.spelling import Words

_ROOT_TWO_PI = math.sqrt(2 * math.pi)
_BEND = 0.044715
"""Of Gelu's approximation by tanh (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""


def _logistic(x: Values) -> Values:
    """1 / (1 + exp(−x)), without overflow."""
    y: Values = x.dtype.type(0.5) * (1 + np.tanh(x / 2))
    return y


def _sigmoid_slope(passage: Passage) -> Values:
    """Y (1 − y)."""
    y = passage.ys[0]
    return y * (1 - y)


@register
class Sigmoid(Nonnegative):
    """1 / (1 + exp(−x))."""

    name = "Sigmoid"
    treatments = function(_sigmoid_slope, OUTPUT, zero_stays=False)


@register
class Tanh(SignKept):
    """Hyperbolic tangent."""

    name = "Tanh"
    treatments = function(lambda passage: 1 - passage.ys[0] ** 2, OUTPUT)


def _erf_slope(passage: Passage) -> Values:
    """2 / √π · exp(−x²)."""
    x = passage.xs[0]
    return x.dtype.type(2 / math.sqrt(math.pi)) * np.exp(-x * x)


@register
class Erf(SignKept):
    """The error function."""

    name = "Erf"
    treatments = function(_erf_slope, INPUT)


@register
class Softplus(Nonnegative):
    """log(1 + exp(x))."""

    name = "Softplus"
    treatments = function(lambda passage: _logistic(passage.xs[0]), INPUT, zero_stays=False)


def _elu_slope(passage: Passage) -> Values:
    """1, or alpha · exp(x) = y + alpha."""
    (x,), (y,) = passage.xs, passage.ys
    return np.where(x > 0, x.dtype.type(1), y + x.dtype.type(passage.node.number("alpha")))


@register
class Elu(SignKept):
    """x where positive, alpha (exp(x) − 1) elsewhere."""

    name = "Elu"
    treatments = function(_elu_slope, INPUT | OUTPUT)


def _selu_slope(passage: Passage) -> Values:
    """Gamma, or gamma · alpha · exp(x) = y + gamma · alpha."""
    (x,), (y,) = passage.xs, passage.ys
    gamma, alpha = (passage.node.number(key) for key in ("gamma", "alpha"))
    return np.where(x > 0, x.dtype.type(gamma), y + x.dtype.type(gamma * alpha))


@register
class Selu(SignKept):
    """Gamma times an Elu."""

    name = "Selu"
    treatments = function(_selu_slope, INPUT | OUTPUT)


def _celu_slope(passage: Passage) -> Values:
    """1, or exp(x / alpha)."""
    x = passage.xs[0]
    return np.where(x > 0, x.dtype.type(1), np.exp(x / x.dtype.type(passage.node.number("alpha"))))


@register
class Celu(SignKept):
    """x where positive, alpha (exp(x / alpha) − 1) elsewhere."""

    name = "Celu"
    treatments = function(_celu_slope, INPUT)

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As the input."""
        if node.number("alpha") == 0:
            raise misfit(node, "expected an alpha other than 0")
        return (shapes[0],)


def _mish_slope(passage: Passage) -> Values:
    """With t = tanh(softplus(x)): t + x (1 − t²) σ(x)."""
    x = passage.xs[0]
    t = np.tanh(np.logaddexp(x.dtype.type(0), x))
    slope: Values = t + x * (1 - t * t) * _logistic(x)
    return slope


@register
class Mish(SignKept):
    """x · tanh(log(1 + exp(x)))."""

    name = "Mish"
    treatments = function(_mish_slope, INPUT)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """ONNX has a word for it from opset 18 on."""
        words, x = Words(node.outputs[0]), node.inputs[0]
        words.add("Mul", x, words.add("Tanh", words.add("Softplus", x)))
        return words.finish()


def _swish_slope(passage: Passage) -> Values:
    """With s = σ(βx): s + βx s (1 − s)."""
    x = passage.xs[0]
    scaled = x.dtype.type(passage.node.number("beta")) * x
    s = _logistic(scaled)
    return s + scaled * s * (1 - s)


@register
class Swish(SignKept):
    """x · σ(beta · x); SiLU where beta is 1."""

    name = "Swish"
    treatments = function(_swish_slope, INPUT)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """x times a gate."""
        words, x, beta = Words(node.outputs[0]), node.inputs[0], node.number("beta")
        scaled = x if beta == 1 else words.add("Mul", x, words.number(beta))
        words.add("Mul", x, words.add("Sigmoid", scaled))
        return words.finish()


def _gelu_slope(passage: Passage) -> Values:
    """Φ(x) + x φ(x), with Φ(x) = y / x; or the derivative of the approximation."""
    (x,), (y,) = passage.xs, passage.ys
    if passage.node.attributes["approximate"] == "tanh":
        root, bend = x.dtype.type(math.sqrt(2 / math.pi)), x.dtype.type(_BEND)
        t = np.tanh(root * (x + bend * x**3))
        bent: Values = (1 + t) / 2 + x / 2 * (1 - t * t) * root * (1 + 3 * bend * x * x)
        return bent
    near = np.abs(x) < x.dtype.type(1e-3)
    # About zero, where y / x is no number, three terms of the series are exact to the last digit.
    series = x.dtype.type(0.5) + (x - x**3 / 6) / x.dtype.type(_ROOT_TWO_PI)
    below = np.where(near, series, y / np.where(near, x.dtype.type(1), x))
    slope: Values = below + x * np.exp(-x * x / 2) / x.dtype.type(_ROOT_TWO_PI)
    return slope


@register
class Gelu(SignKept):
    """x · Φ(x), Φ the normal distribution; ``approximate`` tells whether by tanh."""

    name = "Gelu"
    treatments = function(_gelu_slope, INPUT | OUTPUT)

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As the input."""
        if node.attributes["approximate"] not in ("none", "tanh"):
            found = node.attributes["approximate"]
            raise misfit(node, f"expected approximate 'none' or 'tanh', found {found!r}")
        return (shapes[0],)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """ONNX has a word for it from opset 20 on."""
        words, x = Words(node.outputs[0]), node.inputs[0]
        if node.attributes["approximate"] == "tanh":
            cubes = words.add("Mul", words.add("Mul", x, words.add("Mul", x, x)), words.number(_BEND))
            scaled = words.add("Mul", words.add("Add", x, cubes), words.number(math.sqrt(2 / math.pi)))
            bent = words.add("Tanh", scaled)
        else:
            bent = words.add("Erf", words.add("Mul", x, words.number(math.sqrt(0.5))))
        half = words.add("Mul", x, words.number(0.5))
        words.add("Mul", half, words.add("Add", bent, words.number(1.0)))
        return words.finish()


@register
class Exp(Nonnegative):
    """e to the x."""

    name = "Exp"
    treatments = function(lambda passage: passage.ys[0], OUTPUT, zero_stays=False)


@register
class Log(Elementwise):
    """The natural logarithm."""

    name = "Log"
    treatments = function(lambda passage: 1 / passage.xs[0], INPUT, zero_stays=False)


def _sqrt_slope(passage: Passage) -> Values:
    """1 / 2y; nothing at zero."""
    y = passage.ys[0]
    return np.where(y > 0, y.dtype.type(0.5) / np.where(y > 0, y, y.dtype.type(1)), y.dtype.type(0))


@register
class Sqrt(Nonnegative):
    """The square root; its derivative at zero, which is infinite, counts as zero."""

    name = "Sqrt"
    treatments = function(_sqrt_slope, OUTPUT)

    def steep(self, node: Node, graph: Graph) -> bool:
        """The nearer to zero, the steeper."""
        return True


@register
class Reciprocal(SignKept):
    """1 / x."""

    name = "Reciprocal"
    treatments = function(lambda passage: -(passage.ys[0] ** 2), OUTPUT, zero_stays=False)


def _power_slope(passage: Passage) -> Values:
    """Scale · power · base^(power − 1)."""
    x = passage.xs[0]
    power, scale, shift = (x.dtype.type(passage.node.number(key)) for key in ("power", "scale", "shift"))
    if power == 1:
        return np.full_like(x, scale)
    slope: Values = scale * power * (shift + scale * x) ** (power - 1)
    return slope


@register
class Power(Elementwise):
    """(shift + scale · x) to a constant power; with scale 1 and shift 0 ONNX's Pow."""

    name = "Power"
    treatments = function(_power_slope, INPUT, zero_stays=False)

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """Even powers always are; others where the base is."""
        power, scale, shift = (node.number(key) for key in ("power", "scale", "shift"))
        return power % 2 == 0 or (inputs[0] and scale >= 0 and shift >= 0)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """Each step that does something."""
        words, x = Words(node.outputs[0]), node.inputs[0]
        steps = (("Mul", node.number("scale"), 1), ("Add", node.number("shift"), 0), ("Pow", node.number("power"), 1))
        for op, value, idle in steps:
            x = x if value == idle else words.add(op, x, words.number(value))
        if x == node.inputs[0]:
            words.add("Identity", x)
        return words.finish()
