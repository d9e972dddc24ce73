"""3 × 3 convolutions by minimal filtering: against the taps one by one, and used only where its errors do no harm."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from lrptool.engine import Program, ShareStep, canonise, set_threads
from lrptool.engine.steady import is_steady
from lrptool.graph import Graph
from lrptool.kernels import Geometry, Schedule, TransposedConv, transpose_alone, winograd
from lrptool.kernels.landing import Landing
from lrptool.kernels.records import SPLIT
from lrptool.kernels.shapes import narrowest
from lrptool.kernels.winograd import Winograd
from lrptool.ops import WeightPart
from lrptool.ops.conv import ConvMap
from lrptool.rules import Composite, Match, Row, Rule, Share, Term
from tests import oracle
from tests.nets import Net
from tests.random_layers import conv_matrix

Function = Callable[[Net, str, str], str]
"""Adds an operator of some name behind an output; returns its own."""
TOLERANCES = {np.float64: 1e-14, np.float32: 3e-6}


def geometry(size: tuple[int, int], pads: tuple[int, int, int, int], group: int = 1) -> Geometry:
    out = (size[0] + pads[0] + pads[2] - 2, size[1] + pads[1] + pads[3] - 2)
    return Geometry(size, out, (3, 3), (1, 1), pads, (1, 1), group)


def by_taps(s: np.ndarray, w: np.ndarray, g: Geometry) -> np.ndarray:
    """Wᵀ s in float64, one tap of the kernel after the other."""
    outs, per_group = w.shape[0] // g.group, w.shape[1]
    (height, width), (top, left) = g.in_size, g.pads[:2]
    padded = np.zeros((len(s), g.group * per_group, g.out_size[0] + 2, g.out_size[1] + 2))
    for k in range(g.group):
        part, kernels = s[:, k * outs : (k + 1) * outs].astype(np.float64), w[k * outs : (k + 1) * outs]
        channels = padded[:, k * per_group : (k + 1) * per_group]
        for y in range(3):
            for x in range(3):
                product = np.einsum("nohw,oc->nchw", part, kernels[:, :, y, x].astype(np.float64))
                channels[:, :, y : y + g.out_size[0], x : x + g.out_size[1]] += product
    return padded[:, :, top : top + height, left : left + width]


def filtered(w: np.ndarray, g: Geometry) -> TransposedConv:
    """The convolution by minimal filtering; fails where it is not chosen."""
    gather = TransposedConv(lambda: [w], g).filtered
    assert all(isinstance(phase, Winograd) for phase in gather._packed.phases)
    return gather


MOST = winograd._NEAR // narrowest()
"""Planes of which a column stays in a core's own cache."""
CASES = {
    # outputs, channels, geometry, batch
    "even": (16, 8, geometry((14, 14), (1, 1, 1, 1)), 1),
    "odd": (64, 48, geometry((27, 13), (1, 1, 1, 1)), 1),
    "no padding": (33, 21, geometry((13, 18), (0, 0, 0, 0)), 2),
    "uneven padding": (20, 9, geometry((15, 40), (2, 0, 1, 2)), 1),
    "groups": (64, 48, geometry((14, 15), (1, 1, 1, 1), group=2), 2),
    "many planes": (MOST, 40, geometry((14, 14), (1, 1, 1, 1)), 1),
    "many blocks": (18, 300, geometry((13, 14), (1, 1, 1, 1)), 3),
    "one column": (17, 30, geometry((90, 1), (1, 1, 1, 1)), 1),
    "wider than a register": (16, 10, geometry((3, 150), (1, 1, 1, 1)), 1),
}


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("outputs", "channels", "g", "batch"), CASES.values(), ids=CASES)
def test_equals_the_taps(outputs: int, channels: int, g: Geometry, batch: int, dtype: type) -> None:
    rng = np.random.default_rng(0)
    w = rng.normal(size=(outputs, channels // g.group, 3, 3)).astype(dtype)
    s = rng.normal(size=(batch, outputs, *g.out_size)).astype(dtype)
    s[0, ::3] = 0  # planes that are left out
    wanted = by_taps(s, w, g)
    gather = filtered(w, g)
    set_threads(1)
    try:
        found = transpose_alone(gather, s, (channels, *g.in_size))
    finally:
        set_threads(0)
    assert np.abs(found - wanted).max() <= TOLERANCES[dtype] * np.abs(wanted).max()
    np.testing.assert_array_equal(transpose_alone(gather, s, (channels, *g.in_size)), found)  # with all threads


def test_nothing_arrives_nothing_is_handed_back() -> None:
    g = geometry((14, 14), (1, 1, 1, 1))
    w = np.random.default_rng(0).normal(size=(16, 8, 3, 3)).astype(np.float32)
    assert not transpose_alone(filtered(w, g), np.zeros((1, 16, 14, 14), np.float32), (8, 14, 14)).any()


@pytest.mark.parametrize("place", [(0, 0), (4, 7), (5, 6), (12, 12)])
def test_what_is_not_finite_stays_under_its_kernel(place: tuple[int, int]) -> None:
    """Also on maps of odd size, the last tiles of which reach beyond them."""
    g = geometry((13, 13), (1, 1, 1, 1))
    rng = np.random.default_rng(0)
    s = rng.normal(size=(1, 16, 13, 13)).astype(np.float32)
    s[0, 5, *place] = np.nan
    found = transpose_alone(filtered(rng.normal(size=(16, 8, 3, 3)).astype(np.float32), g), s, (8, 13, 13))
    (y, x), covered = place, np.zeros((13, 13), bool)
    covered[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = True
    np.testing.assert_array_equal(np.isnan(found[0]).all(axis=0), covered)
    np.testing.assert_array_equal(np.isnan(found[0]).any(axis=0), covered)


@pytest.mark.parametrize(
    "g",
    [
        geometry((14, 14), (3, 1, 1, 1)),
        Geometry((14, 14), (7, 7), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1),
        Geometry((14, 14), (12, 12), (3, 3), (1, 1), (1, 1, 1, 1), (2, 2), 1),
        Geometry((14, 14), (12, 12), (5, 5), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    ],
    ids=["pad of 3", "stride", "dilation", "5 × 5"],
)
def test_other_convolutions_stay_as_they_are(g: Geometry) -> None:
    gather = TransposedConv(lambda: [np.ones((16, 8, *g.kernel), np.float32)], g)
    assert gather.filtered is gather


SHAPE, CHANNELS = (8, 14, 14), 16
"""Enough for minimal filtering, of both convolutions of a network."""


def two_layers(*, bias: bool = False) -> Graph:
    net = Net(SHAPE, bias=bias)
    h = net.relu("relu1", net.conv("conv1", "x", CHANNELS))
    h = net.relu("relu2", net.conv("conv2", h, CHANNELS))
    return canonise(net.finish(net.dense("fc", net.flatten("flat", h), 5)))


def residual() -> Graph:
    net = Net(SHAPE)
    h = net.relu("relu1", net.conv("conv1", "x", CHANNELS))
    block = net.conv("conv3", net.relu("relu2", net.conv("conv2", h, CHANNELS)), CHANNELS)
    h = net.relu("relu3", net.add("Sum", "add", h, block))
    return canonise(net.finish(net.dense("fc", net.flatten("flat", h), 5)))


def uses(graph: Graph, composite: Composite) -> dict[str, bool]:
    """Whether a convolution's products are computed by minimal filtering, all or none of them, by its name."""
    found = {}
    for step in Program(graph, composite).steps:
        if step.node.op == "Conv" and step.layer is not None:
            layer, dtype = step.layer.step, np.dtype(np.float32)
            products = layer.fused._products(Schedule(1, dtype), 0, None, layer.constants(0, dtype))
            (found[step.node.name],) = {
                isinstance(phase, Winograd) for kernel, *_ in products for phase in kernel._packed.phases
            }
    return found


def all_convolutions(rule: Rule) -> Composite:
    return Composite("test", (Row(Match(op="Conv"), rule), Row(Match(op="Gemm"), Rule.of("epsilon"))))


EVERYWHERE = {"conv1": True, "conv2": True}
ABOVE = {"conv1": False, "conv2": True}
NOWHERE = {"conv1": False, "conv2": False}


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (Rule.of("epsilon"), EVERYWHERE),
        (Rule.of("gamma"), EVERYWHERE),
        (Rule.of("zplus"), EVERYWHERE),
        # Of inputs of either sign, positive weights alone may add up to anything.
        (Rule.of("zplus-literal"), ABOVE),
        (Rule.of("gamma-literal"), ABOVE),
        (Rule.of("alpha-beta", alpha=1, beta=0), EVERYWHERE),
        (Rule.of("alpha-beta", alpha=2, beta=1), NOWHERE),
        (Rule.of("zplus", bias=False), NOWHERE),
        (Rule.of("epsilon", bias=False), NOWHERE),
        # What these hand back is not in proportion to the inputs.
        (Rule.of("wsquare"), ABOVE),
        # Of one plane there is little to save.
        (Rule.of("flat"), NOWHERE),
    ],
    ids=str,
)
def test_rules_that_keep_fractions_of_like_size(rule: Rule, wanted: dict[str, bool]) -> None:
    assert uses(two_layers(bias=True), all_convolutions(rule)) == wanted


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize(("where", "kinds"), [("positive", ("pos", "neg")), ("negative", ("gamma-neg", "gamma-pos"))])
def test_half_of_the_contributions_may_be_less_than_all(where: str, kinds: tuple[str, str], nonnegative: bool) -> None:
    terms = tuple(Term(x, WeightPart(kind)) for x, kind in zip(("pos", "neg"), kinds, strict=True))
    steady = partial(is_steady, nonnegative=nonnegative, rectified=False, biased=False)
    assert steady(Share(terms, where=where))
    assert steady(Share(terms[:1], where=where)) is nonnegative
    assert not steady(Share(terms[1:], where=where))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_inputs_of_either_sign_that_share_a_product_get_it_tap_by_tap(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One result for x > 0 and one for the rest: twice as many as minimal filtering has room for."""
    for least in ("_SLOTS", "_CHANNELS", "_TILES"):
        monkeypatch.setattr(winograd, least, 1)
    random = np.random.default_rng(channels)
    weight = random.normal(size=(24, channels, 3, 3)).astype(np.float32)
    x, r = (random.normal(size=(2, count, 20, 21)).astype(np.float32) for count in (channels, 24))
    geometry = Geometry((20, 21), (20, 21), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1)
    found = []
    for steady in (True, False):
        linear = ConvMap(lambda: weight, None, geometry)
        step = ShareStep(Rule.of("zplus"), linear, [x.shape[1:]], nonnegative=False, rectified=True, steady=steady)
        found.append(step([x], None, r)[0])
    assert step.fused is not None
    assert any(step.fused._both.values())
    np.testing.assert_array_equal(*found)
    (phase,) = TransposedConv(lambda: [weight], geometry).filtered._packed.phases
    schedule = Schedule(1, np.float32)
    place = schedule.scratch(1)
    landing = Landing(place, 1, 0, place, SPLIT, place, (20, 21), None, accumulate=False)
    with pytest.raises(ValueError, match="one result per input"):
        phase.add_to(schedule, landing)


def test_bias_plays_no_part_where_there_is_none() -> None:
    assert uses(two_layers(), all_convolutions(Rule.of("epsilon", bias=False))) == EVERYWHERE


def test_positive_weights_alone_divide_by_too_little_where_outputs_may_be_negative() -> None:
    found = uses(residual(), all_convolutions(Rule.of("zplus")))
    assert found == {"conv1": False, "conv2": False, "conv3": False}
    assert uses(residual(), all_convolutions(Rule.of("epsilon"))) == dict.fromkeys(found, True)


def one_input(op: str, **attributes: Any) -> Function:
    return lambda net, name, x: net.add(op, name, x, **attributes)


def normalised(op: str, size: tuple[int, ...], **attributes: Any) -> Function:
    """With a scale, and a shift of nothing."""

    def add(net: Net, name: str, x: str) -> str:
        constants = [net.builder.constant(f"{name}/{k}", np.full(size, 1 - k)) for k in range(2)]
        return net.add(op, name, x, *constants, epsilon=1e-5, **attributes)

    return add


LRN = {"size": 3, "alpha": 0.5, "beta": 0.75}
FUNCTIONS = {
    "Tanh": (one_input("Tanh"), EVERYWHERE),
    "Sigmoid": (one_input("Sigmoid"), NOWHERE),
    "Sqrt": (one_input("Sqrt"), NOWHERE),
    "LRN": (one_input("LRN", **LRN, bias=1.0), EVERYWHERE),
    "LRN of little": (one_input("LRN", **LRN, bias=0.01), NOWHERE),
    "LRN within channels": (one_input("LRNWithinChannel", **LRN, bias=1.0), EVERYWHERE),
    "LRN within channels of little": (one_input("LRNWithinChannel", **LRN, bias=0.01), NOWHERE),
    "L2Normalize": (one_input("L2Normalize", axes=(1,), epsilon=1e-6), NOWHERE),
    "RMSNormalization": (one_input("RMSNormalization", axis=-1, epsilon=1e-6), NOWHERE),
    "LayerNormalization": (normalised("LayerNormalization", (CHANNELS, *SHAPE[1:]), axis=1), NOWHERE),
    "InstanceNormalization": (normalised("InstanceNormalization", (CHANNELS,)), NOWHERE),
}


@pytest.mark.parametrize(("function", "wanted"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_functions_that_make_much_of_little(function: Function, wanted: dict[str, bool]) -> None:
    net = Net(SHAPE)
    h = function(net, "first", net.conv("conv1", "x", CHANNELS))
    h = function(net, "second", net.conv("conv2", h, CHANNELS))
    graph = canonise(net.finish(net.dense("fc", net.flatten("flat", h), 5)))
    assert uses(graph, all_convolutions(Rule.of("epsilon"))) == wanted


@pytest.mark.parametrize(("mean", "wanted"), [(False, NOWHERE), (True, EVERYWHERE)], ids=["map", "mean of a map"])
def test_relevance_may_start_as_ones_on_a_map(mean: bool, wanted: dict[str, bool]) -> None:
    net = Net(SHAPE)
    h = net.conv("conv2", net.relu("relu", net.conv("conv1", "x", CHANNELS)), CHANNELS)
    graph = canonise(net.finish(net.add("GlobalAveragePool", "mean", h) if mean else h))
    assert uses(graph, all_convolutions(Rule.of("epsilon"))) == wanted


def test_fractions_of_different_size_are_kept_from_it() -> None:
    """Hardly anything lowers an output: β R / N is huge there, and would drown its neighbours in its rounding error."""
    rng = np.random.default_rng(0)
    g = geometry((14, 14), (1, 1, 1, 1))
    w = rng.normal(size=(16, 8, 3, 3))
    x = np.maximum(rng.normal(size=(1, 8, 14, 14)), 0) * np.where(np.arange(14) % 4 == 0, 1, 1e-9)
    r = rng.uniform(size=(1, 16, 14, 14))
    rule = Rule.of("alpha-beta", alpha=2, beta=1, epsilon=0)
    wanted = oracle.alpha_beta(conv_matrix(w, g), x.ravel(), None, r.ravel(), 2, 1, epsilon=0).reshape(x.shape)
    step = ShareStep(rule, ConvMap(lambda: w.astype(np.float32), None, g), [x.shape[1:]], nonnegative=True, steady=True)
    deviation = partial(_deviation, step, x.astype(np.float32), r.astype(np.float32), wanted)
    assert deviation() < 1e-5
    step.fused._steady = True
    assert deviation() > 1e-3


def test_taps_without_weight_are_kept_from_it() -> None:
    """Relevance of a dim side of the map alone, in kernels of one column: bright inputs beside it get nothing."""
    rng = np.random.default_rng(0)
    net = Net(SHAPE)
    w = np.zeros((16, 8, 3, 3))
    w[..., 2] = rng.normal(size=(16, 8, 3))
    classes = rng.normal(size=(4, 16, 14, 14)) * (np.arange(14) > 9)
    h = net.flatten("flat", net.relu("relu", net.conv("conv1", "x", w)))
    graph = canonise(net.finish(net.dense("fc", h, classes.reshape(4, -1))))
    program = Program(graph, Composite.uniform("epsilon"))
    x = (rng.normal(size=(1, 8, 14, 14)) * np.where(np.arange(14) > 10, 1e-3, 1)).astype(np.float32)
    found = program.forward(x)
    start = np.eye(1, 4, dtype=np.float32) * found["fc"]
    wanted = program.backward({k: v.astype(np.float64) for k, v in found.items()}, start.astype(np.float64))["x"]
    assert np.abs(program.backward(found, start)["x"] - wanted).max() < 2e-6 * np.abs(wanted).max()


def test_columns_stay_in_the_cache() -> None:
    kernels = np.ones((1, MOST + 1, 8, 3, 3), np.float32)
    assert Winograd.suits(kernels[:, :MOST], (14, 14))
    assert not Winograd.suits(kernels, (14, 14))
    assert MOST >= 512  # as many as VGG16 has


def test_kernels_need_weight_at_every_tap() -> None:
    kernels, size = np.random.default_rng(0).normal(size=(2, 16, 8, 3, 3)), (14, 14)
    assert Winograd.suits(kernels, size)
    pruned = np.where(np.abs(kernels) < 1, 0, kernels)
    assert Winograd.suits(pruned, size)
    faint = kernels.copy()
    faint[1, :, 3] *= 1e-4
    faint[1, :, 3, 0, 1] = 0
    assert Winograd.suits(faint, size)
    without = kernels.copy()
    without[1, :, 3, 0, 1] *= 1e-4
    assert not Winograd.suits(without, size)


def _deviation(step: ShareStep, x: np.ndarray, r: np.ndarray, wanted: np.ndarray) -> float:
    (found,) = step([x], None, r)
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())
