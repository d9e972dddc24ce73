"""Classifiers exported from PyTorch by both its exporters: same scores, relevance as of automatic differentiation."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import onnx
import pytest

from lrptool.engine import Program, canonise, initial_relevance
from lrptool.graph import Graph
from lrptool.loaders import LoadedNet
from lrptool.loaders.onnx import load_onnx
from lrptool.rules import Composite
from tests.onnxnets import FIXTURES, LINEAR, Numbers, composite, run, run_graph, without_biases

FILES = sorted(FIXTURES.glob("*_???.onnx"))
CONVOLUTIONAL = ("resnet", "mobilenet_v2", "mobilenet_v3", "densenet", "shuffle", "convnext")
RELU = ("resnet", "densenet", "shuffle")
TRANSFORMERS = ("vit", "torch_vit", "swin")
EXPECTED = {
    "resnet": {"Conv": 15, "Relu": 13, "MaxPool": 1, "Sum": 6, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1},
    "mobilenet_v3": {"HardSwish": 5, "HardSigmoid": 2, "Swish": 1, "Mul": 2, "Conv": 12},
    "vit": {"LayerNormalization": 5, "Gelu": 2, "Softmax": 2, "BilinearMatMul": 4, "MatMul": 8, "Sum": 5, "Concat": 1},
    "torch_vit": {"LayerNormalization": 1, "Softmax": 1, "BilinearMatMul": 2, "MatMul": 2, "Sum": 2},
    "swin": {"LayerNormalization": 1, "Softmax": 1, "BilinearMatMul": 2, "MatMul": 2, "Sum": 1},
    "convnext": {"LayerNormalization": 1, "Gelu": 1, "MatMul": 2, "Mul": 0, "Conv": 2},
}
"""What has to be recognised, whatever the exporter made of it."""


@functools.cache
def loaded(path: Path) -> LoadedNet:
    """A fixture, read once."""
    return load_onnx(path)


@functools.cache
def stored(path: Path) -> dict[str, Numbers]:
    """Pictures, scores and relevance of a fixture, from its PyTorch original in float64."""
    with np.load(path.with_name(path.stem[:-4] + ".npz")) as arrays:
        return dict(arrays)


def canonised(graph: Graph) -> Graph:
    """The graph the engine works on; skips where it cannot make one yet."""
    try:
        return canonise(graph)
    except IndexError:
        pytest.skip("a normalisation behind an operator without weights cannot be folded yet")


def explained(graph: Graph, x: Numbers, targets: Numbers, made: Composite) -> tuple[Numbers, Numbers]:
    """Relevance of the pixels, and of the scores."""
    program = Program(graph, made)
    activations = program.forward(np.ascontiguousarray(x, np.float32))
    start = initial_relevance(activations[graph.output], targets)
    return program.backward(activations, start)[graph.input.name], start


def test_every_net_is_here_from_both_exporters() -> None:
    assert len(FILES) == 18
    assert sum(path.stat().st_size for path in FIXTURES.iterdir()) < 2**20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scores_of_a_batch(path: Path) -> None:
    """The batch stays open even where the exporter wrote it down as one picture."""
    net, data = loaded(path), stored(path)
    assert net.graph.input.shape == (None, 3, 24, 18)
    assert net.notes == ()
    np.testing.assert_allclose(run_graph(net.graph, data["x"]), data["scores"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scores_under_onnxruntime(path: Path) -> None:
    """The file itself and the graph it becomes, before and after canonisation, on other pictures."""
    graph, x = loaded(path).graph, np.random.default_rng(3).normal(0, 2, (1, 3, 24, 18)).astype(np.float32)
    wanted = run(onnx.load(path), x)
    for ours in (graph, canonised(graph)):
        np.testing.assert_allclose(run_graph(ours, x), wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_operators(path: Path) -> None:
    ops = [node.op for node in loaded(path).graph.nodes]
    for op, count in EXPECTED.get(path.stem[:-4], {}).items():
        assert ops.count(op) == count, op
    assert not {"Erf", "Power", "Sqrt", "Div", "Dropout", "Identity"} & set(ops)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_relevance_is_that_of_automatic_differentiation(path: Path) -> None:
    data = stored(path)
    graph = canonised(loaded(path).graph)
    relevance, _ = explained(graph, data["x"], data["targets"], composite(EPSILON))
    wanted = data["relevance"]
    # Attention divides by sums that are nearly nothing; float32 and ε show there.
    tolerance = 5e-4 if path.stem[:-4] in TRANSFORMERS else 2e-5
    np.testing.assert_allclose(relevance, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


EPSILON = {"name": "epsilon", "epsilon": 1e-9}


@pytest.mark.parametrize(("net", "rule"), [(net, EPSILON) for net in CONVOLUTIONAL] + [(net, "zplus") for net in RELU])
def test_conservation_without_biases(net: str, rule: object) -> None:
    """zplus loses what reaches an output without any positive product: where layers end in a ReLU there is none."""
    path = FIXTURES / f"{net}_new.onnx"
    graph = canonised(without_biases(loaded(path).graph))
    data = stored(path)
    relevance, start = explained(graph, data["x"], data["targets"], composite(rule, EPSILON))
    np.testing.assert_allclose(relevance.sum((1, 2, 3)), start.sum(1), rtol=1e-3)


@pytest.mark.parametrize("net", TRANSFORMERS)
def test_conservation_of_transformers_without_biases(net: str) -> None:
    """With CP-LRP, which sends all relevance through the values: AttnLRP's softmax has a bias of its own."""
    path = FIXTURES / f"{net}_old.onnx"
    graph = canonised(without_biases(loaded(path).graph))
    data = stored(path)
    made = composite(EPSILON, None, {"match": {"op": ["Softmax", "BilinearMatMul"]}, "rule": "cp-lrp"})
    relevance, start = explained(graph, data["x"], data["targets"], made)
    np.testing.assert_allclose(relevance.sum((1, 2, 3)), start.sum(1), rtol=1e-3)


def test_names_are_those_of_the_file() -> None:
    graph = loaded(FIXTURES / "resnet_old.onnx").graph
    assert graph.input.name == "x"
    names = {node.name for node in onnx.load(FIXTURES / "resnet_old.onnx").graph.node}
    assert {node.name for node in graph.nodes if node.op in (*LINEAR, "Relu", "Sum")} <= names
