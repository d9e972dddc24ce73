"""How far float32 can be from the truth: where a rule divides by what has cancelled, and how much it adds up.

A sum of large terms that nearly cancel has few correct digits left, and no implementation can divide by it well. So
tests put relevance only where every denominator keeps a good part of its terms, and measure errors against the sum of
the magnitudes of all contributions.
"""

from __future__ import annotations

import numpy as np

from lrptool.ops import WeightPart
from lrptool.rules import InputPart, Rule, Share
from tests import oracle
from tests.test_rules import HIGH, LOW, Layer

KEPT = 0.1
"""Smallest part of its terms' magnitudes that a denominator may keep."""
DIGIT, TINY = float(np.finfo(np.float32).eps), float(np.finfo(np.float32).tiny)

Array = np.ndarray


class Condition:
    """One rule on one item of a layer, term by term.

    Parameters
    ----------
    layer : Layer
    x : float64 (I,)
    rule : Rule
    """

    def __init__(self, layer: Layer, x: Array, rule: Rule) -> None:
        self._layer, self._x, self._rule = layer, x, rule
        self._bias = np.zeros(len(layer.W)) if layer.b is None else layer.per_output(layer.b)

    def good(self) -> Array:
        """Return the outputs (J,) whose denominators, and whose signs, can be trusted."""
        return self._lost() * KEPT <= 1

    def _lost(self) -> Array:
        """Return how many times larger (J,) an output's terms are than its denominator or, where it counts, itself."""
        lost = [np.ones(len(self._bias))]
        for share in self._rule.shares:
            if share.normalised:
                terms = [np.abs(self._weights(term.w)) @ np.abs(self._input(term.x)) for term in share.terms]
                lost.append(_ratio(sum(terms) + np.abs(self._bias), self._denominator(share)))
            if share.where != "everywhere":
                lost.append(self._cancelled())
        return np.maximum.reduce(lost)

    def _cancelled(self) -> Array:
        """Return the same of the outputs themselves."""
        W, x, b = self._layer.W, self._x, self._bias
        return _ratio(np.abs(W) @ np.abs(x) + np.abs(b), W @ x + b)

    def defined(self) -> bool:
        """Whether no denominator is zero over zero: a stabiliser relative to nothing is nothing."""
        normalised = [share for share in self._rule.shares if share.normalised]
        relative = bool(normalised) and self._rule["relative"]
        return not relative or all(self._denominator(share).any() for share in normalised)

    def magnitudes(self, R: Array) -> Array:
        """Return the sum of magnitudes (I,) that relevance of magnitude R (J,) brings to every input."""
        total = np.zeros(len(self._x))
        for share in self._rule.shares:
            s = R / oracle.stabilise(self._denominator(share), **self._stabiliser()) if share.normalised else R
            for term in share.terms:
                brought = np.abs(self._weights(term.w)).T @ np.abs(s)
                total += abs(share.coefficient) * np.abs(self._input(term.x)) * brought
        return total

    def uncertain(self, R: Array) -> Array:
        """Return magnitudes R (J,) that a layer behind handed to this one's outputs, raised where those nearly cancel.

        They are in proportion to the outputs, or divided by them, and no more certain than they are.
        """
        return R * np.maximum(1, KEPT * np.maximum(self._lost(), self._cancelled()))

    def _stabiliser(self) -> dict[str, object]:
        return {key: self._rule[key] for key in ("epsilon", "clip", "relative")}

    def _denominator(self, share: Share) -> Array:
        products = [term.sign * (self._weights(term.w) @ self._input(term.x)) for term in share.terms]
        return sum(products) + (0 if share.bias is None else share.bias.of(self._bias))

    def _weights(self, part: WeightPart) -> Array:
        return self._layer.connected if part.kind == "one" else part.of(self._layer.W)

    def _input(self, part: InputPart) -> Array:
        x = self._x
        constants = {"one": 1.0, "low": LOW, "high": HIGH}
        if part in constants:
            return np.full_like(x, constants[part])
        return {"all": x, "pos": oracle.pos(x), "neg": oracle.neg(x)}[part]


def _ratio(terms: Array, total: Array) -> Array:
    """Return terms / |total|: one where there are no terms, no more than float32 has digits where they cancel."""
    return np.where(terms == 0, 1, terms / np.maximum(np.abs(total), DIGIT * terms + TINY))
