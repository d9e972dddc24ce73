"""Rough mean squares of tensors, so that seeded weights keep every layer's output near what it read.

A trained batch normalisation divides by the deviation of what it gets. One that divides by 1 instead lets a network of
a hundred residual blocks grow without bound: its random twin needs an estimate of that deviation. Nothing else does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from lrptool.graph import Array, Attribute

PIXELS = 64.0**2
"""Of an image: values up to 255 about their mean."""

_LIMITS = (1e-6, 1e9)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a node's output depends on: mean squares of its tensors and constants, and the constants themselves."""

    squares: Sequence[float]
    constants: Sequence[Array]
    attributes: Mapping[str, Attribute]

    def number(self, key: str) -> float:
        """Return a number among the attributes."""
        value = self.attributes[key]
        return float(value) if isinstance(value, (int, float)) else 0.0


def _normalised(seen: _Seen) -> float:
    """Behind a batch normalisation: mean square of scale · x / deviation, plus that of the shift."""
    scale, shift, mean, variance = (constant.astype(np.float64) for constant in seen.constants)
    factor = scale / np.sqrt(np.maximum(variance + seen.number("epsilon"), 1e-12))
    return float(np.mean(factor**2)) * seen.squares[0] + float(np.mean((shift - factor * mean) ** 2))


def _summed(seen: _Seen) -> float:
    """Independent terms: their mean squares add up."""
    factors = seen.attributes.get("coefficients") or (1.0,) * len(seen.squares)
    pairs = zip(factors if isinstance(factors, tuple) else (), seen.squares, strict=False)
    return sum(float(factor) ** 2 * square for factor, square in pairs)


_ESTIMATES: dict[str, Callable[[_Seen], float]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), lambda seen: 2 * seen.squares[0]),
    **dict.fromkeys(("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Swish"), lambda seen: seen.squares[0] / 2),
    **dict.fromkeys(("Sigmoid", "HardSigmoid", "ThresholdedStep"), lambda _: 0.3),
    **dict.fromkeys(("MVN", "Softmax"), lambda _: 1.0),
    "BatchNormalization": _normalised,
    "MaxPool": lambda seen: 2 * seen.squares[0],
    "Clip": lambda seen: min(seen.squares[0] / 2, seen.number("max") ** 2),
    "Mul": lambda seen: prod(seen.squares),
    "Sum": _summed,
    "Tanh": lambda seen: seen.squares[0] / (1 + seen.squares[0]),
}
"""By operator; where there is none, the largest of its inputs."""


def spread_of(
    op: str, squares: Sequence[float], constants: Sequence[Array], attributes: Mapping[str, Attribute]
) -> float:
    """Return the estimated mean square of a node's output.

    Parameters
    ----------
    op : str
    squares : sequence of float
        Mean squares of all inputs.
    constants : sequence of array
        Those inputs that are constants.
    attributes : mapping
    """
    estimate = _ESTIMATES.get(op)
    seen = _Seen(squares, constants, attributes)
    value = estimate(seen) if estimate else max(squares, default=1.0)
    return min(max(value, _LIMITS[0]), _LIMITS[1])
