"""What no stride reads is left out, and nobody notices: scores and relevance are those of the whole network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import lrptool
from lrptool.engine import Program, canonise, export, initial_relevance, reads_all
from lrptool.engine.unread import skip_unread
from lrptool.graph import Graph
from lrptool.rules import Composite, Match, Row, Rule
from tests.nets import NETS, Net

BOUNDS = (np.full((3, 1, 1), -1.5), np.full((3, 1, 1), 1.5))
PRESETS = (
    "gradient",
    "epsilon",
    "epsilon-plus",
    "epsilon-gamma-box",
    "epsilon-alpha2-beta1",
    "epsilon-plus-flat",
    "lrp-cmp",
)
SINGLE = {"kernel": (1, 1), "pads": (0, 0, 0, 0)}


def stages(size: tuple[int, int] = (13, 14), strides: tuple[int, int] = (2, 2)) -> Graph:
    """Two stages of residual blocks; the second begins with 1 × 1 convolutions of some stride, as in ResNet-50."""
    net = Net((3, *size), seed=4, bias=True)

    def layer(name: str, x: str, out: int, **options: tuple[int, ...]) -> str:
        return net.random_norm(f"{name}/norm", net.conv(name, x, out, **{**SINGLE, **options}))  # type: ignore[arg-type]

    def unit(name: str, x: str, strides: tuple[int, int] = (1, 1), out: int = 12) -> str:
        h = net.relu(f"{name}/relu1", layer(f"{name}/a", x, 8, strides=strides))
        h = net.relu(f"{name}/relu2", layer(f"{name}/b", h, 8, kernel=(3, 3), pads=(1, 1, 1, 1)))
        summand = x if net.builder.shape(x)[1] == out else layer(f"{name}/match", x, out, strides=strides)
        return net.relu(f"{name}/relu3", net.add("Sum", f"{name}/sum", summand, layer(f"{name}/c", h, out)))

    h = net.relu("relu", layer("conv", "x", 8, kernel=(3, 3), pads=(1, 1, 1, 1)))
    h = unit("1b", unit("1a", h))
    h = unit("2b", unit("2a", h, strides, 16), out=16)
    return canonise(net.finish(net.dense("fc", net.flatten("flat", h), 4)))


def explained(program: Program, dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and the relevance of the pixels."""
    x = np.random.default_rng(2).uniform(-1, 1, (2, *program.graph.input.item_shape)).astype(np.float32)
    activations = program.forward(x)
    scores = activations[program.graph.output]
    return scores, program.backward(activations, initial_relevance(scores, scores.argmax(1)).astype(dtype))["x"]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [(13, 14), (6, 5)], ids=str)
@pytest.mark.parametrize("strides", [(2, 2), (3, 1)], ids=str)
def test_nothing_is_missing(preset: str, size: tuple[int, int], strides: tuple[int, int]) -> None:
    graph, composite = stages(size, strides), Composite.load(preset)
    whole, usual = (Program(graph, composite, bounds=BOUNDS, whole=whole) for whole in (True, False))
    assert whole.graph is graph
    expected, wanted = explained(whole)
    for dtype, close in ((np.float32, 1e-5), (np.float64, 2e-6)):
        scores, found = explained(usual, dtype)
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
        np.testing.assert_allclose(found, wanted, rtol=0, atol=close * np.abs(wanted).max())


def test_layers_take_over_a_stride() -> None:
    graph = stages()
    thin, rules = skip_unread(graph, Composite.load("epsilon").assign(graph))
    shapes = {name: spec.item_shape for name, spec in thin.tensors.items()}
    assert shapes["1b/relu3"] == shapes["1b/sum"] == shapes["1b/c/norm"] == (12, 7, 7)
    assert shapes["1b/relu2"] == shapes["1b/b/norm"] == (8, 7, 7)
    # Its shortcut's other readers want all of it.
    assert shapes["1b/relu1"] == (8, 13, 14)
    assert shapes["1a/relu3"] == (12, 13, 14)
    assert thin.node("1b/sum").inputs[0] == "1a/relu3/every 2×2"
    assert shapes["1a/relu3/every 2×2"] == (12, 7, 7)
    assert thin.node("2a/a").ints("strides") == thin.node("2a/match").ints("strides") == (1, 1)
    assert thin.node("1b/b").ints("strides") == (2, 2)
    assert {name: shape for name, shape in shapes.items() if name[0] == "2"} == {
        name: spec.item_shape for name, spec in graph.tensors.items() if name[0] == "2"
    }
    assert str(rules["1a/relu3/every 2×2"]) == "route"
    assert rules.keys() == {node.name for node in thin.nodes}


def test_where_no_layer_is_spared_nothing_is_taken() -> None:
    """One of two activations is read at every second place; the layer in front of them is read whole."""
    net = Net((3, 9, 9))
    h = net.conv("conv", "x", 6)
    ends = [
        net.flatten(f"{name}/flat", net.conv(name, net.relu(f"{name}/relu", h), 5, strides=strides, **SINGLE))
        for name, strides in (("all", (1, 1)), ("some", (2, 2)))
    ]
    graph = canonise(net.finish(net.dense("fc", net.add("Concat", "both", *ends, axis=1), 4)))
    assert reads_all(graph, Composite.load("epsilon").assign(graph))


@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_most_networks_stay_as_they_are(make: Callable[..., Graph]) -> None:
    graph = canonise(make(3))
    rules = Composite.load("epsilon").assign(graph)
    assert reads_all(graph, rules)
    assert skip_unread(graph, rules)[0] is graph


def test_a_rule_that_looks_at_the_whole_map_gets_it() -> None:
    """A relative epsilon counts in units of what all of a layer's outputs have."""
    graph = stages()
    relative = Rule.of("epsilon", epsilon=0.1, relative=True)
    for name, left in (("1b/c", "1b/b"), ("1b/b", "")):
        rows = (Row(Match(name=(name,)), relative),)
        program = Program(graph, Composite.load("epsilon").prepend(rows), whole=False)
        thinned = {n for n, spec in program.graph.tensors.items() if n in graph.tensors and spec != graph.tensors[n]}
        assert f"{name}/norm" not in thinned
        assert f"{left}/norm" not in thinned
        np.testing.assert_allclose(
            explained(program)[1], explained(Program(graph, Composite.load("epsilon").prepend(rows)))[1], atol=1e-5
        )


def with_sum(shape: tuple[int, ...] = (6, 9, 9)) -> Graph:
    """A constant per place is added, or one per channel, before every second place is read."""
    net = Net((3, 9, 9), seed=5)
    constant = net.builder.constant("constant", np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32))
    h = net.relu("relu", net.add("Sum", "sum", net.conv("conv", "x", 6), constant))
    return canonise(
        net.finish(net.dense("fc", net.flatten("flat", net.conv("some", h, 5, strides=(2, 2), **SINGLE)), 4))
    )


@pytest.mark.parametrize("shape", [(6, 9, 9), (6, 1, 1)], ids=str)
def test_constants_that_are_added_fit(shape: tuple[int, ...]) -> None:
    graph = with_sum(shape)
    found = [explained(Program(graph, Composite.load("epsilon"), whole=whole))[1] for whole in (True, False)]
    np.testing.assert_allclose(*found, rtol=0, atol=1e-5 * np.abs(found[0]).max())


def test_bounds_of_pixels_are_not_looked_for_through_what_stands_between() -> None:
    net = Net((3, 9, 9), seed=5)
    h = net.relu("relu", net.add("Sum", "sum", net.conv("conv", "x", 3), net.random_norm("norm", "x")))
    graph = canonise(
        net.finish(net.dense("fc", net.flatten("flat", net.conv("some", h, 5, strides=(2, 2), **SINGLE)), 4))
    )
    composite = Composite.load("epsilon").prepend((Row(Match(name=("norm",)), Rule.of("zbox")),))
    found = [explained(Program(graph, composite, bounds=BOUNDS, whole=whole))[1] for whole in (True, False)]
    np.testing.assert_allclose(*found, rtol=0, atol=1e-5 * np.abs(found[0]).max())


def test_names_that_are_taken_are_not_taken_again() -> None:
    graph = stages()
    nodes = [replace(node, name="1a/relu3/every 2×2") if node.name == "2b/sum" else node for node in graph.nodes]
    graph = replace(graph, nodes=tuple(nodes))
    explained(Program(graph, Composite.load("epsilon"), whole=False))


def test_rows_of_a_composite_do_not_meet_what_stands_between() -> None:
    graph = stages()
    composite = Composite.load("epsilon").prepend((Row(Match(name=("1a/relu3*",)), Rule.of("pass")),))
    explained(Program(graph, composite, whole=False))


def test_who_asks_for_a_map_gets_all_of_it(tmp_path: Path) -> None:
    onnx.save(export(stages()), tmp_path / "net.onnx")
    model = lrptool.load(tmp_path / "net.onnx")
    x = np.random.default_rng(3).uniform(-1, 1, (1, 3, 13, 14)).astype(np.float32)
    assert not reads_all(model.graph, model.composite("epsilon").assign(model.graph))
    name = next(node.outputs[0] for node in model.graph.nodes if node.op == "Sum")
    kept = model.explain(x, 1, "epsilon", keep=[name])
    assert (kept.tensors or {})[name].shape[2:] == (13, 14)
    plain = model.explain(x, 1, "epsilon")
    np.testing.assert_allclose(plain.relevance, kept.relevance, rtol=0, atol=1e-5 * np.abs(kept.relevance).max())
    assert len(model.explain(x, 1, "epsilon", audit=True).audit) == len(model.graph.nodes)
    assert model.program("epsilon") is not model.program("epsilon", whole=True)


def test_weights_are_let_go_of_together(tmp_path: Path) -> None:
    onnx.save(export(stages()), tmp_path / "net.onnx")
    model = lrptool.load(tmp_path / "net.onnx")
    assert model.program("epsilon").graph.constants is model.graph.constants
