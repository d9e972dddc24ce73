"""Random layers, random rules, the textbook: in float64 and float32, with one thread and with many.

The cases are the same in every run. ``LRPTOOL_FUZZ=20 python -m pytest tests/test_fuzz.py`` draws others, twenty times
as many.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from lrptool.engine import Program, ShareStep, canonise, set_threads
from lrptool.engine.shares import reads_input
from lrptool.kernels import product, scattered, shapes, winograd
from lrptool.kernels.shapes import best_shape
from lrptool.rules import Composite, Match, Row, Rule
from tests import oracle
from tests.conditioning import Condition
from tests.nets import Net
from tests.random_layers import RandomLayer, convolutions, dense_layers, images, windows
from tests.test_rules import RULES, WITHOUT_BIAS, Layer, expected

FACTOR = int(os.environ.get("LRPTOOL_FUZZ", "0"))
DTYPES = (np.float64, np.float32)
TOLERANCES = {np.float64: 1e-12, np.float32: 3e-6}
"""Of the magnitude of all contributions: some units in the last place."""
MANY = 0

Case = tuple[str, dict[str, Any], Callable[..., np.ndarray]]
rules = st.sampled_from(RULES + WITHOUT_BIAS)


def fuzz(examples: int) -> settings:
    return settings(
        max_examples=examples * max(1, FACTOR),
        derandomize=not FACTOR,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let kernels use so many threads."""
    set_threads(count)
    try:
        yield
    finally:
        set_threads(MANY)


TILES = [None, *range(len(shapes.SHAPES))]
"""Left to choose, and each by itself."""


@contextmanager
def only_tile(shape: int | None) -> Iterator[None]:
    """Let products use one tile, whatever they are, and ask for what the first block of weights reads.

    They add up their terms in many chunks then, of few tiles at a time. Minimal filtering is used wherever possible, as
    are windows of what is not zero, in bands of any height.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scattered, "_WASTE", scattered.LINE)
        patch.setattr(scattered, "_LEAST", 0)
        for least in ("_SLOTS", "_CHANNELS", "_TILES"):
            patch.setattr(winograd, least, 1)
        if shape is not None:
            patch.setattr(product, "best_shape", lambda *x, unit: best_shape(*x, unit=unit) if unit > 1 else shape)
            patch.setattr(winograd, "best_shape", lambda *_, **__: shape)
            patch.setattr(product, "_FAR", 0)
            patch.setattr(product, "_MANY", 1)
            patch.setattr(product, "_CHUNK", 64)
            patch.setattr(product, "_SUMS", 2048)
        yield


def conditions(layer: Layer, rule: Rule) -> list[Condition]:
    return [Condition(layer, x, rule) for x in layer.x.reshape(len(layer.x), -1)]


def conditioned(layer: RandomLayer, rule: Rule) -> RandomLayer:
    """The layer with relevance only where float32 can divide."""
    each = conditions(layer, rule)
    assume(all(condition.defined() for condition in each))
    good = np.stack([condition.good() for condition in each])
    return replace(layer, r=layer.r * good.reshape(layer.r.shape))


def magnitudes(layer: Layer, rule: Rule, r: np.ndarray, *, behind_relu: bool = False) -> np.ndarray:
    """What errors of a layer's relevance are measured against, for relevance of magnitude `r` that arrives."""
    found = []
    for condition, R in zip(conditions(layer, rule), r.reshape(len(r), -1), strict=True):
        found.append(condition.magnitudes(condition.uncertain(R) if behind_relu else R))
    return np.stack(found)


def close(actual: np.ndarray, wanted: np.ndarray, dtype: type, scale: float) -> None:
    assert actual.dtype == dtype
    assert actual.shape == wanted.shape
    assert np.abs(actual - wanted).max() <= TOLERANCES[dtype] * scale


def check_step(layer: RandomLayer, case: Case, *, sparse: bool = False) -> None:
    """One layer by itself: the general way, what is left of it where no input is negative, and every thread count."""
    name, parameters, function = case
    rule = Rule.of(name, **parameters)
    layer = conditioned(layer, rule)
    wanted, scale = expected(layer, layer.x, rule, function), magnitudes(layer, rule, np.abs(layer.r)).max()
    for dtype in DTYPES:
        linear = layer.linear(dtype)
        x, r = layer.x.astype(dtype), layer.r.astype(dtype)
        z = layer.z(linear, x)
        for nonnegative in {False, bool((layer.x >= 0).all())}:
            step = ShareStep(rule, linear, [x.shape[1:]], nonnegative=nonnegative, steady=True, sparse=sparse)
            xs = [x] if reads_input(step.shares) else []
            with threads(1):
                (relevance,) = step(xs, z, r)
            close(relevance, wanted, dtype, scale)
    np.testing.assert_array_equal(step(xs, z, r)[0], relevance)  # with all threads


@fuzz(40)
@given(layer=convolutions())
def test_the_matrix_of_a_convolution_is_the_oracle_s(layer: RandomLayer) -> None:
    x = layer.x.reshape(len(layer.x), -1)
    wanted = layer.apply(layer.x, layer.w).reshape(len(x), -1)
    np.testing.assert_allclose(x @ layer.W.T, wanted, atol=1e-13 * np.abs(layer.w).sum() * np.abs(x).max())


@fuzz(900)
@given(layer=convolutions(), case=rules, shape=st.sampled_from(TILES), one_in=st.sampled_from([1, 2, 7, 1000]))
def test_rules_on_convolutions(layer: RandomLayer, case: Case, shape: int | None, one_in: int) -> None:
    """With relevance everywhere, or at few places."""
    some = np.random.default_rng(one_in).integers(one_in, size=layer.r.shape) == 0
    with only_tile(shape):
        check_step(replace(layer, r=layer.r * some), case, sparse=one_in > 1)


@fuzz(300)
@given(layer=dense_layers(), case=rules)
def test_rules_on_dense_layers(layer: RandomLayer, case: Case) -> None:
    check_step(layer, case)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[RandomLayer, RandomLayer]:
    """A convolution, and a convolution or a dense layer that reads what a ReLU leaves of it."""
    first = draw(convolutions())
    a = np.maximum(preactivation(first), 0)
    if draw(st.booleans()):
        return first, replace(draw(convolutions(image=a.shape[1:], batch=len(a))), x=a)
    a = a.reshape(len(a), -1)
    return first, replace(draw(dense_layers(inside=a.shape[1], batch=len(a))), x=a)


def preactivation(layer: RandomLayer) -> np.ndarray:
    """W x + b in float64."""
    z = layer.x.reshape(len(layer.x), -1) @ layer.W.T
    return (z if layer.b is None else z + layer.per_output(layer.b)).reshape(layer.r.shape)


def compiled(first: RandomLayer, second: RandomLayer, one: Rule, two: Rule) -> Program:
    """The two layers as a network, a ReLU between them, each with its rule."""
    net = Net(first.x.shape[1:])
    h = net.relu("relu", _add(net, "first", "x", first))
    h = h if second.geometry else net.flatten("flat", h)
    rows = (Row(Match(position="first"), one), Row(Match(position="last"), two))
    return Program(canonise(net.finish(_add(net, "second", h, second))), Composite("fuzz", rows), threads=1)


def _add(net: Net, name: str, x: str, layer: RandomLayer) -> str:
    g = layer.geometry
    if g is None:
        return net.dense(name, x, layer.w, layer.b)
    geometry = {"strides": g.strides, "pads": g.pads, "dilations": g.dilations, "group": g.group}
    return net.conv(name, x, layer.w, layer.b, **geometry)


HIDDEN = [case for case in RULES + WITHOUT_BIAS if case[0] != "zbox"]
"""zbox is for layers that read the pixels."""


@fuzz(500)
@given(layers=pairs(), cases=st.tuples(rules, st.sampled_from(HIDDEN)), shape=st.sampled_from(TILES))
def test_rules_on_two_layers(
    layers: tuple[RandomLayer, RandomLayer], cases: tuple[Case, Case], shape: int | None
) -> None:
    """As compiled: denominators from the forward session, the ReLU's output for the first layer's pre-activation."""
    with only_tile(shape):
        check_two_layers(layers, cases)


def check_two_layers(layers: tuple[RandomLayer, RandomLayer], cases: tuple[Case, Case]) -> None:
    """Against the textbook, in both precisions."""
    (first, second), (one, two) = layers, [Rule.of(name, **parameters) for name, parameters, _ in cases]
    assume(all(condition.defined() for condition in conditions(first, one)))
    second = conditioned(second, two)
    first = replace(first, r=expected(second, second.x, two, cases[1][2]).reshape(first.r.shape))
    wanted = expected(first, first.x, one, cases[0][2])
    scale = magnitudes(first, one, magnitudes(second, two, np.abs(second.r)), behind_relu=True).max()
    program = compiled(first, second, one, two)
    # Dense layers compute in the precision of their weights, and a graph's are float32.
    if second.geometry is not None:
        truth = {"x": first.x, "first": preactivation(first), "relu": second.x, "second": preactivation(second)}
        close(program.backward(truth, second.r)["x"], wanted, np.float64, scale)
    found, r = program.forward(first.x.astype(np.float32)), second.r.astype(np.float32)
    with threads(1):
        single = program.backward(found, r)["x"]
    close(single, wanted, np.float32, scale)
    np.testing.assert_array_equal(program.backward(found, r)["x"], single)


def pooled(op: str, image: tuple[int, ...], window: dict[str, Any]) -> Program:
    """A network of one pooling layer with the rule that layer has by default."""
    net = Net(image)
    more = {"count_include_pad": window["count_pad"]} if op == "AveragePool" else {}
    geometry = {"kernel_shape": window["kernel"], "strides": window["strides"], "pads": window["pads"]}
    output = net.add(op, "pool", "x", **geometry, ceil_mode=int(window["ceil"]), **more)
    return Program(canonise(net.finish(output)), Composite("fuzz", ()), threads=1)


@st.composite
def poolings(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any], np.random.Generator]:
    """A batch of maps, a window over them, and where more numbers come from."""
    image = draw(images())
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    window = draw(windows(image[1:]))
    return random.normal(size=(draw(st.integers(1, 3)), *image)), window, random


def check_pooling(program: Program, x: np.ndarray, y: np.ndarray, r: np.ndarray, wanted: np.ndarray) -> None:
    """In both precisions and with any number of threads."""
    scale = np.abs(wanted).max()
    close(program.backward({"x": x, "pool": y}, r)["x"], wanted, np.float64, scale)
    found, r = program.forward(x.astype(np.float32)), r.astype(np.float32)
    with threads(1):
        single = program.backward(found, r)["x"]
    close(single, wanted, np.float32, scale)
    np.testing.assert_array_equal(program.backward(found, r)["x"], single)


@fuzz(150)
@given(case=poolings())
def test_relevance_is_routed_to_the_first_maximum(case: tuple[np.ndarray, dict[str, Any], np.random.Generator]) -> None:
    x, window, random = case
    # Few different values: most windows have several largest ones.
    x = np.round(x)
    y = oracle.max_pool(x, **window)
    r = random.normal(size=y.shape)
    check_pooling(pooled("MaxPool", x.shape[1:], window), x, y, r, oracle.max_pool_route(x, r, **window))


SHIFTED = {"kernel": (1, 2), "strides": (1, 2), "pads": (0, 1, 0, 0), "ceil": False}
"""One window as large as the map, half of it before the map."""


@fuzz(150)
@given(case=poolings(), count_pad=st.booleans())
@example(case=(np.array([[[[0.3, 0.8]]]]), SHIFTED, np.random.default_rng(2)), count_pad=False)
def test_relevance_of_a_mean_is_shared_by_contribution(
    case: tuple[np.ndarray, dict[str, Any], np.random.Generator], count_pad: bool
) -> None:
    (x, window, random), rule = case, Rule.of("proportion")
    x = np.maximum(x, 0) if random.random() < 0.5 else x
    x = x.astype(np.float32).astype(np.float64)
    mean = functools.partial(oracle.average_pool, count_pad=count_pad, **window)
    # Maps do not mix: one of them says what all do.
    matrix = oracle.dense_matrix(mean, (1, *x.shape[2:]))
    maps = x.reshape(-1, matrix.shape[1])
    y = maps @ matrix.T
    r = np.where(np.abs(y) < 0.1 * (np.abs(maps) @ matrix.T), 0, random.normal(size=y.shape))
    wanted = [oracle.proportion(matrix, xn, None, rn, epsilon=rule["epsilon"]) for xn, rn in zip(maps, r, strict=True)]
    shape = mean(x).shape
    program = pooled("AveragePool", x.shape[1:], {**window, "count_pad": int(count_pad)})
    check_pooling(program, x, y.reshape(shape), r.reshape(shape), np.reshape(wanted, x.shape))
