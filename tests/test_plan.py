"""The way back as one schedule against the same steps one after the other, and what entries of a schedule become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from lrptool.engine import Forward, Program, canonise, initial_relevance, scores_of
from lrptool.errors import NumericError
from lrptool.graph import Graph
from lrptool.kernels.entries import Entry, Place, waits
from lrptool.kernels.joining import hand_over, join, pair, spell
from lrptool.kernels.records import PACK, PRODUCT, WEIGH
from lrptool.rules import Composite
from tests.nets import NETS, Net, image

BOUNDS = (np.full((3, 1, 1), -1.5), np.full((3, 1, 1), 1.5))
PRESETS = ("epsilon", "epsilon-plus", "epsilon-gamma-box", "epsilon-alpha2-beta1", "epsilon-plus-flat", "alpha2-beta1")


def connected(seed: int = 0) -> Graph:
    """Every layer reads all before it; a map is added to twice, and one of these is read as part of a whole."""
    single = {"kernel": (1, 1), "pads": (0, 0, 0, 0)}
    net = Net((3, 19, 18), seed=seed)
    first = net.relu("relu1", net.conv("conv1", "x", 17))
    second = net.relu("relu2", net.conv("conv2", first, 6, **single))
    wide = net.add("Concat", "both", first, second, axis=1)
    third = net.relu("relu3", net.conv("conv3", wide, 9))
    all_three = net.add("Concat", "three", wide, third, axis=1)
    pooled = net.max_pool("pool", all_three, (3, 3), (2, 2))
    fourth = net.relu("relu4", net.conv("conv4", pooled, 32, **single))
    fifth = net.relu("relu5", net.conv("conv5", pooled, 32))
    total = net.relu("relu6", net.add("Sum", "sum", net.conv("conv6", fourth, 32, **single), fifth))
    return net.finish(net.dense("fc", net.flatten("flat", total), 4))


def strided(seed: int = 0) -> Graph:
    """Two convolutions of single values with strides read the same maps: neither hands relevance to all of them."""
    single = {"kernel": (1, 1), "pads": (0, 0, 0, 0)}
    net = Net((3, 11, 10), seed=seed)
    maps = net.relu("relu2", net.conv("conv2", net.relu("relu1", net.conv("conv1", "x", 5)), 18))
    left = net.relu("left/relu", net.conv("left", maps, 5, strides=(2, 2), **single))
    right = net.relu("right/relu", net.conv("right", maps, 7, strides=(2, 1), **single))
    ends = net.add("Concat", "ends", net.flatten("left/flat", left), net.flatten("right/flat", right), axis=1)
    return net.finish(net.dense("fc", ends, 4))


def block(seed: int = 0, *, group: int = 1, elsewhere: str = "") -> Graph:
    """A residual sum, one summand of which may be a depthwise convolution's or be read elsewhere, too."""
    net = Net((3, 9, 8), seed=seed)
    maps = net.relu("relu1", net.conv("conv1", "x", 8))
    summand = net.conv("conv2", maps, 8, group=group)
    total = net.relu("relu3", net.add("Sum", "sum", summand, net.conv("conv3", maps, 8)))
    if elsewhere == "concat":
        total = net.add("Concat", "joined", summand, total, axis=1)
    elif elsewhere == "relu":
        other = net.relu("relu4", net.conv("conv4", net.relu("relu2", summand), 8))
        total = net.add("Concat", "joined", other, total, axis=1)
    elif elsewhere == "sum":
        before = net.add("Sum", "again", summand, net.conv("conv4", net.relu("relu2", summand), 8))
        total = net.add("Concat", "joined", before, total, axis=1)
    last = net.relu("relu6", net.conv("conv6", total, 6))
    return net.finish(net.dense("fc", net.flatten("flat", last), 4))


BLOCKS: dict[str, Callable[..., Graph]] = {
    "block": block,
    "depthwise": partial(block, group=8),
    "in a concat": partial(block, elsewhere="concat"),
    "behind a ReLU": partial(block, elsewhere="relu"),
    "added before": partial(block, elsewhere="sum"),
}
MAKERS: dict[str, Callable[..., Graph]] = NETS | {"connected": connected, "strided": strided} | BLOCKS


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_schedule_does_what_its_steps_do(make: Callable[..., Graph], preset: str, batch: int) -> None:
    program = Program(canonise(make(3)), Composite.load(preset), bounds=BOUNDS)
    x = np.random.default_rng(1).uniform(-1, 1, (batch, *program.graph.input.item_shape)).astype(np.float32)
    activations = program.forward(x)
    output = activations[program.graph.output]
    start = initial_relevance(output, scores_of(output).argmax(1))
    planned = program.backward(activations, start)["x"]
    walked = program.backward(activations, start, keep=["x"])["x"]
    np.testing.assert_allclose(planned, walked, rtol=0, atol=2e-6 * np.abs(walked).max())
    np.testing.assert_array_equal(planned, program.backward(activations, start)["x"])
    again = program.backward({**activations}, start)["x"]
    np.testing.assert_array_equal(planned, again)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_derived_is_as_good_as_what_is_fetched(make: Callable[..., Graph], preset: str, dtype: type) -> None:
    graph = canonise(make(5))
    program = Program(graph, Composite.load(preset), bounds=BOUNDS)
    x = np.random.default_rng(2).uniform(-1, 1, (2, *graph.input.item_shape)).astype(np.float32)
    activations = program.forward(x)
    start = initial_relevance(activations[graph.output], scores_of(activations[graph.output]).argmax(1)).astype(dtype)
    everything = {**activations, **Forward(graph, [name for name in graph.tensors if name != "x"])(x)}
    expected = program.backward(everything, start, keep=["x"])["x"]
    found = program.backward(activations, start)["x"]
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("preset", ["alpha1-beta0", "alpha2-beta1", "epsilon"])
def test_an_activation_that_is_no_number_is_found(preset: str) -> None:
    program = Program(canonise(NETS["vgg"](3)), Composite.load(preset), bounds=BOUNDS)
    activations = dict(program.forward(image()))
    start = initial_relevance(activations[program.graph.output], [0, 1])
    activations["x"] = activations["x"].copy()
    activations["x"][0, 1, 2, 3] = np.nan
    with pytest.raises(NumericError):
        program.backward(activations, start)


def test_a_summand_is_not_fetched_and_still_known() -> None:
    program = Program(canonise(NETS["residual"](1)), Composite.load("epsilon"), bounds=BOUNDS)
    differences = program._derived.differences
    assert differences
    activations = program.forward(image())
    graph = program.graph
    for name, difference in differences.items():
        assert name not in program._derived.fetched
        rectified = activations[difference.whole]
        exact = Forward(graph, [name])(image())[name]
        alive = rectified > 0
        assert alive.any()
        np.testing.assert_allclose(activations[name][alive], exact[alive], rtol=0, atol=1e-6 * np.abs(rectified).max())


def test_a_summand_that_is_divided_by_zero_is_fetched() -> None:
    graph = canonise(NETS["residual"](1))
    assert not Program(graph, Composite.uniform("epsilon", epsilon=0.0))._derived.differences


R, OTHER, PLANES, MORE, DEN = (Place(number, 0, 96) for number in range(5))


def weigh(out: Place = R, *, accumulate: bool = False, x: Place = OTHER, r: Place = DEN) -> Entry:
    fields = {"channels": 6, "values": 16, "out": out, "x": x, "accumulate": int(accumulate), "keep": 1, "r": r}
    fields |= dict.fromkeys(("den", "z", "epsilon", "clip", "where", "normalised", "band"), 1)
    return Entry(WEIGH, 6, own=16, fields=fields, reads=(x,), writes=((out, None),))


def pack(r: Place, channels: int, planes: Place = PLANES, den: Place = DEN, size: int = 16) -> Entry:
    fields = {"channels": channels, "height": size // 4, "width": 4, "summed": 0, "r": r, "den": den, "z": den}
    return Entry(PACK, 6, fields=fields | {"shift": 0}, reads=(r, den), writes=((planes, "packing"),))


def test_who_completes_relevance_packs_it() -> None:
    slices = [pack(R, 2), pack(R.shifted(32), 4, MORE)]
    (joined,) = join([weigh(), *slices], {R.buffer, PLANES.buffer, MORE.buffer})
    assert [packing.integer("shift") for packing in joined.onward] == [0, 2]
    assert joined.integer("keep") == 0
    assert [place for place, _ in joined.writes] == [PLANES, MORE]
    assert DEN in joined.reads


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([pack(R, 6)], id="no writer"),
        pytest.param([weigh(), weigh(R.shifted(32)), pack(R, 6)], id="half a writer"),
        pytest.param([weigh(), pack(R.shifted(8), 2)], id="between channels"),
        pytest.param([weigh(), pack(R, 6, size=8)], id="other maps"),
        pytest.param([weigh(), replace(pack(R, 6), fields=pack(R, 6).fields | {"summed": 1})], id="summed"),
    ],
)
def test_what_is_not_joined(entries: list[Entry]) -> None:
    assert join(entries, {R.buffer, PLANES.buffer}) == entries


@pytest.mark.parametrize(
    "later", [replace(weigh(OTHER), reads=(R,)), weigh(accumulate=True)], ids=["is read", "is added to"]
)
def test_relevance_others_need_is_kept(later: Entry) -> None:
    joined, _ = join([weigh(), pack(R, 6), later], {R.buffer, PLANES.buffer})
    assert joined.integer("keep") == 1
    assert [place for place, _ in joined.writes] == [R, PLANES]


def test_relevance_from_outside_is_not_joined() -> None:
    entries = [weigh(), pack(R, 6)]
    assert join(entries, {PLANES.buffer}) == entries


def test_a_difference_is_formed_by_who_weighs_with_it() -> None:
    virtual = Place(9, 0, 96)
    (joined,) = join([weigh(x=virtual), pack(R, 6, den=virtual)], {R.buffer, PLANES.buffer})
    spelled = spell(joined, {9: (OTHER, MORE)})
    assert (spelled.place("whole"), spelled.place("less")) == (OTHER, MORE)
    assert spelled.onward[0].integer("den_is_x") == 1
    assert virtual not in spelled.reads
    assert {OTHER, MORE} <= set(spelled.reads)
    with pytest.raises(TypeError, match="cannot form"):
        spell(replace(joined, onward=[pack(R, 6, den=Place(8, 0, 96))]), {9: (OTHER, MORE), 8: (MORE, OTHER)})


def test_the_inputs_of_a_sum_are_handed_their_shares_together() -> None:
    first, second = weigh(R), weigh(MORE)
    (paired,) = pair([first, second])
    assert list(paired.beside) == [second]
    assert [place for place, _ in paired.writes] == [R, MORE]


@pytest.mark.parametrize(
    "other",
    [weigh(MORE, r=OTHER), weigh(MORE, x=R), weigh(R, accumulate=True), pack(MORE, 6)],
    ids=["other fractions", "reads what is written", "writes the same", "no weighing"],
)
def test_what_is_not_paired(other: Entry) -> None:
    assert pair([weigh(R), other]) == [weigh(R), other]


def product(out: Place = R, *, accumulate: bool = False, stride: int = 1, height: int = 4) -> Entry:
    fields = {"groups": 2, "channels": 3, "height": height, "width": 4, "out": out, "x": OTHER, "tile": 0, "wide": 16}
    fields |= {"stride_y": stride, "stride_x": stride, "accumulate": int(accumulate), "keep": 1, "spare": 0}
    return Entry(PRODUCT, 6, own=100, fields=fields, reads=(PLANES, OTHER), writes=((out, None),))


def test_a_product_weighs_what_it_completes() -> None:
    following = weigh(MORE, r=R)
    last = product(accumulate=True)
    first, joined = hand_over([product(), last, following], {R.buffer, MORE.buffer})
    assert first == product()
    assert joined.following == following
    assert (joined.integer("keep"), joined.integer("spare")) == (0, 100)
    assert joined.own > last.own
    assert [place for place, _ in joined.writes] == [MORE]
    assert R in joined.reads  # what it adds to


@pytest.mark.parametrize("reader", [weigh(DEN, x=R), pack(R, 6, MORE)], ids=["weighs", "packs"])
def test_relevance_that_is_weighed_and_needed_otherwise_is_kept(reader: Entry) -> None:
    for entries in ([product(), weigh(MORE, r=R), reader], [product(), replace(reader, writes=()), weigh(MORE, r=R)]):
        joined, _ = hand_over(entries, {R.buffer})
        assert joined.following is not None
        assert joined.integer("keep") == 1
        assert [place for place, _ in joined.writes] == [R, MORE]


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([weigh(MORE, r=R)], id="no writer"),
        pytest.param([weigh(R), weigh(MORE, r=R)], id="no product"),
        pytest.param([product(stride=2), weigh(MORE, r=R)], id="gaps"),
        pytest.param([product(height=2), weigh(MORE, r=R)], id="other maps"),
        pytest.param([product(R.shifted(8)), weigh(MORE, r=R)], id="another place"),
        pytest.param([product(), weigh(PLANES, r=R)], id="writes what the product reads"),
        pytest.param([product(), weigh(OTHER, r=DEN), weigh(MORE, r=R)], id="reads what is written in between"),
        pytest.param([product(), weigh(DEN, x=MORE), weigh(MORE, r=R)], id="writes what is read in between"),
    ],
)
def test_what_a_product_does_not_weigh(entries: list[Entry]) -> None:
    assert hand_over(entries, {R.buffer, MORE.buffer}) == entries


def test_who_waits_for_whom() -> None:
    group = object()
    first, second = (Entry(writes=((R, group),)) for _ in range(2))
    reader = Entry(reads=(R,), writes=((OTHER, None),))
    assert waits([first, second, reader, Entry(writes=((R, None),)), Entry(reads=(DEN,))], 5) == [-1, -1, 1, 2, -1]
