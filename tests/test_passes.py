"""Every rewrite of a graph: scores under onnxruntime are the same before and after, on every network of the tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrptool import load
from lrptool.engine import Forward, allowed, balance, canonise, rewritten, without_biases
from lrptool.graph import Graph
from lrptool.graph.passes import drop_identities, fold_batch_norm, fold_forward, prune
from lrptool.loaders.onnx.patterns import recognise
from lrptool.rules import Composite
from tests.caffe_families import FAMILIES
from tests.nets import Net
from tests.onnxnets import FIXTURES
from tests.test_caffe_zoo import TEXTS

PASSES = (prune, drop_identities, fold_batch_norm, fold_forward, recognise, canonise)
SMALL = [path for path in TEXTS if path.stem in ("cifar10_full_sigmoid_bn.train_test", "resnet18-priv")]


def compared(source: Graph) -> None:
    """Each pass alone, on what those before it left."""
    x = np.random.default_rng(0).uniform(-1, 1, (1, *source.input.item_shape)).astype(np.float32)
    graph = source
    for rewrite in PASSES:
        made = rewrite(graph)
        found = rewritten(graph, made, x, threads=1)
        forward = Forward(graph, [graph.output], threads=1)
        bound = allowed(lambda v, f=forward, g=graph: np.array(f(v)[g.output]), x, found, source.name)
        assert found <= bound, rewrite.__name__
        graph = made
    assert canonise(graph).nodes == graph.nodes


@pytest.mark.parametrize("name", FAMILIES)
def test_families(tmp_path: Path, name: str) -> None:
    path = tmp_path / "deploy.prototxt"
    path.write_text(FAMILIES[name].text)
    compared(load(path, "random:0", input_shape=FAMILIES[name].input_shape).source)


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.onnx")), ids=lambda path: path.stem)
def test_exported_networks(path: Path) -> None:
    compared(load(path).source)


@pytest.mark.skipif(not SMALL, reason="reference data (../shared) is not here")
@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_published_networks(path: Path) -> None:
    compared(load(path, "random:0", input_shape=(3, 64, 64)).source)


def in_front(kind: str, *, shift: bool = True, second: bool = False) -> Graph:
    """A normalisation in front of a layer."""
    net = Net((4, 9, 8), seed=1, bias=True)
    h = "x" if kind != "dense" else net.flatten("flat", net.max_pool("pool", "x", (3, 4), (3, 4)))
    if shift:
        h = net.random_norm("norm", h)
    else:
        ones, zeros = np.ones(4), np.zeros(4)
        h = net.batch_norm("norm", h, np.linspace(0.5, 2, 4), zeros, zeros, ones)
    other = net.add("Tanh", "other", h) if second else ""
    layers: dict[str, Callable[[], Any]] = {
        "conv": lambda: net.conv("layer", h, 6, pads=(0, 0, 0, 0), strides=(2, 1)),
        "groups": lambda: net.conv("layer", h, 6, pads=(0, 0, 0, 0), group=2),
        "depthwise": lambda: net.conv("layer", h, 4, pads=(0, 0, 0, 0), group=4),
        "padded": lambda: net.conv("layer", h, 6),
        "dense": lambda: net.dense("layer", h, 6),
    }
    h = net.relu("relu", layers[kind]())
    if second:
        h = net.add(
            "Concat", "join", net.add("GlobalAveragePool", "m1", h), net.add("GlobalAveragePool", "m2", other), axis=1
        )
    return net.finish(net.dense("fc", h if kind == "dense" else net.flatten("flat2", h), 5))


@pytest.mark.parametrize(
    ("kind", "options", "left"),
    [
        ("conv", {}, 0), ("groups", {}, 0), ("depthwise", {}, 0), ("dense", {}, 0), ("padded", {"shift": False}, 0),
        ("padded", {}, 1), ("conv", {"second": True}, 1),
    ],
)  # fmt: skip
def test_a_normalisation_in_front_of_a_layer(kind: str, options: dict[str, bool], left: int) -> None:
    source = in_front(kind, **options)
    compared(source)
    graph = canonise(source)
    assert Counter(node.op for node in graph.nodes)["BatchNormalization"] == left
    x = np.random.default_rng(0).uniform(-1, 1, (1, 4, 9, 8)).astype(np.float32)
    assert balance(canonise(without_biases(source)), Composite.load("epsilon-plus"), x).ok
