"""Operators that onnxruntime makes of several when it saves an optimised network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lrptool.loaders.onnx.layout import Known, Tensor
from lrptool.loaders.onnx.translate.elementwise import clipped, combine, scaled
from lrptool.loaders.onnx.translate.linear import convolved, gemm_sum, product
from lrptool.loaders.onnx.translate.movement import transpose
from lrptool.loaders.onnx.translate.normalization import normalised
from lrptool.loaders.onnx.translate.registry import MICROSOFT, Step, translates
from lrptool.loaders.onnx.translate.state import Value

_HINT = "save the network without onnxruntime's optimisations"


def _leaky(step: Step, x: Tensor, numbers: tuple[float, ...]) -> Tensor:
    """A slope below zero."""
    return step.apply("LeakyRelu", x, alpha=numbers[0] if numbers else 0.01)


def _clip(step: Step, x: Tensor, numbers: tuple[float, ...]) -> Tensor:
    """Between two numbers."""
    low, high = numbers
    return clipped(step, x, low, high)


def _hard_sigmoid(step: Step, x: Tensor, numbers: tuple[float, ...]) -> Tensor:
    """A line between 0 and 1."""
    alpha, beta = numbers or (0.2, 0.5)
    return step.apply("HardSigmoid", x, alpha=alpha, beta=beta)


_ACTIVATIONS: dict[str, Callable[[Step, Tensor, tuple[float, ...]], Tensor]] = {
    "Relu": lambda step, x, _: step.apply("Relu", x),
    "Sigmoid": lambda step, x, _: step.apply("Sigmoid", x),
    "Tanh": lambda step, x, _: step.apply("Tanh", x),
    "LeakyRelu": _leaky,
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
}


def _activated(step: Step, x: Tensor) -> Tensor:
    """Return a tensor behind the activation that a node names."""
    name = step.text("activation")
    if not name:
        return x
    if name not in _ACTIVATIONS:
        raise step.unsupported(f"has the activation {name!r}", _HINT)
    numbers = step.floats("activation_params")
    if not numbers and step.given("activation_alpha"):
        numbers = (step.number("activation_alpha"), step.number("activation_beta"))
    return _ACTIVATIONS[name](step, x, numbers[:1] if name == "LeakyRelu" else numbers)


@translates("FusedConv", domain=MICROSOFT)
def fused_conv(step: Step) -> None:
    """Convolution, a sum with another tensor, an activation."""
    made = convolved(step, step.tensor(), [step.known(k) for k in (1, 2) if step.has(k)], role="conv")
    if step.has(3):
        made = combine(step, "Sum", [made, step.value(3)], role="sum")
    step.put(_activated(step, made))


@translates("FusedGemm", domain=MICROSOFT)
def fused_gemm(step: Step) -> None:
    """Gemm and an activation."""
    step.put(_activated(step, gemm_sum(step, role="product")))


@translates("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_matmul(step: Step) -> None:
    """alpha times the product of two factors, either transposed in its last axes."""
    a, b = _turned(step, 0, "A"), _turned(step, 1, "B")
    step.put(scaled(step, product(step, a, b, role="product"), np.array(step.number("alpha", 1.0))))


def _turned(step: Step, index: int, which: str) -> Value:
    """Return a factor with its first axis behind those of the stack, and its last two exchanged, where asked."""
    value = step.value(index)
    rank = value.rank if isinstance(value, Tensor) else step.array(index).ndim
    perm = list(range(rank))
    if step.integer(f"transBatch{which}"):
        perm = [*perm[1:-1], 0, perm[-1]]
    if step.integer(f"trans{which}"):
        perm[-2:] = perm[:-3:-1]
    if isinstance(value, Tensor):
        return transpose(step, value, tuple(perm))
    return Known((step.array(index).transpose(perm),))


@translates("SkipLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(step: Step) -> None:
    """A sum of two tensors and a bias, normalised; the sum itself is the fourth output."""
    parts = [step.value(0), step.value(1), *([step.value(4)] if step.has(4) else [])]
    total = combine(step, "Sum", parts, role="sum")
    step.put(normalised(step, total, "LayerNormalization", {2: "scale", 3: "bias"}))
    step.put(total, 3)


@translates("SimplifiedLayerNormalization")
@translates("SimplifiedLayerNormalization", domain=MICROSOFT)
def simplified(step: Step) -> None:
    """By the root of the mean square."""
    step.put(normalised(step, step.tensor(), "RMSNormalization", {1: "scale"}))


@translates("LayerNormalization", domain=MICROSOFT)
def layer_normalization(step: Step) -> None:
    """As ONNX's own."""
    step.put(normalised(step, step.tensor(), "LayerNormalization", {1: "scale", 2: "bias"}))
