"""One picture of a heavy network: sessions are made, run and let go of in turns, and nobody notices."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import lrptool
from lrptool.engine import Program, canonise, forward, initial_relevance, once, program
from lrptool.engine.denominators import Beside
from lrptool.graph import Graph
from lrptool.rules import Composite, Match, Row, Rule
from tests.command import DIGIT, EIGHT, run
from tests.nets import Net
from tests.test_settle import CONVS, X

COMPOSITES = ("epsilon-plus", "epsilon-gamma-box", "alpha2-beta1", "epsilon-plus-flat", "deep-taylor")
LAYERS = 4


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network counts as heavy, and every layer as enough for a session."""
    monkeypatch.setattr(program, "_HEAVY", 1)
    monkeypatch.setattr(once, "_AT_A_TIME", 1)


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many others there were whenever a session was made."""
    alive: list[weakref.ref[onnxruntime.InferenceSession]] = []
    others: list[int] = []
    right = forward.open_session

    def opened(*args: Any) -> onnxruntime.InferenceSession:
        gc.collect()
        others.append(sum(one() is not None for one in alive))
        session = right(*args)
        alive.append(weakref.ref(session))
        return session

    monkeypatch.setattr(forward, "open_session", opened)
    monkeypatch.setattr(once, "open_session", opened)
    return others


def network() -> Graph:
    """Layers in a row, the last but one beside a shortcut."""
    net = Net((3, 12, 10), seed=4, bias=True)
    h = net.relu("relu1", net.conv("conv1", "x", 6))
    h = net.relu("relu2", net.conv("conv2", h, 8))
    sides = net.conv("conv3", h, 8), net.conv("conv4", h, 8, kernel=(1, 1), pads=(0, 0, 0, 0))
    h = net.relu("relu3", net.add("Sum", "sum", *sides))
    return canonise(net.finish(net.dense("fc", net.flatten("flat", net.add("GlobalAveragePool", "mean", h)), 5)))


def relevance(made: Program, x: np.ndarray) -> np.ndarray:
    activations = made.forward(x)
    start = initial_relevance(activations[made.graph.output], [1] * len(x), "score")
    return made.backward(activations, start)["x"]


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("composite", COMPOSITES)
def test_relevance_is_what_it_would_be(composite: str) -> None:
    graph, chosen = network(), Composite.load(composite)
    bounds = np.full((3, 1, 1), -1.0), np.full((3, 1, 1), 1.0)
    x = np.random.default_rng(1).uniform(-1, 1, (2, 3, 12, 10)).astype(np.float32)
    wanted = relevance(Program(graph, chosen, bounds=bounds), x)
    made = Program(graph, chosen, bounds=bounds, once=True)
    assert isinstance(made._forward, once.ForwardOnce)
    for _ in range(2):
        found = relevance(made, x)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.usefixtures("light")
def test_a_denominator_may_be_the_pre_activation_itself() -> None:
    net = Net((3, 6, 5), seed=4)
    h = net.relu("relu1", net.conv("conv1", "x", 6))
    h = net.relu("relu2", net.conv("conv2", h, 4))
    graph = canonise(net.finish(net.flatten("flat", net.add("GlobalAveragePool", "mean", h))))
    rows = [Row(Match(name=(name,)), Rule.of(rule)) for name, rule in (("conv1", "zplus"), ("conv2", "proportion"))]
    chosen = Composite("mixed", tuple(rows))
    x = np.random.default_rng(1).uniform(-1, 1, (2, 3, 6, 5)).astype(np.float32)
    made = Program(graph, chosen, once=True)
    assert made.once
    wanted = relevance(Program(graph, chosen), x)
    np.testing.assert_allclose(relevance(made, x), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.usefixtures("light")
def test_one_session_at_a_time(sessions: list[int]) -> None:
    made = Program(network(), Composite.load("epsilon-plus"), once=True)
    made.forward(np.zeros((1, 3, 12, 10), np.float32))
    assert sessions == [0] * (1 + LAYERS)
    made.forward(np.zeros((1, 3, 12, 10), np.float32))
    assert sessions == [0] * 2 * (1 + LAYERS)


@pytest.mark.usefixtures("light")
def test_bytes_of_a_picture_are_those_of_what_is_handed_out() -> None:
    made = Program(network(), Composite.load("alpha2-beta1"), once=True)
    found = made._forward(np.zeros((1, 3, 12, 10), np.float32))
    assert made._forward.item_bytes == sum(values.nbytes for name, values in found.items() if name != "x")


def test_light_networks_keep_one_session() -> None:
    made = Program(network(), Composite.load("epsilon-plus"), once=True)
    assert isinstance(made._forward, forward.Forward)


@pytest.mark.usefixtures("light")
def test_what_is_only_the_network_s_needs_no_second_session() -> None:
    made = Program(network(), Composite.load("epsilon"), once=True)
    assert isinstance(made._forward, forward.Forward)


def test_groups_hold_as_many_weights_as_are_wanted_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, seen = network(), list[Beside]()

    def made(graph: Graph, outputs: Sequence[str], threads: int, beside: Beside) -> once.ForwardOnce:
        seen.append(beside)
        return once.ForwardOnce(graph, outputs, threads, beside)

    monkeypatch.setattr(program, "_HEAVY", 1)
    monkeypatch.setattr(program, "ForwardOnce", made)
    Program(graph, Composite.load("alpha2-beta1"), once=True)
    counts = []
    for limit in (1, 2000, 1 << 30):
        monkeypatch.setattr(once, "_AT_A_TIME", limit)
        groups = list(once._groups(seen[0], graph))
        assert [name for group in groups for name in group.like] == list(seen[0].like)
        counts.append(len(groups))
    assert counts[0] == len(seen[0].like) > counts[1] > counts[2] == 1


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("composite", COMPOSITES)
def test_weights_are_gone_after_the_only_picture(composite: str) -> None:
    fresh, net = lrptool.load("lenet"), lrptool.load("lenet")
    constants = net.graph.constants
    packed = {node.inputs[1] for node in net.graph.nodes if node.name in CONVS}
    net.settle(composite, once=True)
    assert constants._here.keys() == constants.keys()  # type: ignore[attr-defined]
    for batch in (1, 1, 2):
        found, wanted = (one.explain(X[:batch], 3, composite).relevance for one in (net, fresh))
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
        assert packed.isdisjoint(constants._here)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("light")
def test_who_settles_for_more_pictures_gets_ready_for_them() -> None:
    net = lrptool.load("lenet")
    net.settle("epsilon-plus", once=True)
    first = net.program("epsilon-plus")
    assert first.once
    net.settle("epsilon-plus", once=True)
    assert net.program("epsilon-plus") is first
    net.settle("epsilon-plus")
    assert not net.program("epsilon-plus").once
    net.settle("epsilon-plus", once=True)
    assert not net.program("epsilon-plus").once


@pytest.mark.usefixtures("light")
def test_a_budget_counts_packed_weights() -> None:
    net = lrptool.load("lenet")
    net.settle("epsilon-plus", once=True)
    program = net.program("epsilon-plus")
    assert not program._plans
    assert net.batch_size(1 << 40, "epsilon-plus") > 0
    assert program._plans
    net.explain(X[:1], 3, "epsilon-plus")
    packed = {node.inputs[1] for node in net.graph.nodes if node.name in CONVS}
    assert packed.isdisjoint(net.graph.constants._here)  # type: ignore[attr-defined]


def test_weights_are_let_go_of_layer_by_layer() -> None:
    graph = network()
    made, gone = Program(graph, Composite.load("epsilon")), list[str]()

    def let_go(names: Collection[str]) -> None:
        gone.extend(sorted(set(names) - set(gone)))

    made.prepare(let_go)
    order = [name.split("/")[0] for name in gone if name.endswith("weight")]
    assert order.index("conv1") == len(order) - 1
    assert order.index("conv2") == len(order) - 2
    assert set(gone) == made.packed()


def test_the_commands_say_when_one_picture_is_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    right = lrptool.Model.settle

    def watched(self: lrptool.Model, composite: Any = None, *, once: bool = False) -> None:
        right(self, composite, once=once)
        asked.append(once)

    monkeypatch.setattr(lrptool.Model, "settle", watched)
    np.save(tmp_path / "x.npy", X)
    given: list[tuple[object, ...]] = [(DIGIT,), (DIGIT, EIGHT), (tmp_path / "x.npy",), (DIGIT, "--memory", "4G")]
    for k, words in enumerate(given):
        assert run("explain", *words, "-m", "lenet", "-o", tmp_path / str(k)).code == 0
    assert asked == [True, False, False, False]
