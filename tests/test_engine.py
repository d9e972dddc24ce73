"""Programs on small networks: conservation, determinism, the audit, what relevance starts as, and graph rewrites."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lrptool.engine import (
    Entry,
    Forward,
    Program,
    canonise,
    initial_relevance,
    probabilities_of,
    scores_of,
    set_threads,
)
from lrptool.errors import ConfigError, InputError, NumericError
from lrptool.graph import Graph
from lrptool.graph.passes import drop_identities, fold_batch_norm, mark_nonnegative, prune
from lrptool.ops import operator
from lrptool.rules import Composite, Match, Row, Rule
from tests import nets, oracle
from tests.nets import NETS, Net, image

BOUNDS = (np.full((3, 1, 1), -1.5), np.full((3, 1, 1), 1.5))
SMALL = {"epsilon": 1e-9}
CONSERVING = {
    "epsilon": SMALL,
    "epsilon-plus": SMALL,
    "epsilon-plus-flat": SMALL,
    "alpha2-beta1": {},
    "alpha1-beta0": {},
    "epsilon-gamma-box": SMALL,
    "lrp-cmp": SMALL,
    "deep-taylor": {},
}
every_net = pytest.mark.parametrize("make", NETS.values(), ids=NETS)
every_preset = pytest.mark.parametrize("preset", CONSERVING)


def compiled(graph: Graph, preset: str, **options: Any) -> Program:
    return Program(graph, Composite.load(preset, **CONSERVING.get(preset, {})), bounds=BOUNDS, threads=1, **options)


def explained(program: Program, x: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
    """Relevance of the best class's score."""
    activations = program.forward(x)
    output = activations[program.graph.output]
    return program.backward(activations, initial_relevance(output, scores_of(output).argmax(1)), **options)


def per_item(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1).sum(1, dtype=np.float64)


@every_preset
@every_net
@pytest.mark.parametrize("seed", range(1, 5))
def test_relevance_is_conserved_without_bias(make: Callable[..., Graph], preset: str, seed: int) -> None:
    # Behind a ReLU a small window can hold nothing that lowers its output, and beta has nothing to take, by definition.
    activation = "Sigmoid" if preset in ("alpha2-beta1", "lrp-cmp") else "Relu"
    program, x = compiled(make(seed, activation=activation), preset), image(3, seed)
    result = explained(program, x, keep=[program.graph.output])
    start = per_item(result[program.graph.output])
    assert (np.abs(start) > 0.01).all()
    assert (np.abs(per_item(result["x"]) - start) <= 1e-4 * np.abs(start)).all()
    assert result["x"].shape == x.shape
    assert result["x"].dtype == np.float32


@every_preset
@every_net
def test_the_audit_accounts_for_every_unit_of_relevance(make: Callable[..., Graph], preset: str) -> None:
    program, ledger = compiled(make(bias=True), preset), []
    result = explained(program, image(), ledger=ledger, keep=[program.graph.output])
    assert [entry.node for entry in ledger] == [node.name for node in reversed(program.graph.nodes)]
    start = per_item(result[program.graph.output])
    np.testing.assert_array_equal(ledger[0].arrived, start)
    for entry in ledger:
        assert entry.arrived.dtype == entry.other.dtype == np.float64
        total = entry.passed_on + entry.bias + entry.stabiliser + entry.other
        np.testing.assert_allclose(total, entry.arrived, rtol=1e-12, atol=1e-12)
        scale = np.abs([amount for e in ledger for amount in (e.arrived, e.bias)]).max()
        assert (np.abs(entry.other) <= 1e-5 * scale).all(), entry
    taken = sum(entry.bias + entry.stabiliser + entry.other for entry in ledger)
    np.testing.assert_allclose(per_item(result["x"]) + taken, start, rtol=1e-6, atol=1e-5 * scale)
    biased = {entry.op for entry in ledger if np.abs(entry.bias).max() > 0}
    assert biased <= {"Conv", "Gemm"}
    assert bool(biased) == (preset != "deep-taylor")  # zplus without bias and zbox: none


def test_the_audit_by_hand() -> None:
    net = Net((2, 1, 1))
    net.dense("fc", net.flatten("flat", "x"), np.array([[3.0, -1.0]]), np.array([2.0]))
    program = Program(canonise(net.finish("fc")), Composite.uniform("epsilon", epsilon=0.5))
    x = np.array([[[[1.0]], [[1.0]]]], np.float32)  # z = 3 - 1 + 2 = 4, stabilised 4.5
    ledger: list[Entry] = []
    relevance = program.backward(program.forward(x), np.array([[9.0]], np.float32), ledger=ledger)["x"]
    np.testing.assert_array_equal(relevance.ravel(), [6, -2])
    fc, flat = ledger
    assert (fc.node, fc.op, fc.rule) == ("fc", "Gemm", "epsilon(epsilon=0.5)")
    assert [v.item() for v in (fc.arrived, fc.passed_on, fc.bias, fc.stabiliser, fc.other)] == [9, 4, 4, 1, 0]
    assert [v.item() for v in (flat.arrived, flat.passed_on, flat.bias, flat.stabiliser, flat.other)] == [4, 4, 0, 0, 0]


@every_preset
@every_net
def test_a_batch_is_its_items_and_a_program_its_own_repetition(make: Callable[..., Graph], preset: str) -> None:
    """To the bit, given the same activations: how onnxruntime batches its own products is not ours to say."""
    program, x = compiled(make(bias=True), preset), image(2)
    activations = program.forward(x)
    output = activations[program.graph.output]
    relevance = initial_relevance(output, np.array([1, 3]))
    together = program.backward(activations, relevance)["x"]
    np.testing.assert_array_equal(program.backward(activations, relevance)["x"], together)
    for n in range(2):
        alone = {name: np.ascontiguousarray(value[n : n + 1]) for name, value in activations.items()}
        np.testing.assert_array_equal(program.backward(alone, relevance[n : n + 1])["x"][0], together[n])
    again = program.forward(x)
    for name, value in activations.items():
        np.testing.assert_array_equal(again[name], value)
        single = program.forward(x[1:])[name]
        np.testing.assert_allclose(single[0], value[1], rtol=0, atol=1e-5 * max(1, np.abs(value).max()))


@every_preset
@every_net
def test_one_thread_is_many_threads_to_the_bit(make: Callable[..., Graph], preset: str) -> None:
    program, x = compiled(make(bias=True), preset), image(3)
    activations = program.forward(x)
    relevance = initial_relevance(activations[program.graph.output], np.array([1, 3, 0]))
    try:
        set_threads(1)
        one = program.backward(activations, relevance)["x"]
        set_threads(4)
        many = program.backward(activations, relevance)["x"]
    finally:
        set_threads(0)
    np.testing.assert_array_equal(one, many)
    forward = Program(program.graph, program.composite, bounds=BOUNDS, threads=4).forward(x)
    assert forward.keys() == activations.keys()
    for name, value in forward.items():
        np.testing.assert_allclose(value, activations[name], rtol=0, atol=1e-5 * max(1, np.abs(value).max()))


@every_preset
@every_net
def test_no_argument_is_written_to(make: Callable[..., Graph], preset: str) -> None:
    program, x = compiled(make(bias=True), preset), image(2)
    before = x.copy()
    x.flags.writeable = False
    activations = program.forward(x)
    output = activations[program.graph.output]
    relevance = initial_relevance(output, np.array([1, 3]))
    copies = {name: value.copy() for name, value in (activations | {"relevance": relevance}).items()}
    for value in (*activations.values(), relevance):
        value.flags.writeable = False
    names = list(program.graph.tensors)
    program.backward(activations, relevance, keep=names, ledger=[])
    np.testing.assert_array_equal(x, before)
    for name, value in (activations | {"relevance": relevance}).items():
        np.testing.assert_array_equal(value, copies[name])


def test_kept_relevance_is_what_arrived_at_a_tensor() -> None:
    program = compiled(nets.residual(), "epsilon")
    kept = explained(program, image(), keep=["fc", "add", "relu1", "conv3"])
    assert set(kept) == {"x", "fc", "add", "relu1", "conv3"}
    for name in kept:
        assert kept[name].shape == (2, *program.graph.tensors[name].item_shape)
    # the shortcut starts at relu1: what arrives there is all there is, from both sides
    for name in ("add", "relu1", "x"):
        np.testing.assert_allclose(per_item(kept[name]), per_item(kept["fc"]), rtol=1e-4)
    assert not np.allclose(per_item(kept["conv3"]), per_item(kept["fc"]), rtol=1e-2)


def test_an_output_nobody_reads_gets_no_relevance() -> None:
    net = Net((4, 1, 1))
    left, _ = net.builder.add("Split", "split", [net.flatten("flat", "x")], ["left", "right"], axis=1, split=(1, 3))
    net.dense("fc", left, np.array([[2.0]]))
    program = Program(canonise(net.finish("fc")), Composite.uniform("epsilon"))
    relevance = explained(program, np.ones((1, 4, 1, 1), np.float32))["x"]
    np.testing.assert_allclose(relevance.ravel(), [2, 0, 0, 0], rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, np.inf])
def test_relevance_that_is_not_finite_names_node_and_rule(value: float) -> None:
    net = Net((3, 4, 5))
    h = net.flatten("flat", net.relu("relu", net.conv("dead", "x", np.zeros((2, 3, 3, 3)))))
    net.dense("fc", h, np.ones((2, 40)), np.ones(2))
    rows = [Row(Match(name=("dead",)), Rule.of("epsilon", epsilon=0)), Row(Match(op=("Gemm",)), Rule.of("flat"))]
    program = Program(canonise(net.finish("fc")), Composite("mine", tuple(rows)))
    activations = program.forward(np.ones((1, 3, 4, 5), np.float32))
    relevance = np.ones((1, 2), np.float32)
    where = "node 'dead' (Conv), rule epsilon(epsilon=0): 60 of 60 relevances are not finite"
    if value:
        relevance[0, 0] = value
        where = "node 'fc' (Gemm), rule flat: 40 of 40 relevances are not finite"
    with pytest.raises(NumericError) as caught:
        program.backward(activations, relevance)
    assert str(caught.value) == where
    assert "epsilon" in (caught.value.hint or "")


OUTPUT = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, 0.25]], np.float32)
TARGETS = np.array([2, 1])


def test_what_relevance_starts_as() -> None:
    np.testing.assert_array_equal(initial_relevance(OUTPUT, TARGETS), [[0, 0, 3], [0, 4, 0]])
    np.testing.assert_array_equal(initial_relevance(OUTPUT, TARGETS, "one"), [[0, 0, 1], [0, 1, 0]])
    against = np.array([1, 0])
    np.testing.assert_array_equal(initial_relevance(OUTPUT, TARGETS, "score", against), [[0, 2, 3], [-0.5, 4, 0]])
    np.testing.assert_array_equal(initial_relevance(OUTPUT, TARGETS, "one", against), [[0, -1, 1], [-1, 1, 0]])
    p = np.exp(OUTPUT.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    t = p[[0, 1], TARGETS][:, None]
    wanted = np.where(np.arange(3) == TARGETS[:, None], t * (1 - t), -t * p)
    contrast = initial_relevance(OUTPUT, TARGETS, "contrast")
    np.testing.assert_allclose(contrast, wanted, atol=1e-7)
    np.testing.assert_allclose(contrast.sum(1), 0, atol=1e-7)
    with pytest.raises(ConfigError, match="unknown start 'scor'") as caught:
        initial_relevance(OUTPUT, TARGETS, "scor")
    assert caught.value.hint == "did you mean 'score'?"


@pytest.mark.parametrize("start", ["score", "one", "contrast"])
def test_a_map_per_class_shares_the_start_of_its_mean(start: str) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    scores = scores_of(maps)
    np.testing.assert_allclose(scores, maps.mean((2, 3)), rtol=1e-6)
    relevance = initial_relevance(maps, TARGETS, start)
    assert relevance.shape == maps.shape
    np.testing.assert_allclose(relevance.sum((2, 3)), initial_relevance(scores, TARGETS, start), atol=1e-6)


def test_probabilities() -> None:
    large = OUTPUT + np.float32(1000)
    np.testing.assert_allclose(probabilities_of(large, "softmax"), probabilities_of(OUTPUT, "softmax"), rtol=1e-4)
    np.testing.assert_allclose(probabilities_of(OUTPUT, "softmax").sum(1), 1, rtol=1e-6)
    assert probabilities_of(OUTPUT, "logits") is None


def scores(graph: Graph, x: np.ndarray) -> np.ndarray:
    return Forward(graph, [graph.output], threads=1)(x)[graph.output]


def test_identities_go_and_scores_stay() -> None:
    net = Net()
    h = net.add("Identity", "same", net.add("Dropout", "drop", net.conv("conv", "x", 3)))
    net.add("Identity", "end", net.add("Sum", "sum", h, "x"))
    graph = net.finish("end")
    bare = drop_identities(graph)
    assert [node.name for node in bare.nodes] == ["conv", "sum"]
    assert bare.node("sum").inputs == ("conv", "x")
    assert (bare.output, set(bare.tensors)) == ("sum", {"x", "conv", "sum"})
    np.testing.assert_array_equal(scores(bare, image()), scores(graph, image()))


def test_what_the_output_does_not_need_is_pruned() -> None:
    net = Net()
    conv = net.conv("conv", "x", 4)
    net.relu("loose", net.conv("side", conv, 2))
    net.relu("end", conv)
    graph = prune(net.finish("end"))
    assert [node.name for node in graph.nodes] == ["conv", "end"]
    assert set(graph.constants) == {"conv/weight"}
    assert set(graph.tensors) == {"x", "conv", "end"}


@pytest.mark.parametrize("bias", [False, True])
def test_batch_norm_is_folded_into_the_layer_before(bias: bool) -> None:
    net = Net(bias=bias)
    h = net.relu("relu", net.random_norm("norm", net.conv("conv", "x", 5, strides=(2, 1), pads=(1, 0, 2, 1))))
    net.random_norm("norm2", net.dense("fc", net.flatten("flat", h), 4))
    graph = net.finish("norm2")
    folded = fold_batch_norm(graph)
    assert [node.op for node in folded.nodes] == ["Conv", "Relu", "Flatten", "Gemm"]
    assert (folded.output, folded.node("conv").outputs) == ("norm2", ("norm",))
    assert not {"conv/weight", "norm/scale"} & set(folded.constants)
    np.testing.assert_allclose(scores(folded, image()), scores(graph, image()), rtol=1e-4, atol=1e-5)


def test_batch_norm_stays_where_folding_would_change_a_score() -> None:
    net = Net()
    conv = net.conv("conv", net.random_norm("first", "x"), 3)
    both = net.add("Sum", "sum", conv, net.random_norm("second", conv))  # conv has another reader
    net.conv("end", net.random_norm("third", both), 2)  # behind a sum, before a layer
    graph = net.finish("end")
    assert fold_batch_norm(graph) is graph
    shared = Net()
    weight = shared.builder.constant("w", np.random.default_rng(0).normal(size=(3, 3, 1, 1)))
    geometry = {"kernel_shape": (1, 1), "strides": (1, 1), "pads": (0,) * 4, "dilations": (1, 1), "group": 1}
    one = shared.add("Conv", "one", "x", weight, **geometry)
    shared.random_norm("norm", shared.add("Conv", "two", one, weight, **geometry))  # weights of two layers
    assert fold_batch_norm(shared.finish("norm")).node("norm").op == "BatchNormalization"
    read = Net()
    conv = read.conv("conv", "x", 3)
    read.random_norm("norm", conv)
    ends_before = read.finish(conv)
    assert fold_batch_norm(ends_before) is ends_before


@every_net
def test_canonical_graphs_keep_their_scores(make: Callable[..., Graph]) -> None:
    graph = make(bias=True)
    assert "BatchNormalization" not in {node.op for node in graph.nodes}
    assert canonise(graph).nodes == graph.nodes


def test_a_class_is_not_explained_against_itself_nor_all_against_one() -> None:
    scores = np.array([[1.0, 2, 3]], np.float32)
    with pytest.raises(InputError, match="class 2 cannot be explained against itself"):
        initial_relevance(scores, np.array([2]), "score", np.array([2]))
    with pytest.raises(ConfigError, match="takes no single rival"):
        initial_relevance(scores, np.array([2]), "contrast", np.array([1]))


def test_a_tensor_to_keep_has_to_exist() -> None:
    graph = nets.vgg()
    program = Program(graph, Composite.load("epsilon"))
    with pytest.raises(KeyError, match="has no tensor 'nonsense'"):
        explained(program, image(), keep=["nonsense"])


def test_batch_norm_may_pass_relevance_on() -> None:
    net = Net()
    graph = net.finish(net.random_norm("norm", "x"))
    passing = Composite.from_data({"rows": [{"match": {"op": "BatchNormalization"}, "rule": "pass"}]})
    program = Program(graph, passing)
    activations = program.forward(image())
    r = np.arange(activations["norm"].size, dtype=np.float32).reshape(activations["norm"].shape)
    np.testing.assert_array_equal(program.backward(activations, r)["x"], r)


def test_a_shift_lets_relevance_arrive_where_a_rectifier_left_nothing() -> None:
    """A layer's output below zero is what its relevance is divided by, not the zero that the ReLU made of it."""
    random = np.random.default_rng(0)
    net, ones = Net((1, 6, 6)), np.ones(2)
    w, v = random.normal(size=(2, 1, 3, 3)).astype(np.float32), random.normal(size=(1, 18)).astype(np.float32)
    h = net.relu("relu", net.conv("conv", "x", w))
    h = net.batch_norm("norm", h, ones, ones, 0 * ones, ones, epsilon=0.0)
    graph = canonise(net.finish(net.dense("fc", net.flatten("flat", net.max_pool("pool", h)), v)))
    rows = (Row(Match(op="BatchNormalization"), Rule.of("pass")),)
    program = Program(graph, Composite.uniform("epsilon", epsilon=1e-6).prepend(rows))
    x = random.normal(size=(1, 1, 6, 6)).astype(np.float32)
    found = program.backward(program.forward(x), np.ones((1, 1), np.float32))["x"]
    matrix = oracle.dense_matrix(lambda maps: oracle.conv2d(maps, w, pads=(1, 1, 1, 1)), (1, 6, 6))
    a = 1 + np.maximum(matrix @ x.ravel().astype(np.float64), 0).reshape(1, 2, 6, 6)
    window = {"kernel": (2, 2), "strides": (2, 2)}
    r = oracle.epsilon(v.astype(np.float64), oracle.max_pool(a, **window).ravel(), None, np.ones(1))
    r = oracle.max_pool_route(a, r.reshape(1, 2, 3, 3), **window)
    assert (r[a == 1] != 0).any()
    wanted = oracle.epsilon(matrix, x.ravel().astype(np.float64), None, r.ravel())
    np.testing.assert_allclose(found.ravel(), wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("preset", ["epsilon", "epsilon-plus", "alpha2-beta1"])
def test_rectifiers_that_read_the_same_are_as_good_as_one(preset: str) -> None:
    """A layer's shares are computed from the rectified pre-activation in both cases."""
    forward, backward = [], []
    for second in ("relu", "again"):
        net = Net(seed=3)
        h = net.conv("conv", "x", 8)
        for name in dict.fromkeys(("relu", second)):
            net.relu(name, h)
        h = net.add("Sum", "sum", net.conv("left", "relu", 8), net.conv("right", second, 8))
        program = compiled(canonise(net.finish(net.dense("fc", net.flatten("flat", h), 3))), preset)
        forward.append(dict(program.forward(image())))
        backward.append(explained(program, image())["x"])
    assert forward[0].keys() == forward[1].keys() - {"again"}
    for name, values in forward[0].items():
        np.testing.assert_array_equal(forward[1][name], values)
    np.testing.assert_allclose(*backward, rtol=0, atol=1e-6 * np.abs(backward[0]).max())


def test_signs_are_known_behind_rectifiers() -> None:
    graph = nets.residual()
    known = {name for name, spec in graph.tensors.items() if spec.nonnegative}
    assert known == {"relu1", "relu2", "relu3", "mean", "flat"}
    net = Net()
    net.max_pool("pool", "x")
    unsigned = net.finish("pool")
    for sign in (False, True):
        pixels = replace(unsigned, tensors={**unsigned.tensors, "x": replace(unsigned.input, nonnegative=sign)})
        marked = mark_nonnegative(pixels, lambda node, known: operator(node.op).nonnegative(node, known))
        assert marked.tensors["pool"].nonnegative is sign
