"""Sums, products, extremes and matrix products to try."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from tests import oracle
from tests.opcases import EPSILON, Case, Relevance, normal


def to_signal(k: int, axes: tuple[int, ...] = ()) -> Relevance:
    """All relevance to input k, summed over the axes it was broadcast along; nothing to the others."""

    def relevance(xs: list[np.ndarray], rs: list[np.ndarray]) -> list[np.ndarray]:
        shares = [np.zeros(x.shape) for x in xs]
        shares[k] = rs[0].sum(axes, keepdims=True)
        return shares

    return relevance


def alike(*axes: tuple[int, ...]) -> Relevance:
    """The same part to each input, summed over the axes it was broadcast along."""
    return lambda xs, rs: [rs[0].sum(along, keepdims=True) / len(xs) for along in axes]


def product_case(note: str, inputs: tuple[str, ...], signal: int, *axes: tuple[int, ...], **more: Any) -> Case:
    """`axes` are those each tensor is broadcast along."""
    constants = more.get("constants", ())
    relevance = {"signal-takes-all": to_signal(signal, axes[signal]), "attnlrp": alike(*axes)}
    return Case("Mul", lambda *xs: math.prod([*xs, *constants]), inputs, note=note, relevance=relevance, **more)


def quotient_case(note: str, inputs: tuple[str, ...], **more: Any) -> Case:
    def expected(*xs: np.ndarray) -> np.ndarray:
        above, below = [*xs, FACTOR][:2] if inputs[0] == "x" else (FACTOR, *xs)
        return above / below

    return Case("Div", expected, inputs, note=note, relevance={"signal-takes-all": to_signal(0)}, **more)


def bilinear_relevance(factors: tuple[float, float], xs: list[np.ndarray], rs: list[np.ndarray]) -> list[np.ndarray]:
    """Matrix by matrix, each factor's part by the epsilon rule of the dense layer that the other one is."""
    a, b = xs
    back = [np.zeros_like(a), np.zeros_like(b)]
    for lead in np.ndindex(rs[0].shape[:-2]):
        at = tuple(k if size > 1 else 0 for k, size in zip(lead, b.shape[:-2], strict=True))
        for i, row in enumerate(a[lead]):
            back[0][lead][i] += factors[0] * oracle.epsilon(b[at].T, row, None, rs[0][lead][i], epsilon=EPSILON)
        for j, column in enumerate(b[at].T):
            back[1][at][:, j] += factors[1] * oracle.epsilon(a[lead], column, None, rs[0][lead][:, j], epsilon=EPSILON)
    return back


def bilinear_case(note: str, inputs: tuple[str, str], values: int = 1) -> Case:
    relevance = {
        "attnlrp": functools.partial(bilinear_relevance, (0.5, 0.5)),
        "cp-lrp": functools.partial(bilinear_relevance, (0.0, 1.0) if values else (1.0, 0.0)),
    }
    return Case("BilinearMatMul", lambda a, b: a @ b, inputs, note=note, relevance=relevance)


FACTOR, SHIFT, W, B, LEFT = normal(1, 4, 1, 1), normal(4, 1, 1), normal(6, 5), normal(5), normal(3, 7)
TABLE = normal(3, 5)
BATCHED = normal(1, 4, 6, 5)
CASES = [
    Case("Sum", lambda *xs: sum(xs), ("x", "bent", "positive")),
    Case("Sum", lambda *xs: sum(xs), ("mean", "x"), note="broadcast"),
    Case("Sum", lambda *xs: xs[0] - xs[1], ("x", "bent"), {"coefficients": (1.0, -1.0)}, sign="lost", note="minus"),
    Case("Sum", lambda *xs: xs[0] - xs[1], ("x", "mean"), {"coefficients": (1.0, -1.0)}, sign="lost", note="less-mean"),
    Case("Sum", lambda *xs: (xs[0] + xs[1]) / 2 + xs[2], ("x", "bent", "gate"),
         {"coefficients": (0.5, 0.5, 1.0)}, note="weighted"),
    Case("Sum", lambda x: 2 * x - 3 * SHIFT, ("x",), {"coefficients": (2.0, -3.0)}, (SHIFT,), sign="lost", note="bias"),
    product_case("", ("x", "bent"), 0, (), ()),
    product_case("gate", ("gate", "x"), 1, (2, 3), ()),
    product_case("wide-gate", ("wide-gate", "mean"), 1, (), (2, 3)),
    product_case("broadcast", ("mean", "x"), 1, (2, 3), ()),
    product_case("constant", ("x",), 0, (), constants=(FACTOR,), sign="lost"),
    product_case("constant-first", ("c0", "positive"), 0, (), constants=(FACTOR,), sign="lost"),
    quotient_case("", ("x", "strong")),
    quotient_case("broadcast", ("x", "gate")),
    quotient_case("constant", ("x",), constants=(FACTOR,), sign="lost"),
    quotient_case("constant-above", ("c0", "strong"), constants=(FACTOR,), sign="lost"),
    Case("Max", lambda *xs: np.maximum.reduce(xs), ("wide-gate", "x")),
    Case("Max", lambda x: np.maximum(x, FACTOR), ("x",), constants=(FACTOR,), note="constant"),
    Case("Max", np.maximum, ("mean", "x"), note="broadcast"),
    Case("Min", lambda *xs: np.minimum.reduce(xs), ("bent", "wide-gate", "strong")),
    Case("Min", np.minimum, ("x", "mean"), note="broadcast"),
    Case("Lookup", lambda x: TABLE[np.clip(x, 0, 2).astype(int)], ("tripled",), constants=(TABLE,), sign="lost",
         relevance={"route": lambda _, rs: [np.einsum("...d->...", rs[0])]}),
    Case("MatMul", lambda x: x @ W + B, ("x",), constants=(W, B), sign="lost"),
    Case("MatMul", lambda x: x @ BATCHED, ("x",), constants=(BATCHED,), sign="lost", note="batched"),
    Case("MatMul", lambda x: LEFT @ x, ("c0", "x"), constants=(LEFT,), sign="lost", note="left"),
    Case("MatMul", lambda x: x @ W[:4], ("pooled",), constants=(W[:4],), sign="lost", note="rank2"),
    bilinear_case("", ("x", "turned")),
    bilinear_case("broadcast", ("x", "across")),
    bilinear_case("attention", ("attention", "turned")),
    bilinear_case("attention-right", ("turned", "attention"), values=0),
]  # fmt: skip
