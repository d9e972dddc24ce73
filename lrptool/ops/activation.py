"""Elementwise non-linearities: relevance passes them unchanged by default."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrptool.graph import Graph, Node, Shape
from lrptool.kernels import Place
from lrptool.ops.base import Operator, Passage, Placing, Treatment, Values
from lrptool.ops.registry import register


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


def _leaky_gradient(passage: Passage) -> tuple[Values, ...]:
    """1 or the negative slope, by the sign of the input."""
    x, r = passage.xs[0], passage.relevances[0]
    return (np.where(x > 0, r, r * r.dtype.type(passage.node.number("alpha"))),)


def _sigmoid_gradient(passage: Passage) -> tuple[Values, ...]:
    """Times y (1 − y)."""
    y = passage.ys[0]
    return (passage.relevances[0] * y * (1 - y),)


def _tanh_gradient(passage: Passage) -> tuple[Values, ...]:
    """Times 1 − y²."""
    y = passage.ys[0]
    return (passage.relevances[0] * (1 - y * y),)


def add_alias(placing: Placing, node: Node, _graph: Graph, arriving: Sequence[Place]) -> None:
    """Let the input's relevance be the output's, without moving it."""
    placing.alias(node.inputs[0], arriving[0])


PASS = Treatment(_pass, at_zero="as behind", add_to=add_alias)
_OUTPUTS = frozenset({"outputs"})


class _Elementwise(Operator):
    """What all elementwise operators of one input share."""

    default = "pass"

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As the input."""
        return (shapes[0],)


class _Nonnegative(_Elementwise):
    """Elementwise, with values ≥ 0."""

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """Always."""
        return True


@register
class Relu(_Nonnegative):
    """max(x, 0)."""

    name = "Relu"
    treatments = {
        "pass": PASS,
        "gradient": Treatment(_relu_gradient, reads=_OUTPUTS, at_zero="nothing"),
        "deconvnet": Treatment(_deconvnet),
        "guided": Treatment(_guided, reads=_OUTPUTS, at_zero="nothing"),
    }


@register
class LeakyRelu(_Elementwise):
    """x where positive, alpha · x elsewhere."""

    name = "LeakyRelu"
    treatments = {"pass": PASS, "gradient": Treatment(_leaky_gradient, reads=frozenset({"inputs"}))}

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """As the input."""
        return inputs[0]


@register
class Sigmoid(_Nonnegative):
    """1 / (1 + exp(−x))."""

    name = "Sigmoid"
    treatments = {"pass": Treatment(_pass, add_to=add_alias), "gradient": Treatment(_sigmoid_gradient, reads=_OUTPUTS)}


@register
class Tanh(_Elementwise):
    """Hyperbolic tangent."""

    name = "Tanh"
    treatments = {"pass": PASS, "gradient": Treatment(_tanh_gradient, reads=_OUTPUTS)}

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """As the input."""
        return inputs[0]
