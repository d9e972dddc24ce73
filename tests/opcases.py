"""Operators to try, with what they compute in float64 by numpy and the oracle."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lrptool.graph import Graph, Node
from tests import oracle
from tests.nets import Net

SHAPE = (2, 4, 7, 6)
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=SHAPE)
EPSILON = 0.01
"""What every treatment is given."""


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape)


def preamble(net: Net) -> None:
    """Tensors of several shapes and signs made of the image x (N, 4, 7, 6)."""
    net.add("Relu", "positive", "x")
    net.add("Tanh", "bent", "x")
    net.add("GlobalAveragePool", "mean", "x")
    net.add("Sigmoid", "gate", "mean")
    net.flatten("flat", "x")
    net.max_pool("squeezed", "x", (1, 3), (1, 3))
    net.add("Sigmoid", "wide-gate", "x")
    net.add("Exp", "strong", "bent")
    net.add("Sum", "tripled", "x", "x", "x")
    net.add("Reshape", "eight", "x", shape=(8, 7, 3))
    net.add("Reshape", "even", "x", shape=(7, 4, 6))
    net.add("Reshape", "tokens", "x", shape=(6, 28))
    net.add("Reshape", "line", "x", shape=(4, 42))
    net.add("Reshape", "cube", "x", shape=(2, 3, 4, 7))
    net.add("Transpose", "turned", "x", perm=(0, 1, 3, 2))
    net.add("Softmax", "attention", "x", axis=-1)
    net.flatten("pooled", "mean")
    net.add("ReduceMean", "across", "turned", axes=(1,), keepdims=1)


def values(x: np.ndarray) -> dict[str, np.ndarray]:
    """The same by numpy."""
    mean = x.mean((2, 3), keepdims=True)
    return {
        "x": x,
        "positive": np.maximum(x, 0),
        "bent": np.tanh(x),
        "mean": mean,
        "gate": sigmoid(mean),
        "flat": x.reshape(len(x), -1),
        "squeezed": x.reshape(2, 4, 7, 2, 3).max(-1),
        "wide-gate": sigmoid(x),
        "strong": np.exp(np.tanh(x)),
        "tripled": 3 * x,
        "eight": x.reshape(-1, 8, 7, 3),
        "even": x.reshape(-1, 7, 4, 6),
        "tokens": x.reshape(-1, 6, 28),
        "line": x.reshape(-1, 4, 42),
        "cube": x.reshape(-1, 2, 3, 4, 7),
        "turned": x.swapaxes(2, 3),
        "attention": softmax(x, -1),
        "pooled": mean[:, :, 0, 0],
        "across": x.swapaxes(2, 3).mean(1, keepdims=True),
    }


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(axis, keepdims=True)


Relevance = Callable[[list[np.ndarray], list[np.ndarray]], list[np.ndarray]]
"""Inputs and relevance of the outputs → relevance of the inputs, float64."""


@dataclass(frozen=True)
class Case:
    """An operator on some of the tensors of `preamble`; ``expected`` computes its outputs in float64.

    `sign` tells whether its outputs are ≥ 0: "always", "kept" where its inputs are, or "lost". `relevance` holds what
    its treatments give, but for pass, route and gradient, which are the same for all operators.
    """

    op: str
    expected: Callable[..., Any]
    inputs: tuple[str, ...] = ("x",)
    attributes: dict[str, Any] = field(default_factory=dict)
    constants: tuple[np.ndarray, ...] = ()
    outputs: tuple[str, ...] = ("y",)
    note: str = ""
    sign: str = "kept"
    relevance: dict[str, Relevance] = field(default_factory=dict)

    def graph(self) -> Graph:
        net = Net(SHAPE[1:])
        preamble(net)
        for k, value in enumerate(self.constants):
            net.builder.constant(f"c{k}", value)
        net.builder.add(self.op, "y", self.operands, self.outputs, **self.attributes)
        return net.finish(self.outputs[0])

    @property
    def operands(self) -> tuple[str, ...]:
        """Its inputs with the constants behind the tensors, unless the tensors' names say where constants stand."""
        named = any(name in ("c0", "c1", "c2") for name in self.inputs)
        return self.inputs if named else (*self.inputs, *(f"c{k}" for k in range(len(self.constants))))

    def node(self) -> Node:
        return self.graph().node("y")

    def arrays(self) -> list[np.ndarray]:
        """Its tensor inputs."""
        made = values(X)
        return [np.ascontiguousarray(made[name]) for name in self.inputs if name in made]

    def run(self, xs: Sequence[np.ndarray]) -> list[np.ndarray]:
        result = self.expected(*xs)
        return list(result) if isinstance(result, (tuple, list)) else [result]


def conv_case(note: str, out: int, bias: np.ndarray | None, group: int, **steps: Any) -> Case:
    w = normal(out, SHAPE[1] // group, 3, 2)
    constants = (w,) if bias is None else (w, bias)
    attributes = {"kernel_shape": (3, 2), "strides": (1, 1), "pads": (0,) * 4, "dilations": (1, 1), "group": group}
    return Case(
        "Conv",
        functools.partial(oracle.conv2d, w=w, b=bias, group=group, **steps),
        attributes=attributes | steps,
        constants=constants,
        note=note,
        sign="lost",
    )


def pool_case(op: str, note: str, pool: Callable[..., np.ndarray], ceil: bool, **window: Any) -> Case:
    kernel, strides, pads = window["kernel"], window["strides"], window["pads"]
    attributes = {"kernel_shape": kernel, "strides": strides, "pads": pads, "ceil_mode": int(ceil)}
    if op == "AveragePool":
        attributes["count_include_pad"] = int(window["count_pad"])
    return Case(op, functools.partial(pool, ceil=ceil, **window), attributes=attributes, note=note)


def average_cases(note: str, ceil: bool, **window: Any) -> list[Case]:
    """With and without padding in the divisor."""
    return [
        pool_case("AveragePool", f"{note}-{word}", oracle.average_pool, ceil, count_pad=count, **window)
        for word, count in (("padded", True), ("bare", False))
    ]


def lrn_expected(x: np.ndarray, size: int, alpha: float, beta: float, k: float, within: bool) -> np.ndarray:
    windows = oracle.lrn_windows(x.shape[1:], size, within=within)
    b = alpha / (size * size if within else size)
    return np.stack([oracle.lrn(v.ravel(), windows, b=b, beta=beta, k=k) for v in x]).reshape(x.shape)


def lrn_case(op: str, size: int) -> Case:
    attributes = {"size": size, "alpha": 0.7, "beta": 0.75, "bias": 1.5}
    expected = functools.partial(lrn_expected, size=size, alpha=0.7, beta=0.75, k=1.5, within=op != "LRN")
    relevance = {name: functools.partial(lrn_relevance, attributes, op, name) for name in ("taylor", "linearised")}
    return Case(op, expected, attributes=attributes, note=f"size{size}", relevance=relevance)


def lrn_relevance(
    a: dict[str, Any], op: str, name: str, xs: list[np.ndarray], rs: list[np.ndarray]
) -> list[np.ndarray]:
    (x,), (r,) = xs, rs
    windows = oracle.lrn_windows(x.shape[1:], a["size"], within=op != "LRN")
    norm = {"b": a["alpha"] / a["size"] ** (1 if op == "LRN" else 2), "beta": a["beta"], "k": a["bias"]}
    made = []
    for v, q in zip(x.reshape(2, -1), r.reshape(2, -1), strict=True):
        if name == "taylor":
            made.append(oracle.lrn_taylor(v, q, windows, **norm, epsilon=EPSILON))
        else:
            y = oracle.lrn(v, windows, **norm)
            made.append(v * (oracle.lrn_jacobian(v, windows, **norm).T @ (q / oracle.stabilise(y, EPSILON))))
    return [np.stack(made).reshape(x.shape)]


def norm_case(inputs: str, rank: int) -> Case:
    channels = 4 if rank == 4 else 168
    scale, shift, mean, variance = normal(channels), normal(channels), normal(channels), normal(channels) ** 2
    spread = (slice(None), *(None,) * (rank - 2))

    def expected(x: np.ndarray) -> np.ndarray:
        root = np.sqrt(variance + 0.01)[spread]
        return (x - mean[spread]) / root * scale[spread] + shift[spread]

    constants, attributes = (scale, shift, mean, variance), {"epsilon": 0.01}
    return Case("BatchNormalization", expected, (inputs,), attributes, constants, note=f"rank{rank}", sign="lost")


ODD = {"kernel": (3, 2), "strides": (2, 1), "pads": (1, 0, 2, 1)}
WIDE = {"kernel": (3, 4), "strides": (2, 3), "pads": (1, 1, 1, 1)}
CLIPPED = {
    "kernel": (2, 3),
    "strides": (4, 3),
    "pads": (1, 1, 1, 1),
}  # a last row of windows would begin in the padding
DENSE = normal(5, 168)
CASES = [
    conv_case("plain", 5, normal(5), 1),
    conv_case("odd", 5, normal(5), 1, strides=(2, 1), pads=(1, 0, 2, 1), dilations=(1, 3)),
    conv_case("groups-nobias", 6, None, 2, strides=(1, 2)),
    conv_case("depthwise", 8, normal(8), 4, dilations=(2, 1)),
    Case("Gemm", lambda x: x @ DENSE.T + 0.5, ("flat",), constants=(DENSE, np.full(5, 0.5)), sign="lost"),
    Case("Gemm", lambda x: x @ DENSE.T, ("flat",), constants=(DENSE,), note="nobias", sign="lost"),
    pool_case("MaxPool", "floor", oracle.max_pool, False, **ODD),
    pool_case("MaxPool", "ceil", oracle.max_pool, True, **WIDE),
    pool_case("MaxPool", "ceil-nopad", oracle.max_pool, True, kernel=(3, 3), strides=(2, 2), pads=(0, 0, 0, 0)),
    pool_case("MaxPool", "ceil-clipped", oracle.max_pool, True, **CLIPPED),
    *average_cases("ceil-clipped", True, **CLIPPED),
    *average_cases("floor", False, **ODD),
    *average_cases("ceil", True, **WIDE),
    *average_cases("ceil-nopad", True, kernel=(3, 3), strides=(2, 2), pads=(0, 0, 0, 0)),
    Case("GlobalMaxPool", lambda x: x.max((2, 3), keepdims=True)),
    Case("GlobalAveragePool", lambda x: x.mean((2, 3), keepdims=True)),
    *[lrn_case("LRN", size) for size in (1, 3, 5)],
    *[lrn_case("LRNWithinChannel", size) for size in (1, 3, 4)],
    norm_case("x", 4),
    norm_case("flat", 2),
    Case("Dropout", lambda x: x),
    Case("Identity", lambda x: x),
    Case("Concat", lambda *xs: np.concatenate(xs, 1), ("x", "bent"), {"axis": 1}),
    Case("Concat", lambda *xs: np.concatenate(xs, 3), ("squeezed", "x"), {"axis": -1}, note="last-axis"),
    Case("Split", lambda x: np.split(x, [1], 1), ("x",), {"axis": 1, "split": (1, 3)}, outputs=("y", "z")),
    Case("Split", lambda x: np.split(x, [2, 3], 2), ("x",), {"axis": -2, "split": (2, 1, 4)}, outputs=("y", "z", "q")),
    Case("Flatten", lambda x: x.reshape(-1, 168), attributes={"axis": 1}),
    Case("Reshape", lambda x: x.reshape(-1, 6, 28), attributes={"shape": (6, -1)}),
    Case("Sum", lambda *xs: sum(xs), ("x", "bent", "positive")),
    Case("Sum", lambda *xs: sum(xs), ("mean", "x"), note="broadcast"),
]
