"""Elementwise functions and softmaxes to try."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.opcases import Case, normal, sigmoid, softmax

erf = np.vectorize(math.erf)


def function(op: str, expected: Callable[..., np.ndarray], sign: str = "kept", x: str = "x", **attributes: Any) -> Case:
    note = "-".join(str(value) for value in attributes.values())
    return Case(op, expected, (x,), attributes, sign=sign, note=note)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def clip_case(low: float, high: float, sign: str) -> Case:
    def let_through(xs: list[np.ndarray], rs: list[np.ndarray]) -> list[np.ndarray]:
        return [np.where((rs[0] > 0) & (xs[0] > low) & (xs[0] < high), rs[0], 0)]

    return Case(
        "Clip",
        lambda x: np.clip(x, low, high),
        attributes={"min": low, "max": high},
        sign=sign,
        note=f"{low}-{high}",
        relevance={"guided": let_through},
    )


def attention_relevance(axis: int) -> Callable[[list[np.ndarray], list[np.ndarray]], list[np.ndarray]]:
    """The definition, value by value along the axis: the Jacobian s_j (1[i = j] − s_i) at x, with R_j / s_j before."""

    def relevance(xs: list[np.ndarray], rs: list[np.ndarray]) -> list[np.ndarray]:
        x, r = (np.moveaxis(array, axis, -1) for array in (xs[0], rs[0]))
        back = np.zeros_like(x)
        for index in np.ndindex(x.shape[:-1]):
            s = softmax(x[index], -1)
            jacobian = np.diag(s) - np.outer(s, s)
            back[index] = x[index] * (jacobian.T @ (r[index] / s))
        return [np.moveaxis(back, -1, axis)]

    return relevance


def softmax_case(axis: int, x: str = "x") -> Case:
    relevance = {"attnlrp": attention_relevance(axis), "cp-lrp": lambda _, rs: [0 * rs[0]]}
    attributes = {"axis": axis}
    return Case(
        "Softmax", lambda x: softmax(x, axis), (x,), attributes, sign="always", note=f"axis{axis}", relevance=relevance
    )


SLOPES = normal(4, 1, 1)
SELU = {"alpha": 1.6732632, "gamma": 1.0507009}
CASES = [
    function("Relu", lambda x: np.maximum(x, 0), "always"),
    function("LeakyRelu", lambda x: np.where(x > 0, x, 0.125 * x), alpha=0.125),
    Case("PRelu", lambda x: np.where(x > 0, x, SLOPES * x), constants=(SLOPES,)),
    Case("PRelu", lambda x: np.where(x > 0, x, 0.25 * x), ("tokens",), constants=(np.full(1, 0.25),), note="one"),
    clip_case(-0.5, 0.75, "kept"),
    clip_case(0.0, math.inf, "always"),
    clip_case(-math.inf, 1.0, "kept"),
    clip_case(-math.inf, math.inf, "kept"),
    clip_case(-1.0, -0.25, "lost"),
    clip_case(0.25, 6.0, "always"),
    function("Abs", np.abs, "always"),
    function("Neg", np.negative, "lost"),
    function("ThresholdedStep", lambda x: (x > 0.3) * 1.0, "always", threshold=0.3),
    function("HardSigmoid", lambda x: np.clip(0.3 * x + 0.4, 0, 1), "always", alpha=0.3, beta=0.4),
    function("HardSwish", lambda x: x * np.clip(x / 6 + 0.5, 0, 1), x="tripled"),
    function("Sigmoid", sigmoid, "always"),
    function("Tanh", np.tanh),
    function("Erf", erf),
    function("Softplus", softplus, "always"),
    function("Elu", lambda x: np.where(x > 0, x, 1.5 * np.expm1(x)), alpha=1.5),
    function("Selu", lambda x: 1.0507009 * np.where(x > 0, x, 1.6732632 * np.expm1(x)), **SELU),
    function("Celu", lambda x: np.maximum(x, 0) + np.minimum(0, 0.7 * np.expm1(x / 0.7)), alpha=0.7),
    function("Mish", lambda x: x * np.tanh(softplus(x))),
    function("Swish", lambda x: x * sigmoid(x), beta=1.0),
    function("Swish", lambda x: x * sigmoid(1.7 * x), beta=1.7),
    function("Gelu", lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))), approximate="none"),
    function("Gelu", gelu_tanh, approximate="tanh"),
    function("Exp", np.exp, "always"),
    function("Log", np.log, "lost", x="strong"),
    function("Sqrt", np.sqrt, "always", x="strong"),
    function("Reciprocal", lambda x: 1 / x, x="strong"),
    function("Power", lambda x: x, power=1.0, scale=1.0, shift=0.0),
    function("Power", lambda x: 0.25 - 2 * x, "lost", power=1.0, scale=-2.0, shift=0.25),
    function("Power", lambda x: (1 + 2 * x) ** 2, "always", power=2.0, scale=2.0, shift=1.0),
    function("Power", lambda x: (0.5 + x) ** 3, power=3.0, scale=1.0, shift=0.5),
    function("Power", lambda x: (0.5 + 2 * x) ** -0.75, x="strong", power=-0.75, scale=2.0, shift=0.5),
    softmax_case(1),
    softmax_case(-1),
    softmax_case(2, "tokens"),
    Case("LogSoftmax", lambda x: np.log(softmax(x, 1)), attributes={"axis": 1}, sign="lost"),
    Case("LogSoftmax", lambda x: np.log(softmax(x, -1)), ("tokens",), {"axis": -1}, sign="lost", note="tokens"),
]
