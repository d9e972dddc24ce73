"""Denominators the forward session computes along with the network, in whatever form: nobody notices."""

from __future__ import annotations

import numpy as np
import pytest

from lrptool.engine import Program, canonise, initial_relevance
from lrptool.engine.layer import Layer
from lrptool.graph import Graph
from lrptool.rules import Composite
from tests.nets import Net
from tests.random_layers import conv_matrix


def network() -> Graph:
    """A first layer that reads pixels of either sign, a ReLU, and a layer behind it."""
    net = Net((3, 13, 11), seed=3, bias=True)
    h = net.relu("relu1", net.conv("conv1", "x", 6, kernel=(3, 3), pads=(1, 1, 1, 1)))
    h = net.relu("relu2", net.conv("conv2", h, 5))
    return canonise(net.finish(net.flatten("flat", net.add("GlobalAveragePool", "mean", h))))


def picture(graph: Graph) -> np.ndarray:
    return np.random.default_rng(2).uniform(-1, 1, (2, *graph.input.item_shape)).astype(np.float32)


def first_layer(program: Program) -> Layer:
    layer = next(step.layer for step in program.steps if step.node.name == "conv1")
    assert layer is not None
    return layer


def halves(layer: Layer, graph: Graph, x: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first layer's matrix of positive weights (outputs, inputs) with positive inputs, and of negative ones."""
    weight = graph.constants["conv1/weight"].astype(np.float64)
    geometry = layer.step._linear.gather(0, (), np.float64)._geometry  # type: ignore[union-attr]
    parts = (np.maximum(weight, 0), np.maximum(x, 0)), (np.minimum(weight, 0), np.minimum(x, 0))
    return [(conv_matrix(weights, geometry), inputs.reshape(len(x), -1)) for weights, inputs in parts]


def raised(layer: Layer, graph: Graph, x: np.ndarray) -> np.ndarray:
    """All that raised each output of the first layer, float64 (items, outputs)."""
    bias = np.maximum(graph.constants["conv1/bias"], 0).astype(np.float64)
    products = sum(inputs @ matrix.T for matrix, inputs in halves(layer, graph, x))
    return products + np.repeat(bias, products.shape[1] // bias.size)


def test_what_raised_an_output_is_there_twice() -> None:
    graph = network()
    program, x = Program(graph, Composite.load("epsilon-plus")), picture(graph)
    layer, activations = first_layer(program), program.forward(x)
    assert layer.denominators.doubled == {0}
    found = activations[layer.denominators.names[0]]
    living = activations["relu1"] > 0
    wanted = 2 * raised(layer, graph, x).reshape(found.shape)
    np.testing.assert_allclose(found[living], wanted[living], rtol=1e-5)


@pytest.mark.parametrize("epsilon", [1e-6, 0.3])
@pytest.mark.parametrize("rule", ["zplus", "alpha-beta"])
def test_the_walk_and_the_layer_alone_divide_by_the_same(rule: str, epsilon: float) -> None:
    graph = network()
    program, x = Program(graph, Composite.uniform(rule, epsilon=epsilon)), picture(graph)
    layer, activations = first_layer(program), program.forward(x)
    assert layer.denominators.doubled == ({0} if rule == "zplus" else set())
    assert bool(layer.denominators.rests) == (rule == "alpha-beta")
    r = initial_relevance(activations[graph.output], [1, 3])
    found = program.backward(activations, r)["x"]
    bare = {name: values for name, values in activations.items() if name not in layer.denominators.names.values()}
    assert len(bare) < len(activations)
    np.testing.assert_allclose(program.backward(bare, r)["x"], found, rtol=0, atol=2e-6 * np.abs(found).max())
    arrived = program.backward(activations, r, keep=["conv1"])["conv1"]
    (alone,) = layer.redistribute([arrived], activations)
    np.testing.assert_allclose(found, alone, rtol=0, atol=2e-6 * np.abs(alone).max())
    if rule == "zplus":
        s = arrived.reshape(len(x), -1) / (raised(layer, graph, x) + epsilon)
        wanted = sum(inputs * (s @ matrix) for matrix, inputs in halves(layer, graph, x))
        np.testing.assert_allclose(found, wanted.reshape(x.shape), rtol=0, atol=5e-6 * np.abs(wanted).max())
