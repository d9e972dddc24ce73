"""Elementwise functions of one input."""

from __future__ import annotations

from typing import Any

import numpy as np

from lrptool.loaders.onnx.layout import Known
from lrptool.loaders.onnx.translate.elementwise import combine, scaled
from lrptool.loaders.onnx.translate.registry import MICROSOFT, Step, translates

Defaults = dict[str, float]

_AS_THEY_STAND = (
    *("Relu", "Sigmoid", "Tanh", "HardSwish", "Mish", "Softplus", "Erf", "Abs", "Neg", "Exp", "Log", "Sqrt"),
    "Reciprocal",
)
_WITH_NUMBERS: dict[str, Defaults] = {
    "LeakyRelu": {"alpha": 0.01},
    "Elu": {"alpha": 1.0},
    "Celu": {"alpha": 1.0},
    "Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
}
_FIRST_SELU = {"alpha": 1.6732, "gamma": 1.0507}
"""Its defaults had fewer digits in the first version."""


@translates(*_AS_THEY_STAND)
def function(step: Step) -> None:
    """A function without attributes."""
    step.put(step.apply(step.proto.op_type, step.tensor()))


@translates(*_WITH_NUMBERS)
def parametric(step: Step) -> None:
    """A function with numbers, the defaults written out."""
    op = step.proto.op_type
    defaults = _FIRST_SELU if op == "Selu" and step.version < 6 else _WITH_NUMBERS[op]
    numbers: dict[str, Any] = {key: step.number(key, default) for key, default in defaults.items()}
    step.put(step.apply(op, step.tensor(), **numbers))


@translates("Gelu")
def gelu(step: Step) -> None:
    """By the error function, or by its approximation through tanh."""
    step.put(step.apply("Gelu", step.tensor(), approximate=step.text("approximate", "none")))


@translates("Swish")
def swish(step: Step) -> None:
    """x · sigmoid(alpha · x)."""
    step.put(step.apply("Swish", step.tensor(), beta=step.number("alpha", 1.0)))


@translates("Softsign")
def softsign(step: Step) -> None:
    """x / (1 + |x|)."""
    tensor = step.tensor()
    size = step.apply("Abs", tensor, role="size")
    below = combine(step, "Sum", [size, Known((np.array(1.0),))], role="below")
    step.put(combine(step, "Div", [tensor, below]))


@translates("Gelu", domain=MICROSOFT)
def exact_gelu(step: Step) -> None:
    """By the error function."""
    step.put(step.apply("Gelu", step.tensor(), approximate="none"))


@translates("BiasGelu", "FastGelu", domain=MICROSOFT)
def biased_gelu(step: Step) -> None:
    """Gelu of a sum."""
    tensor = step.tensor()
    if step.has(1):
        tensor = combine(step, "Sum", [tensor, step.known(1)], role="bias")
    fast = step.proto.op_type == "FastGelu"
    step.put(step.apply("Gelu", tensor, approximate="tanh" if fast else "none"))


@translates("QuickGelu", domain=MICROSOFT)
def quick_gelu(step: Step) -> None:
    """x · sigmoid(alpha · x)."""
    step.put(step.apply("Swish", step.tensor(), beta=step.number("alpha", 1.702)))


@translates("ScaledTanh")
def scaled_tanh(step: Step) -> None:
    """alpha · tanh(beta · x), of the first version."""
    inner = scaled(step, step.tensor(), np.array(step.number("beta", 1.0)), role="scaled")
    step.put(scaled(step, step.apply("Tanh", inner, role="tanh"), np.array(step.number("alpha", 1.0))))
