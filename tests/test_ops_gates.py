"""Which factor of a product carries the signal: gates are found behind what exporters put between."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lrptool.ops import Passage, operator
from tests.nets import Net

Gate = Callable[[Net], str]


def spelled_hard_sigmoid(net: Net) -> str:
    three, six = (net.builder.constant(name, np.array([value])) for name, value in (("three", 3.0), ("six", 6.0)))
    clipped = net.add("Clip", "clipped", net.add("Sum", "shifted", "other", three), min=0.0, max=6.0)
    return net.add("Div", "sixth", clipped, six)


def spelled_gelu(net: Net) -> str:
    one = net.builder.constant("one", np.array([1.0]))
    return net.add("Sum", "plus1", net.add("Erf", "erf", "x"), one)


def expanded(net: Net) -> str:
    mean = net.add("ReduceMean", "mean", "other", axes=(2, 3), keepdims=1)
    return net.add("Expand", "wide", net.add("Sigmoid", "gate", mean), shape=(3, 7, 6))


def one_of_several(net: Net) -> str:
    """Branches weighted by a softmax over branches, as in selective kernels."""
    both = net.add("Reshape", "both", net.add("Concat", "beside", "x", "other", axis=1), shape=(2, 3, 7, 6))
    weights = net.add("Softmax", "branches", both, axis=1)
    return net.add("Gather", "first", weights, axis=1, indices=(0,), indices_shape=())


GATES: dict[str, Gate] = {
    "sigmoid": lambda net: net.add("Sigmoid", "gate", "other"),
    "step": lambda net: net.add("ThresholdedStep", "gate", "other", threshold=0.0),
    "hard-sigmoid-in-words": spelled_hard_sigmoid,
    "gelu-in-words": spelled_gelu,
    "expanded": expanded,
    "one-of-several": one_of_several,
    "tanh-beside-none": lambda net: net.add("Tanh", "gate", "other"),
}


def taker(net: Net, *factors: str) -> int:
    """Position of the factor that gets the relevance of a product."""
    net.add("Mul", "y", *factors)
    graph = net.finish("y")
    node, r = graph.node("y"), np.ones((2, 3, 7, 6))
    shares = operator("Mul").treatment(node, "signal-takes-all").redistribute(Passage(node, graph, (), (), (r,), 0.0))
    assert [bool(share.any()) for share in shares].count(True) == 1
    return int(np.argmax([share.sum() for share in shares]))


def start() -> Net:
    net = Net()
    net.add("Neg", "other", "x")
    net.add("Sigmoid", "sure", "x")
    return net


@pytest.mark.parametrize("turn", [1, -1], ids=["gate-last", "gate-first"])
@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_the_gate_gets_nothing(gate: Gate, turn: int) -> None:
    net = start()
    factors = ["x", gate(net)][::turn]
    assert factors[taker(net, *factors)] == "x"


@pytest.mark.parametrize("turn", [1, -1], ids=["gate-last", "gate-first"])
def test_what_is_surely_a_gate_yields_to_what_may_be_one(turn: int) -> None:
    net = start()
    factors = [net.add("Clip", "relu6", "other", min=0.0, max=6.0), "sure"][::turn]
    assert factors[taker(net, *factors)] == "relu6"


def test_a_sum_of_two_tensors_is_no_gate() -> None:
    net = start()
    mixed = net.add("Sum", "mixed", "sure", "other")
    assert taker(net, "sure", mixed) == 1


def test_of_two_alike_the_larger_then_the_first_carries() -> None:
    assert taker(start(), "x", "other") == 0
    net = start()
    small = net.add("ReduceMean", "small", "other", axes=(2, 3), keepdims=1)
    assert taker(net, small, "x") == 1
