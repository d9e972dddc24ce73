"""Whole networks as large as minimal filtering asks for, against the products tap by tap in float64."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lrptool.engine import Program, canonise, initial_relevance, scores_of
from lrptool.graph import Graph
from lrptool.kernels import Schedule, winograd
from lrptool.kernels.landing import Landing
from lrptool.kernels.winograd import Winograd
from lrptool.rules import Composite, Match, Row, Rule
from tests.nets import Net

BATCH, SHAPE = 2, (9, 27, 29)
TOLERANCE = 3e-6


def network(*, bias: bool) -> Graph:
    """A shortcut on maps of odd size; behind pooling two branches, one in groups, side by side."""
    net = Net(SHAPE, bias=bias)
    first = net.relu("relu1", net.conv("conv1", "x", 32))
    block = net.conv("conv3", net.relu("relu2", net.conv("conv2", first, 24)), 32)
    total = net.relu("relu3", net.add("Sum", "sum", first, block))
    pooled = net.max_pool("pool", total, pads=(1, 0, 0, 0))
    assert net.builder.shape(pooled)[2:] == (14, 14)
    left = net.relu("relu4", net.conv("conv4", pooled, 48, group=2))
    right = net.relu("relu5", net.conv("conv5", pooled, 20))
    both = net.relu("relu6", net.conv("conv6", net.add("Concat", "both", left, right, axis=1), 24))
    return canonise(net.finish(net.dense("fc", net.flatten("flat", both), 5)))


# How many products are computed by minimal filtering, by whether they are added to what others have handed back. Of
# pixels of either sign gamma needs two products. Outputs of conv3 may be negative: zplus divides by too little there.
RULES = {
    "epsilon": Counter({False: 4, True: 2}),
    "gamma": Counter({False: 4, True: 3}),
    "zplus": Counter({False: 2, True: 1}),
}


@pytest.mark.parametrize("bias", [False, True], ids=["without bias", "with bias"])
@pytest.mark.parametrize(("rule", "wanted"), RULES.items(), ids=RULES)
def test_a_network_is_explained_as_tap_by_tap(
    rule: str, wanted: Counter[bool], bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: Counter[bool] = Counter()
    add_to = Winograd.add_to

    def counted(self: Winograd, schedule: Schedule, landing: Landing) -> None:
        used[landing.accumulate] += 1
        add_to(self, schedule, landing)

    monkeypatch.setattr(Winograd, "add_to", counted)
    rows = (Row(Match(op="Conv"), Rule.of(rule)), Row(Match(op="Gemm"), Rule.of("epsilon")))
    graph, composite = network(bias=bias), Composite("test", rows)
    program = Program(graph, composite)
    x = np.random.default_rng(0).normal(size=(BATCH, *SHAPE)).astype(np.float32)
    activations = program.forward(x)
    start = initial_relevance(activations["fc"], scores_of(activations["fc"]).argmax(1))
    found = program.backward(activations, start)["x"]
    assert used == wanted
    used.clear()
    monkeypatch.setattr(winograd, "_TILES", np.inf)
    exact = {name: value.astype(np.float64) for name, value in activations.items()}
    by_taps = Program(graph, composite).backward(exact, start.astype(np.float64), keep=["x"])["x"]
    assert not used
    assert np.abs(found - by_taps).max() < TOLERANCE * np.abs(by_taps).max()
