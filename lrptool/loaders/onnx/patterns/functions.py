"""Activation functions that files spell out: what a part of a graph does to every number, by trying it."""

from __future__ import annotations

from collections.abc import Callable
from math import erf

import numpy as np

from lrptool.graph import Attribute, Graph
from lrptool.loaders.onnx.patterns.cones import BENT, FUNCTIONS, Cone, Numbers, computed, cones
from lrptool.loaders.onnx.patterns.rewrite import Rewrite

_GRID = np.concatenate([np.linspace(-8, 8, 129), [-30.0, -0.3, 0.7, 30.0]])
_CLOSE = 2e-6
"""Of the largest value: files keep their numbers in float32."""
Attributes = dict[str, Attribute]


def _at(x: float, y: Numbers) -> float:
    """Return the value at a point of the grid."""
    return float(y[int(np.argmin(np.abs(_GRID - x)))])


def _sigmoid(x: Numbers) -> Numbers:
    """1 / (1 + exp(−x))."""
    return np.exp(-np.logaddexp(0, -x))


def _gelu(_: Numbers) -> tuple[Attributes, Numbers]:
    """By the error function."""
    phi = np.array([(1 + erf(x / np.sqrt(2))) / 2 for x in _GRID])
    return {"approximate": "none"}, _GRID * phi


def _gelu_tanh(_: Numbers) -> tuple[Attributes, Numbers]:
    """Through tanh."""
    inner = np.sqrt(2 / np.pi) * (_GRID + 0.044715 * _GRID**3)
    return {"approximate": "tanh"}, _GRID * (1 + np.tanh(inner)) / 2


def _swish(y: Numbers) -> tuple[Attributes, Numbers]:
    """x · sigmoid(beta · x), beta from the value at 1."""
    share = _at(1, y)
    if not 0 < share < 1:
        return {}, np.full_like(y, np.inf)
    beta = float(np.float32(np.log(share / (1 - share))))
    return {"beta": beta}, _GRID * _sigmoid(beta * _GRID)


def _hard_sigmoid(y: Numbers) -> tuple[Attributes, Numbers]:
    """A line between 0 and 1, from the values at 0 and beside it."""
    beta = float(np.float32(_at(0, y)))
    alpha = float(np.float32((_at(0.125, y) - _at(0, y)) / 0.125))
    return {"alpha": alpha, "beta": beta}, np.clip(alpha * _GRID + beta, 0, 1)


def _clip(y: Numbers) -> tuple[Attributes, Numbers]:
    """Between two numbers."""
    low, high = float(np.float32(y.min())), float(np.float32(y.max()))
    bounds = {"min": low if low > -30 else -np.inf, "max": high if high < 30 else np.inf}
    return dict(bounds), np.clip(_GRID, bounds["min"], bounds["max"])


def _leaky(y: Numbers) -> tuple[Attributes, Numbers]:
    """A slope below zero."""
    alpha = float(np.float32(-_at(-1, y)))
    return {"alpha": alpha}, np.where(_GRID < 0, alpha * _GRID, _GRID)


def _plain(f: Callable[[Numbers], Numbers]) -> Callable[[Numbers], tuple[Attributes, Numbers]]:
    """A function without numbers of its own."""
    return lambda _: ({}, f(_GRID))


_CATALOGUE: dict[str, list[Callable[[Numbers], tuple[Attributes, Numbers]]]] = {
    "Gelu": [_gelu, _gelu_tanh],
    "Relu": [_plain(lambda x: np.maximum(x, 0))],
    "HardSwish": [_plain(lambda x: x * np.clip(x / 6 + 0.5, 0, 1))],
    "Mish": [_plain(lambda x: x * np.tanh(np.logaddexp(0, x)))],
    "Softplus": [_plain(lambda x: np.logaddexp(0, x))],
    "Sigmoid": [_plain(_sigmoid)],
    "Tanh": [_plain(np.tanh)],
    "Swish": [_swish],
    "HardSigmoid": [_hard_sigmoid],
    "LeakyRelu": [_leaky],
    "Clip": [_clip],
}


def recognise_functions(graph: Graph) -> Graph:
    """Put one operator where a file has several for one activation function."""
    rewrite = Rewrite(graph)
    done: set[str] = set()
    for cone in cones(graph):
        if cone.end.name in done or not cone.ops <= FUNCTIONS or not cone.ops & BENT:
            continue
        if any(graph.tensors[node.outputs[0]].shape != graph.tensors[cone.root].shape for node in cone.nodes):
            continue
        found = _named(graph, cone)
        if found is None:
            continue
        op, attributes = found
        rewrite.put(cone.end, rewrite.node(op, cone.end.name, [cone.root], cone.end.outputs[0], attributes))
        done.update(node.name for node in cone.nodes)
    return rewrite.made()


def _named(graph: Graph, cone: Cone) -> tuple[str, Attributes] | None:
    """Return the operator that does what a part of a graph does; None where there is none."""
    y = computed(graph, cone, _GRID)
    if y.shape != _GRID.shape or not np.isfinite(y[:-4]).all():
        return None
    for op, candidates in _CATALOGUE.items():
        for candidate in candidates:
            attributes, wanted = candidate(y)
            error = np.abs(y - wanted)[np.isfinite(y)]
            if error.max() <= _CLOSE * max(1.0, float(np.abs(y[:129]).max())):
                return op, attributes
    return None
