"""Windows that most networks have: code of their own, with rows long and short, and nothing but the order of work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lrptool.engine import Program, canonise, initial_relevance
from lrptool.graph import Graph
from lrptool.kernels import pooling
from lrptool.kernels.pooling import Windows
from lrptool.rules import Composite
from tests import oracle
from tests.nets import Net
from tests.test_fuzz import check_pooling, close, pooled

USUAL = [(3, 2), (2, 2), (3, 1)]
OTHERS = [(4, 2), (3, 3), (2, 1)]
WIDTHS = {"short": (5, 9), "odd": (23, 44), "long": (97, 114)}
"""Widths of maps: less than a register of windows, some registers, and rows worked on one by one."""


def by_rows(graph: Graph, kernel: int, stride: int, pads: tuple[int, int, int, int]) -> bool:
    node = graph.nodes[0]
    sizes = [graph.tensors[name].item_shape[1:] for name in (node.inputs[0], node.outputs[0])]
    return Windows(3, *sizes, (kernel, kernel), (stride, stride), pads[:2]).by_rows  # type: ignore[arg-type]


@pytest.mark.parametrize("ceil", [False, True], ids=["floor", "ceil"])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 1, 0)], ids=str)
@pytest.mark.parametrize("length", WIDTHS)
@pytest.mark.parametrize(("kernel", "stride"), USUAL + OTHERS)
def test_relevance_goes_to_the_first_maximum(
    kernel: int, stride: int, length: str, pads: tuple[int, int, int, int], ceil: bool
) -> None:
    random = np.random.default_rng(kernel * stride)
    for width in WIDTHS[length]:
        # Few different values: most windows have several largest ones.
        x = np.round(random.normal(size=(2, 3, 7, width)))
        window: dict[str, Any] = {
            "kernel": (kernel, kernel),
            "strides": (stride, stride),
            "pads": pads,
            "ceil": ceil,
        }
        y = oracle.max_pool(x, **window)
        r = random.normal(size=y.shape)
        program = pooled("MaxPool", x.shape[1:], window)
        assert by_rows(program.graph, kernel, stride, pads) == (length == "long" and (kernel, stride) in USUAL)
        check_pooling(program, x, y, r, oracle.max_pool_route(x, r, **window))


def network(kernel: int, stride: int) -> Graph:
    """A pooling in front of a convolution, and its relevance packed for another."""
    net = Net((3, 30, 34), seed=5, bias=True)
    h = net.relu("relu1", net.conv("conv1", "x", 9))
    h = net.max_pool("pool", h, (kernel, kernel), (stride, stride), (1, 1, 0, 1))
    h = net.relu("relu2", net.conv("conv2", h, 7))
    return canonise(net.finish(net.dense("fc", net.flatten("flat", net.add("GlobalAveragePool", "mean", h)), 4)))


@pytest.mark.parametrize("composite", ["epsilon", "epsilon-plus", "alpha2-beta1"])
@pytest.mark.parametrize(("kernel", "stride"), USUAL)
def test_rows_one_by_one_are_only_another_order(
    kernel: int, stride: int, composite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, x = network(kernel, stride), np.random.default_rng(6).normal(size=(2, 3, 30, 34)).astype(np.float32)
    found = []
    for long in (1, 1 << 20):
        monkeypatch.setattr(pooling, "_LONG", long)
        program = Program(graph, Composite.load(composite))
        activations = program.forward(x)
        start = initial_relevance(activations[graph.output], [1, 3])
        found.append(program.backward(activations, start)["x"])
    np.testing.assert_array_equal(*found)
    assert np.abs(found[0]).sum() > 0


def test_relevance_that_is_not_finite_stays_where_it_is() -> None:
    x = np.random.default_rng(7).normal(size=(1, 2, 6, 100))
    window: dict[str, Any] = {"kernel": (3, 3), "strides": (2, 2), "pads": (0, 0, 0, 0), "ceil": False}
    y = oracle.max_pool(x, **window)
    r = np.ones_like(y)
    r[0, 1, 1, 40] = np.inf
    program = pooled("MaxPool", x.shape[1:], window)
    (step,) = program.steps
    with np.errstate(invalid="ignore"):
        wanted = oracle.max_pool_route(x, r, **window)
    (found,) = step.redistribute([r], {"x": x, "pool": y})
    close(found[np.isfinite(wanted)], wanted[np.isfinite(wanted)], np.float64, 1.0)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(wanted))
