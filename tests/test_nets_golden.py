"""Whole networks against the relevance that zennit and captum found for the same weights and pictures."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrptool.engine import Program, canonise, program
from lrptool.graph import Graph
from lrptool.graph.passes import drop_identities, mark_nonnegative
from lrptool.ops import operator
from lrptool.rules import Composite, Match, Row, Rule
from tests import golden, oracle
from tests.nets import Net

FOLDER = golden.GOLDEN / "nets"
BOUNDS = (np.full((3, 1, 1), -2.0), np.full((3, 1, 1), 2.0))
WEIGHTED = ["Conv", "Gemm"]
# The literal rules leave the bias as it is: a denominator can all but cancel, and what float32 leaves of it is partly
# noise. How far off these are allowed to be; in float64 they agree like all others.
ILL_CONDITIONED = {
    "captum__small_vgg__conv_gamma_0.25": 1e-4,
    "captum__small_vgg__conv_alpha1beta0": 2e-3,
    "captum__small_resnet__conv_gamma_0.25__bn-epsilon": 2e-3,
    "captum__small_resnet__conv_gamma_0.25__folded": 1e-3,
    "captum__small_resnet__conv_alpha1beta0__bn-epsilon": 1e-3,
    "captum__small_caffe__conv_alpha1beta0": 4e-2,
}


@dataclass(frozen=True)
class Case:
    """One net, one composite. ``norm``: what became of the batch normalisations: folded, canon (zennit's: folded, but a
    factor 1/sqrt(1 + eps) stays behind as a layer) or kept."""

    id: str
    net: str
    composite: Composite
    norm: str
    file: Path

    @functools.cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.file) as stored:
            return {name: stored[name] for name in stored.files}


def row(op: str | list[str], rule: str, **parameters: Any) -> Row:
    return Row(Match(op=(op,) if isinstance(op, str) else tuple(op)), Rule.of(rule, **parameters))


def zennit(name: str, lrn: str) -> Composite:
    """Its composites in our words. What is left of a batch normalisation has no bias: its epsilon rule is to pass."""
    norm, derivative = row("BatchNormalization", "epsilon", epsilon=1e-13), name in ("guided_backprop", "deconvnet")
    if name == "excitation_backprop":
        # the one relevance composite that leaves batch normalisation to the derivative
        norm = row("BatchNormalization", "gradient")
        made = Composite(name, (row(WEIGHTED, "zplus"),))
    elif name == "epsilon_0.25":
        made = Composite.load("epsilon", epsilon=0.25)
    else:
        made = Composite.load(name.replace("_", "-"))
    return made if derivative else made.prepend([norm, row("LRN", "pass" if lrn == "none" else lrn)])


def captum(name: str) -> Composite:
    """Stabiliser 1e-9 everywhere; where no rule was set, the epsilon rule, on sums, means and normalisations, too."""
    conv = {
        "epsilon_default": row("Conv", "epsilon", epsilon=1e-9),
        "conv_gamma_0.25": row("Conv", "gamma-literal", epsilon=1e-9, gamma=0.25),
        "conv_alpha1beta0": row("Conv", "zplus-literal", epsilon=1e-9),
    }[name]
    linear = row(["Gemm", "BatchNormalization", "Sum", "GlobalAveragePool"], "epsilon", epsilon=1e-9)
    return Composite(name, (conv, linear, row("LRN", "linearised", epsilon=1e-9)))


def cases() -> list[Any]:
    """Every net fixture as a parameter; one that skips with a reason where there are none."""
    found = []
    for entry in golden.entries("net"):
        suffix = entry["id"].rsplit("__", 1)[-1]
        norm = {"bn-epsilon": "kept", "zennitcanon": "canon"}.get(suffix, "folded")
        name = entry["composite"]
        composite = captum(name) if entry["tool"].startswith("captum") else zennit(name, entry["lrn"])
        case = Case(entry["id"], entry["net"], composite, norm, golden.GOLDEN / entry["file"])
        found.append(pytest.param(case, id=case.id))
    skip = pytest.mark.skip(reason="reference data (../shared/golden) is not here")
    return found or [pytest.param(None, marks=skip, id="none")]


every_case = pytest.mark.parametrize("case", cases())


def folded(w: dict[str, np.ndarray], conv: str, norm: str, eps: float, *, canon: bool) -> None:
    """Fold a batch normalisation into the weights of the convolution before it."""
    factor = w[f"{norm}.weight"] / np.sqrt(w[f"{norm}.running_var"] + eps)
    w[f"{conv}.weight"] = w[f"{conv}.weight"] * factor[:, None, None, None]
    w[f"{conv}.bias"] = w[f"{norm}.bias"] - factor * w[f"{norm}.running_mean"]
    if canon:
        zero, one = np.zeros(len(factor)), np.ones(len(factor))
        rest = {"weight": one, "bias": zero, "running_mean": zero, "running_var": one}
        w |= {f"{norm}.{key}": value for key, value in rest.items()}


@functools.cache
def build(name: str, norm: str) -> tuple[Graph, Mapping[str, np.ndarray]]:
    """The net as a graph, and its constants in float64."""
    spec = json.loads((FOLDER / f"{name}.json").read_text())
    with np.load(FOLDER / f"{name}_weights.npz") as stored:
        w: dict[str, np.ndarray] = {key: stored[key].astype(np.float64) for key in stored.files}
    for node in spec["nodes"]:
        if node["op"] == "bn" and norm in ("folded", "canon"):
            folded(w, node["in"][0], node["name"], node["eps"], canon=norm == "canon")
    net, tensors = Net(tuple(spec["input"])), {"data": "x"}
    for node in spec["nodes"]:
        at, inputs = node["name"], [tensors[name] for name in node["in"]]
        if node["op"] == "bn" and norm == "folded":
            tensors[at] = inputs[0]
        elif node["op"] in ("conv", "linear"):
            steps = {key: (node[short],) * 2 for key, short in (("strides", "s"), ("dilations", "d")) if short in node}
            geometry = steps | ({"pads": (node["p"],) * 4, "group": node["g"]} if node["op"] == "conv" else {})
            layer = net.conv if node["op"] == "conv" else net.dense
            tensors[at] = layer(at, inputs[0], w[f"{at}.weight"], w.get(f"{at}.bias"), **geometry)
        elif node["op"] == "bn":
            stats = [w[f"{at}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")]
            tensors[at] = net.batch_norm(at, inputs[0], *stats, epsilon=node["eps"])
        elif node["op"] == "maxpool":
            kernel, stride = ((node[key],) * 2 for key in "ks")
            tensors[at] = net.max_pool(at, inputs[0], kernel, stride, (node["p"],) * 4, ceil=node["ceil"])
        else:
            attributes = {"flatten": {"axis": 1}}.get(node["op"], {})
            if node["op"] == "lrn":
                attributes = {key: node[key] for key in ("size", "alpha", "beta")} | {"bias": node["k"]}
            tensors[at] = net.add(OPS[node["op"]], at, *inputs, **attributes)
    graph = net.finish(tensors[spec["out"]])
    exact = {}
    for constant in graph.constants:
        layer_name, kind = constant.rsplit("/", 1)
        exact[constant] = w[f"{layer_name}.{STATISTICS.get(kind, kind)}"]
    return graph, exact


OPS = {
    "relu": "Relu",
    "lrn": "LRN",
    "flatten": "Flatten",
    "dropout": "Dropout",
    "add": "Sum",
    "gap": "GlobalAveragePool",
}
STATISTICS = {"scale": "weight", "shift": "bias", "mean": "running_mean", "variance": "running_var"}


def unfolded(graph: Graph) -> Graph:
    """As `canonise` prepares a graph, but with its batch normalisations left alone."""
    bare = drop_identities(graph)
    return mark_nonnegative(bare, lambda node, known: operator(node.op, node.name).nonnegative(node, known))


@functools.cache
def forward(name: str, norm: str, file: Path) -> dict[str, np.ndarray]:
    """Every activation in float64, by the oracle; `file` holds the pictures."""
    graph, constants = build(name, norm)
    with np.load(file) as stored:
        values: dict[str, np.ndarray] = {"x": stored["x"]} | dict(constants)
    for node in graph.nodes:
        values[node.outputs[0]] = computed(node.op, [values[name] for name in node.inputs], node.attributes)
    return values


def computed(op: str, xs: list[np.ndarray], a: Mapping[str, Any]) -> np.ndarray:
    """One operator's output."""
    x = xs[0]
    if op == "Conv":
        steps = {key: a[key] for key in ("strides", "pads", "dilations", "group")}
        return oracle.conv2d(x, xs[1], *xs[2:], **steps)
    if op == "Gemm":
        return x @ xs[1].T + xs[2]
    if op == "MaxPool":
        return oracle.max_pool(
            x, kernel=a["kernel_shape"], strides=a["strides"], pads=a["pads"], ceil=bool(a["ceil_mode"])
        )
    if op == "LRN":
        windows = oracle.lrn_windows(x.shape[1:], a["size"])
        made = [oracle.lrn(v.ravel(), windows, b=a["alpha"] / a["size"], beta=a["beta"], k=a["bias"]) for v in x]
        return np.stack(made).reshape(x.shape)
    if op == "BatchNormalization":
        scale, shift, mean, variance = (v[:, None, None] for v in xs[1:])
        return (x - mean) / np.sqrt(variance + a["epsilon"]) * scale + shift
    simple = {
        "Relu": lambda: np.maximum(x, 0),
        "Sum": lambda: xs[0] + xs[1],
        "GlobalAveragePool": lambda: x.mean((2, 3), keepdims=True),
        "Flatten": lambda: x.reshape(len(x), -1),
        "Dropout": lambda: x,
    }
    return simple[op]()


def error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


@every_case
def test_relevance_in_float64(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    # onnxruntime computes in float32: the forward pass is the oracle's
    monkeypatch.setattr(program, "Forward", lambda *_: None)
    graph, exact = build(case.net, case.norm)
    graph = unfolded(replace(graph, constants=dict(exact)))
    activations = forward(case.net, case.norm, case.file)
    assert error(activations[graph.output], case.arrays["output"]) < 1e-12
    compiled = Program(graph, case.composite, bounds=BOUNDS)
    kept = [name for name in graph.tensors if f"R/{name}" in case.arrays]
    relevance = compiled.backward(activations, case.arrays["R_out"], keep=kept)
    tolerance = 1e-7 if case.id.startswith("captum") else 1e-10  # captum stabilises max pooling, too, by 1e-9
    for name in kept:
        assert error(relevance[name], case.arrays[f"R/{name}"]) < tolerance, name
    assert relevance["x"].dtype == np.float64
    assert error(relevance["x"], case.arrays["relevance"]) < tolerance


@every_case
def test_relevance_in_float32(case: Case) -> None:
    graph, _ = build(case.net, "kept" if case.norm == "folded" else case.norm)
    compiled = Program(canonise(graph) if case.norm == "folded" else unfolded(graph), case.composite, bounds=BOUNDS)
    activations = compiled.forward(case.arrays["x"].astype(np.float32))
    assert error(activations[compiled.graph.output], case.arrays["output"]) < 1e-5
    relevance = compiled.backward(activations, case.arrays["R_out"].astype(np.float32))["x"]
    assert relevance.dtype == np.float32
    assert error(relevance, case.arrays["relevance"]) < ILL_CONDITIONED.get(case.id, 1e-5)
