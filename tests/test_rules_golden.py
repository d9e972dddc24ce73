"""The production rules on single layers against what other implementations made of the same layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lrptool.engine import ShareStep, stabilise
from lrptool.graph import Graph
from lrptool.kernels import Geometry, Windows
from lrptool.ops import LinearMap, Passage, WeightPart, operator
from lrptool.ops.conv import ConvMap
from lrptool.ops.dense import DenseMap
from lrptool.ops.pooling import AverageMap
from lrptool.rules import CATALOGUE, Rule, Stabiliser
from tests import golden
from tests.golden import LayerCase
from tests.nets import Net

CASES = golden.layer_cases()
TOLERANCES = {np.float64: 1e-9, np.float32: 1e-5}
# Without the bias that made z positive, some of these denominators are a tiny remainder of their terms.
ILL_CONDITIONED = ("zennit__conv_s2p1__nonneg__gamma_0.25_zerobias", "zennit__conv_rect__mixed__gamma_0.25_zerobias")
dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def named(cases: list[Any]) -> list[Any]:
    """Cases as parameters by name; one that skips with a reason where there are none."""
    skip = pytest.mark.skip(reason="reference data (../shared/golden) is not here")
    return [pytest.param(case, id=case.id) for case in cases] or [pytest.param(None, marks=skip, id="none")]


def close(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    """Within `tolerance` of the largest expected value; NaN is never close."""
    return bool(np.abs(actual - expected).max() <= tolerance * np.abs(expected).max())


def pooling(case: LayerCase, op: str) -> Graph:
    """The case's pooling as a graph of one node, called y."""
    g, net = case.geometry, Net(case.x.shape[1:])
    window: dict[str, Any] = {"kernel_shape": g.kernel, "strides": g.strides, "pads": g.pads, "ceil_mode": int(g.ceil)}
    if op == "AveragePool":
        window["count_include_pad"] = int(g.count_pad)
    return net.finish(net.add(op, "y", "x", **window))


def linear(case: LayerCase, dtype: type) -> LinearMap:
    """The case's layer as production sees it."""
    w, b = (None if a is None else a.astype(dtype) for a in (case.w, case.b))
    g, in_size, out_size = case.geometry, case.x.shape[2:], case.y.shape[2:]
    if case.layer == "dense":
        return DenseMap(w, b)
    if case.layer == "conv":
        return ConvMap(lambda: w, b, Geometry(in_size, out_size, g.kernel, g.strides, g.pads, g.dilations, g.group))
    if case.layer == "avgpool":
        graph = pooling(case, "AveragePool")
        return operator("AveragePool").linear_map(graph.nodes[0], graph)
    # A sum over windows (no operator of its own) is the mean without its divisor; flat takes max pooling for one.
    windows = Windows(case.x.shape[1], in_size, out_size, g.kernel, g.strides, g.pads[:2])
    return AverageMap(windows, np.ones(out_size))


def rule_of(case: LayerCase) -> Rule:
    parameters = dict(case.parameters)
    without_bias = parameters.pop("zero_bias", False)
    if "bias" in CATALOGUE[case.rule].parameters:
        parameters["bias"] = not without_bias
    return Rule.of(case.rule, **{k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in parameters.items()})


def explain(case: LayerCase, dtype: type) -> np.ndarray:
    x, r = case.x.astype(dtype), case.R_out.astype(dtype)
    if case.rule in ("route", "pass"):
        op = {"route": "MaxPool", "pass": "Relu"}[case.rule]
        graph = pooling(case, op) if case.rule == "route" else Net().finish("x")
        node = graph.nodes[0] if graph.nodes else None
        treatment = operator(op).treatment(node, case.rule)
        return treatment.redistribute(Passage(node, graph, (x,), (), (r,), 0.0))[0]
    # An output near zero loses digits in a float32 forward pass (see test_forward); that is not the rule's doing.
    exact, everything = linear(case, np.float64), WeightPart("all")
    z, bias = exact.forward([case.x], everything), exact.bias(everything, case.R_out)
    z = (z if bias is None else z + bias).astype(dtype)
    nonnegative = bool(case.x.min() >= 0)
    step = ShareStep(rule_of(case), linear(case, dtype), [x.shape[1:]], nonnegative=nonnegative)
    return step([x], z, r)[0]


@dtypes
@pytest.mark.parametrize("case", named([case for case in CASES if not case.differs]))
def test_layer(case: LayerCase, dtype: type) -> None:
    actual = explain(case, dtype)
    assert actual.dtype == dtype
    loose = dtype is np.float32 and case.id in ILL_CONDITIONED
    assert close(actual, case.R_in, 2e-5 if loose else TOLERANCES[dtype])


@pytest.mark.parametrize("case", named([case for case in CASES if case.differs]))
def test_a_differing_fixture_differs(case: LayerCase) -> None:
    with np.errstate(all="ignore"):
        assert not close(explain(case, np.float64), case.R_in, TOLERANCES[np.float64])


@dtypes
@pytest.mark.parametrize("case", named([case for case in CASES if case.layer in ("dense", "conv")]))
def test_forward(case: LayerCase, dtype: type) -> None:
    layer = linear(case, dtype)
    z = layer.forward([case.x.astype(dtype)], WeightPart("all"))
    bias = layer.bias(WeightPart("all"), z)
    assert close(z if bias is None else z + bias, case.y, TOLERANCES[dtype])


@dtypes
@pytest.mark.parametrize("case", named(golden.stabiliser_cases()))
def test_stabiliser(case: golden.StabiliserCase, dtype: type) -> None:
    actual = stabilise(case.z.astype(dtype), Stabiliser(**case.parameters))
    assert actual.dtype == dtype
    assert close(actual, case.out, {np.float64: 1e-12, np.float32: 1e-6}[dtype])
