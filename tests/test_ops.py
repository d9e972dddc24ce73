"""Every operator: its shape, its ONNX spelling under onnxruntime, its sign, and every way relevance passes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lrptool.engine import Forward, ShareStep
from lrptool.errors import UnsupportedError
from lrptool.graph import Graph
from lrptool.ops import Passage, WeightKind, WeightPart, known_operators, operator
from lrptool.rules import Rule
from tests import (
    opcases,
    opcases_functions,
    opcases_movement,
    opcases_products,
    opcases_spatial,
    opcases_statistics,
    oracle,
)
from tests.nets import Net
from tests.opcases import EPSILON, ODD, SHAPE, Case, X

CASES = [
    case
    for cases in (opcases, opcases_functions, opcases_movement, opcases_products, opcases_spatial, opcases_statistics)
    for case in cases.CASES
]


def params(cases: Sequence[Case]) -> list[Any]:
    return [pytest.param(case, id=f"{case.op}-{case.note}".strip("-")) for case in cases]


LINEAR = [case for case in CASES if operator(case.op).linear_map(case.node(), case.graph()) is not None]
TREATED = [
    (case, name)
    for case in CASES
    if case.attributes.get("mode") != "linear"  # has treatments where it copies
    for name in operator(case.op).treatments
]
every_case = pytest.mark.parametrize("case", params(CASES))
linear_cases = pytest.mark.parametrize("case", params(LINEAR))


def test_every_operator_and_treatment_is_tried() -> None:
    assert {case.op for case in CASES} == set(known_operators())
    for op in known_operators():
        assert {name for case, name in TREATED if case.op == op} == set(operator(op).treatments)
        default = operator(op).default
        shares = op in {case.op for case in LINEAR}
        assert default is None or default in operator(op).treatments or (shares and Rule.of(default).shares)


@pytest.mark.parametrize("case", params(CASES))
def test_forward_under_onnxruntime(case: Case) -> None:
    forward = Forward(case.graph(), case.outputs, threads=1)
    for batch in (X, X[1:]):
        computed = forward(batch.astype(np.float32))
        wanted = case.run([array[-len(batch) :] for array in case.arrays()])
        for name, y in zip(case.outputs, wanted, strict=True):
            assert computed[name].shape == y.shape
            np.testing.assert_allclose(computed[name], y, rtol=0, atol=2e-6 * max(1, np.abs(y).max()))


def test_a_neighbourhood_of_even_size_across_channels_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="node 'norm' \\(LRN\\): expected an odd size, found 4"):
        Net().add("LRN", "norm", "x", size=4, alpha=1.0, beta=0.75, bias=1.0)


def test_a_constant_summand_is_a_bias() -> None:
    net = Net()
    shift = net.builder.constant("shift", np.array([0.5, -1, 2], np.float32).reshape(3, 1, 1))
    graph = net.finish(net.add("Sum", "sum", "x", shift))
    node = graph.node("sum")
    linear = operator("Sum").linear_map(node, graph)
    x = X[:, :3] if X.shape[1] >= 3 else np.ones((2, 3, 7, 6))
    x = np.ascontiguousarray(np.broadcast_to(x[:, :, :1, :1], (2, 3, 7, 6)))
    step = ShareStep(Rule.of("epsilon", epsilon=0), linear, [(3, 7, 6)], nonnegative=False)
    z = x + graph.constants["shift"]
    (r,) = step([x], z, np.ones_like(z))
    np.testing.assert_allclose(r, x / z, rtol=1e-12)
    (without,) = ShareStep(Rule.of("epsilon", epsilon=0, bias=False), linear, [(3, 7, 6)], nonnegative=False)(
        [x], z, np.ones_like(z)
    )
    np.testing.assert_allclose(without, 1, rtol=1e-12)


@every_case
def test_shapes(case: Case) -> None:
    tensors = case.graph().tensors
    assert [tensors[name].shape for name in case.outputs] == [(None, *y.shape[1:]) for y in case.run(case.arrays())]


@every_case
def test_what_is_said_to_be_nonnegative_is(case: Case) -> None:
    # signs of the tensors only: constants take the signs they have
    constants = {f"c{k}": bool((value >= 0).all()) for k, value in enumerate(case.constants)}
    made = {
        known: operator(case.op).nonnegative(case.node(), [constants.get(name, known) for name in case.operands])
        for known in (False, True)
    }
    assert made == {False: case.sign == "always", True: case.sign != "lost"}
    for known, claimed in made.items():
        arrays = [np.abs(array) if known else array for array in case.arrays()]
        assert not claimed or all((y >= 0).all() for y in case.run(arrays))


def gathered(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A linear case as a matrix over all its inputs, its bias, and its inputs flattened side by side."""
    zero = case.run([np.zeros((1, *array.shape[1:])) for array in case.arrays()])[0].ravel()
    arrays, columns = case.arrays(), []
    for k, array in enumerate(arrays):

        def alone(x: np.ndarray, k: int = k) -> np.ndarray:
            return case.run([x if j == k else np.zeros((len(x), *a.shape[1:])) for j, a in enumerate(arrays)])[0]

        columns.append(oracle.dense_matrix(lambda x, alone=alone: alone(x) - alone(0 * x), array.shape[1:]))
    return np.concatenate(columns, 1), zero, np.concatenate([array.reshape(2, -1) for array in arrays], 1)


def exact_graph(case: Case) -> Graph:
    """The case's graph with constants as they were before they became float32."""
    graph = case.graph()
    return replace(graph, constants={f"c{k}": value.copy() for k, value in enumerate(case.constants)})


@linear_cases
@pytest.mark.parametrize("kind", ["all", "pos", "neg", "squared", "one", "gamma-pos", "gamma-neg"])
def test_linear_map(case: Case, kind: WeightKind) -> None:
    graph, part = exact_graph(case), WeightPart(kind, 0.5)
    linear = operator(case.op).linear_map(graph.node("y"), graph)
    M, bias, x = gathered(case)
    # every weight is one entry of the matrix; "one" stands wherever there is a connection
    M = (np.abs(M) > 1e-12).astype(float) if kind == "one" else part.of(M)
    y = linear.forward(case.arrays(), part)
    np.testing.assert_allclose(y.reshape(2, -1), x @ M.T, atol=1e-12 * np.abs(x @ M.T).max())
    s = np.random.default_rng(1).normal(size=y.shape)
    back = linear.transpose(s, part)
    assert [array.shape for array in back] == [array.shape for array in case.arrays()]
    np.testing.assert_allclose(np.concatenate([r.reshape(2, -1) for r in back], 1), s.reshape(2, -1) @ M, atol=1e-11)
    shift = linear.bias(part, y)
    wanted = np.ones_like(bias) if kind == "one" else part.of(bias)
    if shift is None:
        assert np.abs(bias).max() < 1e-12
    else:
        np.testing.assert_allclose(np.broadcast_to(shift, y.shape)[0].ravel(), wanted, atol=1e-12)


@linear_cases
def test_proportion(case: Case) -> None:
    graph = exact_graph(case)
    linear, (M, bias, x) = operator(case.op).linear_map(graph.node("y"), graph), gathered(case)
    (z,) = case.run(case.arrays())
    r = np.random.default_rng(2).normal(size=z.shape)
    step = ShareStep(Rule.of("epsilon", epsilon=0.25), linear, [a.shape[1:] for a in case.arrays()], nonnegative=False)
    shares = np.concatenate([share.reshape(2, -1) for share in step(case.arrays(), z, r)], 1)
    wanted = [oracle.epsilon(M, x[n], bias, r[n].ravel(), epsilon=0.25) for n in range(2)]
    np.testing.assert_allclose(shares, wanted, atol=1e-9)


def differences(case: Case, rs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Jacobian transposed times relevance, by central differences; items of a batch do not depend on each other."""
    result, h = [], 1e-6
    for k, x in enumerate(case.arrays()):
        slope = np.zeros((2, x[0].size))
        for i in range(x[0].size):
            step = np.zeros_like(x)
            step.reshape(2, -1)[:, i] = h
            ends = [
                case.run([a + sign * step if j == k else a for j, a in enumerate(case.arrays())]) for sign in (1, -1)
            ]
            for up, down, r in zip(*ends, rs, strict=True):
                slope[:, i] += ((up - down) * r).reshape(2, -1).sum(1) / (2 * h)
        result.append(slope.reshape(x.shape))
    return result


def wanted_relevance(case: Case, name: str, rs: list[np.ndarray]) -> list[np.ndarray]:
    """What a treatment has to give; a copy's route back is its derivative."""
    if name in case.relevance:
        return case.relevance[name](case.arrays(), rs)
    if name in ("gradient", "route"):
        return differences(case, rs)
    (r, *_), (x, *_) = rs, case.arrays()
    return {"pass": [r], "deconvnet": [np.where(r > 0, r, 0)], "guided": [np.where((r > 0) & (x > 0), r, 0)]}[name]


def redistribute(case: Case, name: str, xs: Sequence[np.ndarray], ys: Any, rs: Sequence[np.ndarray]) -> tuple[Any, ...]:
    """The treatment itself, given no more than it says it reads, and nothing it may write to."""
    treatment = operator(case.op).treatment(case.node(), name)
    given = [array.copy() for array in (*xs, *ys, *rs)]
    for array in given:
        array.flags.writeable = False
    first, second = len(xs), len(xs) + len(ys)
    x_given, y_given, r_given = given[:first], given[first:second], given[second:]
    tensors = iter(x_given)
    constants = {f"c{k}": value.astype(rs[0].dtype) for k, value in enumerate(case.constants)}
    read_x = tuple(constants[name] if name in constants else next(tensors) for name in case.operands)
    read_x = read_x if "inputs" in treatment.reads else ()
    read_y = tuple(y_given) if "outputs" in treatment.reads else ()
    return treatment.redistribute(Passage(case.node(), case.graph(), read_x, read_y, tuple(r_given), EPSILON))


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("case", "name"), [pytest.param(c, n, id=f"{c.op}-{c.note}-{n}") for c, n in TREATED])
def test_treatment(case: Case, name: str, dtype: type) -> None:
    ys = case.run(case.arrays())
    rs = [np.random.default_rng(3).normal(size=y.shape) for y in ys]
    xs32, ys32, rs32 = ([array.astype(dtype) for array in arrays] for arrays in (case.arrays(), ys, rs))
    shares = redistribute(case, name, xs32, ys32, rs32)
    for share, wanted in zip(shares, wanted_relevance(case, name, rs), strict=True):
        assert share.dtype == dtype
        assert share.shape == wanted.shape
        tolerance = {np.float64: 1e-8, np.float32: 1e-5}[dtype]
        np.testing.assert_allclose(share, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def by_op(op: str) -> Case:
    return next(case for case in CASES if case.op == op)


@pytest.mark.parametrize("value", [1.0, 0.0, -2.0])
def test_equal_values_route_to_the_first_in_scan_order(value: float) -> None:
    """All equal: the first position of each window inside the image wins, whatever the sign."""
    x = np.full(SHAPE, value)
    case = by_op("MaxPool")
    (y,) = case.run([x])
    r = np.random.default_rng(4).normal(size=y.shape)
    (share,) = redistribute(case, "route", [x], [y], [r])
    np.testing.assert_allclose(share, oracle.max_pool_route(x, r, **ODD), atol=1e-12)
    # window tops of stride 2 with a pad of 1 are rows 0 (cut off), 1, 3 and 5
    assert sorted(set(np.nonzero(share)[2])) == [0, 1, 3, 5]
    (share,) = redistribute(by_op("GlobalMaxPool"), "route", [x], [], [np.full((2, 4, 1, 1), 3.0)])
    assert share[0, 0, 0, 0] == 3
    assert share.sum() == 3 * 8
    shares = redistribute(by_op("Max"), "route", [x, x], [], [np.full(SHAPE, 5.0)])
    assert [share.min() for share in shares] == [5, 0]
    assert shares[1].max() == 0


def test_lrn_passes_relevance_by_default() -> None:
    for op in ("LRN", "LRNWithinChannel", "Relu", "Dropout"):
        assert operator(op).default == "pass"


def test_an_unknown_operator_or_treatment() -> None:
    with pytest.raises(UnsupportedError, match="node 'n1': operator 'MaxPol' is not supported") as caught:
        operator("MaxPol", "n1")
    assert "MaxPool" in (caught.value.hint or "")
    with pytest.raises(UnsupportedError, match=r"^operator 'Foo' is not supported"):
        operator("Foo")
    with pytest.raises(UnsupportedError, match=r"node 'y' \(Relu\): rule 'route' does not apply") as caught:
        operator("Relu").treatment(by_op("Relu").node(), "route")
    assert caught.value.hint == "it takes: deconvnet, gradient, guided, pass"


def test_multiply_accumulates() -> None:
    odd = next(case for case in CASES if case.note == "groups-nobias")
    # 6 maps of 5 x 3; each value from 2 channels of 3 x 2
    assert operator("Conv").macs(odd.node(), odd.graph()) == 6 * 5 * 3 * 2 * 3 * 2
    dense = by_op("Gemm")
    assert operator("Gemm").macs(dense.node(), dense.graph()) == 5 * 168
    assert operator("Relu").macs(by_op("Relu").node(), by_op("Relu").graph()) == 0
