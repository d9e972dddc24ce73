"""Products from what is not zero, and denominators of the class that is explained alone: nobody notices either."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lrptool.engine import Program, canonise, initial_relevance
from lrptool.engine.compiling import Step
from lrptool.errors import NumericError
from lrptool.graph import Graph
from lrptool.kernels import TransposedConv, scattered
from lrptool.kernels.scattered import Scattered
from lrptool.ops import ConvMap, WeightPart, operator
from lrptool.rules import Composite
from tests.nets import Net
from tests.random_layers import conv_matrix

BOUNDS = (np.full((3, 1, 1), -1.5), np.full((3, 1, 1), 1.5))
PRESETS = ("epsilon", "epsilon-plus", "epsilon-gamma-box", "alpha2-beta1", "epsilon-plus-flat")
CLASSES = 21


def picture(graph: Graph, batch: int = 2) -> np.ndarray:
    return np.random.default_rng(5).uniform(-1, 1, (batch, *graph.input.item_shape)).astype(np.float32)


def pooled(kernel: tuple[int, int] = (7, 7), strides: tuple[int, int] = (2, 2), *, lrn: bool = False) -> Graph:
    """As most networks begin: a convolution with a stride, its maxima, and what is made of them."""
    net = Net((3, 45, 43), seed=6, bias=True)
    h = net.relu("relu1", net.conv("conv1", "x", 10, kernel=kernel, strides=strides, pads=(2, 1, 0, 3)))
    h = net.add("LRN", "norm", h, size=3, alpha=1e-4, beta=0.75, bias=1.0) if lrn else h
    h = net.max_pool("pool", h, (3, 3), (2, 2), ceil=True)
    h = net.relu("relu2", net.conv("conv2", h, 12))
    h = net.relu("relu3", net.conv("classes", h, CLASSES, kernel=(1, 1)))
    return canonise(net.finish(net.flatten("flat", net.add("GlobalAveragePool", "mean", h))))


def explained(program: Program, x: np.ndarray, start: str = "score", dtype: type = np.float32, **options: Any) -> Any:
    """Relevance of the pixels, for another class per picture."""
    activations = program.forward(x)
    targets = np.arange(len(x)) + 1
    r = initial_relevance(activations[program.graph.output], targets, start).astype(dtype)
    return program.backward(activations, r, **options)["x"]


def step_of(program: Program, name: str) -> Step:
    return next(step for step in program.steps if step.node.name == name)


def is_scattered(program: Program) -> bool:
    """Whether the first layer's weights are laid out as windows."""
    layer = step_of(program, "conv1").layer
    assert layer is not None
    assert layer.step.fused is not None
    kernels = layer.step.fused._linear._gather.values()  # type: ignore[attr-defined]
    return any("scattered" in vars(kernel) and kernel.scattered is not kernel for kernel in kernels)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("lrn", [False, True], ids=["", "lrn"])
def test_first_layers_in_front_of_pooling(preset: str, lrn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, composite = pooled(lrn=lrn), Composite.load(preset)
    x, program = picture(graph), Program(graph, composite, bounds=BOUNDS)
    found = {dtype: explained(program, x, dtype=dtype) for dtype in (np.float32, np.float64)}
    # Where all weights are the same, fractions are summed first.
    assert is_scattered(program) == (preset != "epsilon-plus-flat")
    monkeypatch.setattr(Scattered, "suits", staticmethod(lambda _: False))
    by_taps = Program(graph, composite, bounds=BOUNDS)
    for dtype, close in ((np.float32, 2e-6), (np.float64, 1e-12)):
        wanted = explained(by_taps, x, dtype=dtype)
        np.testing.assert_allclose(found[dtype], wanted, rtol=0, atol=close * np.abs(wanted).max())
    assert not is_scattered(by_taps)


@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_depends_on_bands_or_company(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = pooled()
    x = picture(graph, 3)
    found = []
    for height, batch in ((0, 3), (100, 3), (1, 1)):
        monkeypatch.setattr(scattered, "_LEAST", height)
        program = Program(graph, Composite.load(preset), bounds=BOUNDS)
        activations = program.forward(x)
        r = initial_relevance(activations[graph.output], np.arange(3))
        parts = [
            program.backward({k: v[n : n + batch] for k, v in dict(activations).items()}, r[n : n + batch])["x"]
            for n in range(0, 3, batch)
        ]
        found.append(np.concatenate(parts))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kernel", [(5, 6), (3, 11), (2, 17)], ids=str)
@pytest.mark.parametrize("stride", [(1, 1), (2, 3), (4, 4), (9, 6)], ids=str)
def test_windows_are_added_where_they_belong(stride: tuple[int, int], kernel: tuple[int, int], dtype: type) -> None:
    """Against the matrix of the convolution; windows overlap, touch, or leave rows that none reaches.

    Their lines are one to three times as long as what is added at a time, or more.
    """
    net = Net((2, 31, 40), seed=7)
    graph = net.finish(net.conv("conv1", "x", 5, kernel=kernel, strides=stride, pads=(3, 0, 1, 2)))
    program = Program(graph, Composite.uniform("gradient"))
    layer = step_of(program, "conv1").layer
    assert layer is not None
    product = layer.step._linear.gather(0, (layer.step.shares[0].terms[0].w,), dtype)
    assert isinstance(product, TransposedConv)
    assert product.scattered is not product
    random = np.random.default_rng(8)
    shape = graph.tensors["conv1"].item_shape
    r = random.normal(size=(1, *shape)) * (random.uniform(size=(1, *shape)) < 0.2)
    r[0, 2] = 0  # a plane without anything
    weight = graph.constants["conv1/weight"].astype(np.float64)
    wanted = (r.reshape(-1) @ conv_matrix(weight, product._geometry)).reshape(1, 2, 31, 40)
    layer.step.fused._sparse = True  # type: ignore[union-attr]
    x = random.normal(size=(1, 2, 31, 40))
    (found,) = layer.step([x.astype(dtype)], None, r.astype(dtype))
    np.testing.assert_allclose(
        found, x * wanted if layer.reads_input else wanted, rtol=0, atol=1e-13 if dtype == np.float64 else 2e-5
    )


def test_what_is_not_finite_is_found() -> None:
    graph = pooled()
    program = Program(graph, Composite.load("epsilon"), bounds=BOUNDS)
    x = picture(graph)
    activations = dict(program.forward(x))
    r = initial_relevance(activations[graph.output], [0, 1])
    assert np.isfinite(program.backward(activations, r)["x"]).all()
    r[1, 1] = np.nan
    with pytest.raises(NumericError):
        program.backward(activations, r)


@pytest.mark.parametrize("start", ["score", "contrast"])
@pytest.mark.parametrize("preset", ["epsilon-plus", "alpha2-beta1"])
def test_only_channels_with_relevance_have_denominators(preset: str, start: str) -> None:
    graph = pooled()
    program = Program(graph, Composite.load(preset), bounds=BOUNDS)
    x = picture(graph)
    last = step_of(program, "classes").layer
    assert last is not None
    assert last.few
    assert last.denominators.names
    assert not set(last.denominators.names.values()) & set(program.forward(x))
    other = step_of(program, "conv2").layer
    assert other is not None
    assert set(other.denominators.names.values()) & set(program.forward(x))
    wanted = explained(program, x, start, keep=["relu1"])
    found = explained(program, x, start)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())
    few = last.missing(program.forward(x), np.float32, np.array([1, 4]))
    for number, name in last.denominators.names.items():
        values, dead = few[name], np.delete(np.arange(CLASSES), [1, 4])
        np.testing.assert_array_equal(values[:, dead], 1)
        xs, z = last.operands(program.forward(x))
        whole = last.step.denominator(number, xs, z, np.zeros((2, *last.output_shape), np.float32))
        np.testing.assert_allclose(values[:, [1, 4]], whole[:, [1, 4]], rtol=1e-5, atol=1e-5)


def test_no_bit_depends_on_which_other_classes_are_explained() -> None:
    program = Program(pooled(), Composite.load("alpha2-beta1"), bounds=BOUNDS)
    activations = program.forward(picture(program.graph))
    last = step_of(program, "classes").layer
    assert last is not None
    all_of_them = last.missing(activations, np.float32, np.arange(CLASSES))
    for c in range(CLASSES):
        for name, values in last.missing(activations, np.float32, np.array([c])).items():
            np.testing.assert_array_equal(values[:, c], all_of_them[name][:, c])


def test_weights_of_few_denominators_are_kept() -> None:
    program = Program(pooled(), Composite.load("epsilon-plus"), bounds=BOUNDS)
    packed = program.packed()
    assert "conv2/weight" in packed
    assert "classes/weight" not in packed


def test_where_channels_are_mixed_all_have_denominators() -> None:
    net = Net(seed=9)
    h = net.relu("relu", net.conv("conv", "x", 6, kernel=(1, 1)))
    graph = canonise(net.finish(net.dense("fc", net.flatten("flat", h), 4)))
    layer = step_of(Program(graph, Composite.load("epsilon-plus")), "conv").layer
    assert layer is not None
    assert not layer.few


@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (2, 3), (5, 7)], ids=str)
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 2, 3, 1), (4, 3, 0, 0)], ids=str)
def test_few_outputs_are_those_of_the_whole_convolution(
    pads: tuple[int, int, int, int], stride: tuple[int, int]
) -> None:
    net = Net((5, 6, 4), seed=3)
    graph = net.finish(net.conv("conv1", "x", 7, kernel=(1, 1), pads=pads, strides=stride))
    (node,) = graph.nodes
    x = np.random.default_rng(4).normal(size=(2, 5, 6, 4)).astype(np.float32)
    whole = operator(node.op, node.name).linear_map(node, graph)
    assert isinstance(whole, ConvMap)
    few = np.array([5, 2])
    for part in (WeightPart("all"), WeightPart("neg")):
        found, wanted = whole.narrowed(few).forward([x], part), whole.forward([x], part)[:, few]
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
        assert wanted.any() or stride == (5, 7)  # which may look at padding alone
