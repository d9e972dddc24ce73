"""The cases of ``../shared/reference`` and the conventions of the C++ LRP Toolbox 1.3.1 they follow.

`cases` lists them; empty where the data is absent. `relevance` computes a case with the project's own engine and the
preset ``toolbox-<formula>``, either as shipped or on the toolbox's terms: without stabilisers where it has none, and
with chosen faults put in place of single steps.

``python -m tests.toolbox`` prints the tables of docs/reference.md.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, get_args
from unittest import mock

import numpy as np

from lrptool.engine import Forward, Program, Step, canonise, initial_relevance
from lrptool.graph import Graph, Node
from lrptool.loaders.caffe import load_caffe, read_prototxt
from lrptool.ops import WeightPart, operator
from lrptool.rules import Composite, Match, Row, Rule
from tests.conftest import SHARED

REFERENCE = SHARED / "reference"
TRAINED = {
    "lenet": "lenet_bvlc",
    "cifar10_quick": "cifar10_quick",
    "cifar10_full": "cifar10_full",
    "tinymix": "tinymix",
    "squeezenet_v1.0": "squeezenet_v1.0",
}
SEEDS = {"random_caffenet": 1, "random_googlenet": 2}
NETS = (*TRAINED, *SEEDS)

GRADIENTS = (11, 99)
TAKES_EPSILON = (0, 54, 56, 100, 102, 104, 114)
TAKES_BETA = (2, 58, 60, 100, 102, 104, 114)
TAKES_SWITCH = (54, 56, 58, 60, 102, 104, 114)
NO_STABILISER = 1e-20
"""Too small to move any denominator, and a zero one still gives 0 and not NaN."""

Fault = Literal["group bias", "flat count", "padding", "undivided LRN"]
"""What the toolbox does otherwise than the papers; docs/reference.md has a formula for each."""
FAULTS: tuple[Fault, ...] = get_args(Fault)


@dataclass(frozen=True)
class Options:
    """What decides which program computes a case; options its formula does not look at are None."""

    net: str
    formula: int
    epsilon: float | None
    beta: float | None
    switch: int | None
    taylor: bool

    def __str__(self) -> str:
        values = {"eps": self.epsilon, "beta": self.beta, "switch": self.switch}
        given = [f"{key} {value:g}" for key, value in values.items() if value is not None]
        return ", ".join([*given, *["Taylor LRN"] * self.taylor]) or "–"


@dataclass(frozen=True)
class Case:
    """One map of the reference; the paths are relative to its folder."""

    options: Options
    input: str
    scores: str
    target: int
    path: str
    grade: str
    uncertainty: float

    @cached_property
    def relevance(self) -> np.ndarray:
        """The map, (1, C, H, W)."""
        return np.load(REFERENCE / self.path)["relevance"]

    @property
    def bound(self) -> float:
        """The largest deviation, relative to the largest value, at the toolbox's own conventions."""
        return min(1e-3, max(1e-5, 20 * self.uncertainty))

    def __str__(self) -> str:
        return self.path.removesuffix(".npz")


def _case(entry: Mapping[str, Any]) -> Case:
    """Read one entry of the index."""
    net, formula, lrn = str(entry["net"]), int(entry["relpropformulatype"]), int(entry["lrn_backward_type"])
    options = Options(
        net,
        formula,
        float(entry["epsstab"]) if formula in TAKES_EPSILON else None,
        float(entry["alphabeta_beta"]) if formula in TAKES_BETA else None,
        int(entry["switch_index"]) if formula in TAKES_SWITCH else None,
        # 11 and 99 take the derivative of every normalisation, and where there is none the option means nothing.
        taylor=lrn == 1 and formula not in GRADIENTS and net in ("tinymix", *SEEDS),
    )
    return Case(
        options,
        input=str(entry["input"]),
        scores=str(entry["scores"]),
        target=int(entry["target"]),
        path=str(entry["relevance"]),
        grade=str(entry["grade"]),
        uncertainty=float(entry["own_uncertainty"]),
    )


def _place(case: Case) -> tuple[int, int, str, str]:
    """Sort by network, formula, options and input."""
    return NETS.index(case.options.net), case.options.formula, str(case.options), case.path


@cache
def cases() -> tuple[Case, ...]:
    """Return every case, net by net; none where the reference is absent."""
    index = REFERENCE / "index.json"
    if not index.is_file():
        return ()
    read = [_case(entry) for entry in json.loads(index.read_text(encoding="utf-8"))]
    return tuple(sorted(read, key=_place))


@dataclass(frozen=True, eq=False)
class Net:
    """A network of the reference with one forward session that hands out every tensor."""

    graph: Graph
    order: tuple[str, ...]
    session: Forward


@cache
def activations_of(net: Net, inputs: tuple[str, ...]) -> Mapping[str, np.ndarray]:
    """Return every tensor of a network for a batch of the reference's inputs."""
    return net.session(np.concatenate([np.load(REFERENCE / name) for name in inputs]))


@cache
def net_of(name: str) -> Net:
    """Return a network by its name in the index."""
    if name in SEEDS:
        prototxt = REFERENCE / name / "deploy.prototxt"
        graph = _with_random_weights(load_caffe(prototxt, "random:0").graph, SEEDS[name])
    else:
        prototxt = SHARED / "models" / TRAINED[name] / "deploy.prototxt"
        graph = load_caffe(prototxt, None).graph
    graph = canonise(graph)
    tensors = [name for name in graph.tensors if name != graph.input.name]
    return Net(graph, _layer_order(prototxt), Forward(graph, tensors))


def _with_random_weights(graph: Graph, seed: int) -> Graph:
    """Return the graph with the weights the reference drew for it: layers in file order, weights before biases."""
    rng = np.random.default_rng(seed)
    layers = [node for node in graph.nodes if node.op in ("Conv", "Gemm")]
    constants = dict(graph.constants)
    for layer in layers:
        last = layer is layers[-1]
        weight, bias = (constants[name].shape for name in layer.inputs[1:])
        scale = np.sqrt(2 / np.prod(weight[1:])) * (0.1 if last else 1)
        constants[layer.inputs[1]] = rng.normal(0, scale, weight).astype(np.float32)
        constants[layer.inputs[2]] = rng.normal(0, 0.05 if last else 0.5, bias).astype(np.float32)
    return replace(graph, constants=constants)


def _layer_order(prototxt: Path) -> tuple[str, ...]:
    """Return the layers in the toolbox's count: no input layer, a split behind what several layers read."""
    layers = [layer for layer in read_prototxt(prototxt).net.layer if layer.type != "Input"]
    writer: dict[str, str] = {}
    readers: Counter[tuple[str, str]] = Counter()
    for layer in layers:
        readers.update((writer[bottom], bottom) for bottom in layer.bottom if bottom in writer)
        writer.update(dict.fromkeys(layer.top, layer.name))
    return tuple(
        name
        for layer in layers
        for name in (layer.name, *(f"{top}, split" for top in layer.top if readers[layer.name, top] > 1))
    )


def composite_of(options: Options) -> Composite:
    """Return the preset of a case's formula with its options."""
    given: dict[str, float | str] = {}
    if options.epsilon is not None:
        given["epsilon"] = options.epsilon
    if options.beta is not None:
        given |= {"alpha": 1 + options.beta, "beta": options.beta}
    if options.switch is not None:
        net = net_of(options.net)
        layers = {node.name for node in net.graph.nodes if node.op in ("Conv", "Gemm")}
        given["switch"] = [name for name in net.order[: options.switch + 1] if name in layers][-1]
    preset = 11 if options.formula == 99 else options.formula
    composite = Composite.load(f"toolbox-{preset}", **given)
    return composite.prepend([Row(Match(op=("LRN",)), Rule.of("taylor"))]) if options.taylor else composite


def _unstabilised(composite: Composite) -> Composite:
    """Return the composite without stabilisers where the toolbox has none: all but the epsilon rule's."""
    rows = [
        Row(row.match, Rule.of(row.rule.name, **{**dict(row.rule.parameters), "epsilon": NO_STABILISER}))
        if row.rule.name in ("alpha-beta", "flat", "wsquare")
        else row
        for row in composite.rows
    ]
    pooling = Row(Match(op=("AveragePool", "GlobalAveragePool")), Rule.of("proportion", epsilon=NO_STABILISER))
    return replace(composite, rows=(*rows, pooling))


def reasons_of(options: Options) -> tuple[Fault, ...]:
    """Return why the toolbox's relevance is not the project's, read off the rules the layers have."""
    graph = net_of(options.net).graph
    rules = composite_of(options).assign(graph)
    return tuple(fault for fault in FAULTS if any(fault in _faults_at(n, rules[n.name], graph) for n in graph.nodes))


def _faults_at(node: Node, rule: Rule, graph: Graph) -> set[Fault]:
    """Return the faults that matter for a node with a rule."""
    if node.op == "LRN" and rule.name == "taylor":
        return {"undivided LRN"}
    if node.op != "Conv":
        return set()
    holds: dict[Fault, bool] = {
        "group bias": rule.name == "alpha-beta" and node.integer("group") > 1,
        "flat count": rule.name == "flat" and graph.constants[node.inputs[1]].shape[1] > 1,
        "padding": rule.name in ("flat", "wsquare") and any(node.ints("pads")),
    }
    return {fault for fault, here in holds.items() if here}


def _compiled(options: Options, faults: frozenset[Fault] | None) -> Program:
    """Return the shipped preset compiled, or the program on the toolbox's terms with some of its faults."""
    net, composite = net_of(options.net), composite_of(options)
    if faults is not None:
        composite = _unstabilised(composite)
    graph = _with_group_bias(net.graph) if faults and "group bias" in faults else net.graph
    # The network's one session serves every program: it computes with the true biases, and building it is slow. So no
    # denominator is what another, of other biases, leaves of an output.
    with (
        mock.patch("lrptool.engine.program.Forward", return_value=net.session),
        mock.patch("lrptool.engine.denominators._complete", return_value=False),
    ):
        program = Program(graph, composite)
    if faults:
        program.steps = tuple(_with_faults(step, graph, faults) for step in program.steps)
    return program


@cache
def _batch_of(options: Options, faults: frozenset[Fault] | None) -> Mapping[Case, np.ndarray]:
    """Compute all cases of the same options in one batch; relevance (1, C, H, W) of each."""
    batch = [case for case in cases() if case.options == options]
    net, program = net_of(options.net), _compiled(options, faults)
    activations = activations_of(net, tuple(case.input for case in batch))
    targets = np.array([case.target for case in batch])
    start = initial_relevance(activations[net.graph.output], targets, program.composite.start)
    relevance = program.backward(activations, start)[net.graph.input.name]
    if options.formula == 99:
        norm = np.sqrt(np.sum(relevance**2, axis=1, keepdims=True))
        relevance = np.broadcast_to(norm, relevance.shape)
    return {case: relevance[index : index + 1] for index, case in enumerate(batch)}


def relevance(case: Case, faults: frozenset[Fault] | None) -> np.ndarray:
    """Return the relevance (1, C, H, W): None, of the shipped preset; else on the toolbox's terms with these faults."""
    return _batch_of(case.options, faults)[case]


def deviation(case: Case, faults: frozenset[Fault] | None = None) -> float:
    """Return max |difference| / max |reference|."""
    difference = relevance(case, faults) - case.relevance
    return float(np.abs(difference).max() / np.abs(case.relevance).max())


def misplaced(case: Case, faults: frozenset[Fault] | None = None) -> float:
    """Return Σ |difference| / Σ |reference|: how much of the relevance is elsewhere."""
    difference = relevance(case, faults).astype(np.float64) - case.relevance
    return float(np.abs(difference).sum() / np.abs(case.relevance).sum(dtype=np.float64))


def _with_group_bias(graph: Graph) -> Graph:
    """Return the graph whose grouped convolutions have the biases of group 0 in every group."""
    constants = dict(graph.constants)
    for node in graph.nodes:
        if node.op == "Conv":
            group, bias = node.integer("group"), constants[node.inputs[2]]
            constants[node.inputs[2]] = np.tile(bias[: len(bias) // group], group)
    return replace(graph, constants=constants)


Redistribute = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(relevance of a node's output, its input) → relevance of its input."""


def _flat(node: Node, graph: Graph, faults: Set[Fault]) -> Redistribute:
    """The divisor counts the inputs of a window, or its taps; with or without those in the padding."""
    one, linear = WeightPart("one"), operator(node.op).linear_map(node, graph)
    weight, image = graph.constants[node.inputs[1]], graph.tensors[node.inputs[0]].item_shape
    count = weight[0].size if "padding" in faults else linear.forward([np.ones((1, *image), np.float32)], one)
    divisor = np.float32(count / (weight.shape[1] if "flat count" in faults else 1))
    return lambda r, _: linear.transpose(r / divisor, one)[0]


def _wsquare(node: Node, graph: Graph) -> Redistribute:
    """The sum of the squares runs over the whole kernel, over the padding, too."""
    linear = operator(node.op).linear_map(node, graph)
    total = np.sum(graph.constants[node.inputs[1]] ** 2, axis=(1, 2, 3))[:, None, None]
    return lambda r, _: linear.transpose(r / total, WeightPart("squared"))[0]


def _undivided_lrn(node: Node) -> Redistribute:
    """R_i x_i (k + a/n x_i²)^−β + x_i² Σ_{j≠i} −2 (a/n) β scale_j^(−β−1) x_j R_j over the neighbouring channels."""
    size, beta, k = node.integer("size"), node.number("beta"), node.number("bias")
    factor = node.number("alpha") / size

    def neighbours(values: np.ndarray) -> np.ndarray:
        padded = np.pad(values, ((0, 0), (size // 2, size // 2), (0, 0), (0, 0)))
        return np.lib.stride_tricks.sliding_window_view(padded, size, axis=1).sum(axis=-1)

    def redistribute(r: np.ndarray, x: np.ndarray) -> np.ndarray:
        scale = k + factor * neighbours(x**2)
        pull = -2 * factor * beta * scale ** (-beta - 1) * x * r
        return r * x * (k + factor * x**2) ** -beta + x**2 * (neighbours(pull) - pull)

    return redistribute


def _with_faults(step: Step, graph: Graph, faults: Set[Fault]) -> Step:
    """Return a step with the faults that matter for it; the step itself where none does."""
    rule, node = step.rule, step.node
    here = faults & _faults_at(node, rule, graph)
    if node.op == "LRN" and here:
        redistribute = _undivided_lrn(node)
    elif rule.name == "flat" and here:
        redistribute = _flat(node, graph, here)
    elif rule.name == "wsquare" and here:
        redistribute = _wsquare(node, graph)
    else:
        return step

    def faulty(relevances: Sequence[np.ndarray], activations: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        return (redistribute(relevances[0], activations[node.inputs[0]]),)

    return replace(step, layer=None, add_to=None, redistribute=faulty)


def tables() -> tuple[str, str]:
    """Return two Markdown tables: how many maps each fault affects, and every group of maps that differ."""
    by_options = Counter(case.options for case in cases())
    reasons = {options: reasons_of(options) for options in by_options}
    counts = {
        fault: Counter({options.net: 0 for options in by_options if fault in reasons[options]}) for fault in FAULTS
    }
    rows = []
    for options, maps in by_options.items():
        for fault in reasons[options]:
            counts[fault][options.net] += maps
        if reasons[options]:
            what = ", ".join(reasons[options])
            rows.append(f"| {options.net} | {options.formula} | {options} | {maps} | {what} |")
    totals = [
        f"| {fault} | {nets.total()} | {', '.join(f'{net} {count}' for net, count in nets.items())} |"
        for fault, nets in counts.items()
    ]
    return (
        "\n".join(["| fault | maps | by network |", "|---|---|---|", *totals]),
        "\n".join(["| network | formula | options | maps | faults |", "|---|---|---|---|---|", *rows]),
    )


def _report() -> None:
    """Print the tables, then every case with its deviations."""
    sys.stdout.write("\n\n".join(tables()) + "\n\n")
    for case in cases():
        faults = frozenset(reasons_of(case.options))
        figures = (deviation(case), deviation(case, faults), misplaced(case, faults))
        shipped, toolbox, elsewhere = (f"{figure:.1e}" for figure in figures)
        sys.stdout.write(
            f"{case} grade {case.grade} own {case.uncertainty:.1e} shipped {shipped}"
            f" toolbox {toolbox} misplaced {elsewhere}\n"
        )


if __name__ == "__main__":
    _report()
