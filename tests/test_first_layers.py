"""Rules of the first layer where something turns the image before a layer sees it."""

from __future__ import annotations

import numpy as np
import pytest

from lrptool.engine import Forward, Program, balance, canonise, without_biases
from lrptool.graph import Graph
from lrptool.ops import WeightPart, operator
from lrptool.rules import Composite
from tests import oracle
from tests.nets import Net


def channels_last(kind: str) -> Graph:
    """A network that turns its image, moves it about, and looks at it with a layer of its own."""
    net = Net()
    h = net.add("Transpose", "last", "x", perm=(0, 2, 3, 1))
    if kind == "dense":
        return canonise(net.finish(net.dense("fc", net.flatten("flat", h), 5)))
    if kind == "tokens":
        weight = net.builder.constant("w", np.random.default_rng(2).normal(size=(3, 4)))
        h = net.add("MatMul", "tokens", net.add("Reshape", "row", h, shape=(42, 3)), weight)
        return canonise(net.finish(net.dense("fc", net.relu("relu", net.flatten("flat", h)), 5)))
    h = net.add("Pad", "pad", h, pads=(0, 1, 1, 0, 0, 0, 1, 0), mode="constant", value=0.5)
    h = net.add("Transpose", "first", h, perm=(0, 3, 1, 2))
    h = net.add("Slice", "cut", h, starts=(0,), ends=(8,), axes=(2,), steps=(2,))
    h = net.conv("conv", h, 6)
    return canonise(net.finish(net.dense("fc", net.relu("relu", net.flatten("flat", h)), 5)))


@pytest.mark.parametrize("kind", ["dense", "tokens", "moved"])
def test_zbox_moves_the_bounds_as_the_pixels_are_moved(kind: str) -> None:
    graph = channels_last(kind)
    low, high = np.array([-1.0, -2, -3]).reshape(3, 1, 1), np.array([1.0, 4, 2]).reshape(3, 1, 1)
    x = np.random.default_rng(0).uniform(low, high, (2, 3, 7, 6)).astype(np.float32)
    first = next(node for node in graph.nodes if operator(node.op).weighted)
    rows = [
        {"match": {"position": "first"}, "rule": "zbox"},
        {"match": {"op": ["Gemm", "MatMul"]}, "rule": {"name": "epsilon", "epsilon": 1e-9}},
    ]
    composite = Composite.from_data({"name": "box", "rows": rows})
    program = Program(graph, composite, bounds=(low, high))
    activations = program.forward(x)
    output = activations[graph.output]
    kept = program.backward(activations, output, keep=[first.outputs[0]])
    linear = operator(first.op).linear_map(first, graph)
    assert linear is not None
    source = next(name for name in first.inputs if name in graph.tensors)
    shape = graph.tensors[source].item_shape
    W = oracle.dense_matrix(lambda u: linear.forward([u], WeightPart("all")), shape)
    to_layer = Forward(graph, [source])
    seen = np.array(to_layer(x)[source], float).reshape(2, -1)
    # What black and white images become on their way to the layer.
    box = [np.array(to_layer(np.broadcast_to(b, (1, 3, 7, 6)).astype(np.float32))[source]).ravel() for b in (low, high)]
    r = kept[first.outputs[0]].reshape(2, -1).astype(float)
    wanted = [oracle.zbox(W, *row, *box) for row in zip(seen, [None, None], r, strict=True)]
    got = program.backward(activations, output, keep=[source])[source].reshape(2, -1)
    np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(wanted).max())
    # Bounds of the rule's own say the same.
    rows[0]["rule"] = {"name": "zbox", "low": low.ravel().tolist(), "high": high.ravel().tolist()}
    own = Program(graph, Composite.from_data({"name": "box", "rows": rows}))
    np.testing.assert_array_equal(own.backward(activations, output)["x"], kept["x"])
    assert balance(without_biases(graph), composite, x[:1], bounds=(low, high)).ok


@pytest.mark.parametrize("rule", ["flat", "wsquare"])
@pytest.mark.parametrize("kind", ["dense", "tokens", "moved"])
def test_first_layers_behind_a_turned_image(kind: str, rule: str) -> None:
    graph = channels_last(kind)
    rows = [{"match": {"position": "first"}, "rule": rule}, {"match": {"op": ["Gemm", "MatMul"]}, "rule": "epsilon"}]
    x = np.random.default_rng(0).uniform(-1, 1, (1, 3, 7, 6)).astype(np.float32)
    made = balance(without_biases(graph), Composite.from_data({"name": "first", "rows": rows}), x)
    assert made.ok
    assert (abs(made.taken.get("padding", 0)) > 0) == (kind == "moved")
