"""`lrptool check`: what it accepts, and that it does not accept what is broken on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrptool import Composite, Model, load
from lrptool.api import check
from lrptool.engine import Program, balance, canonise, without_biases
from lrptool.engine.plan import Plan
from lrptool.errors import NumericError, UnsupportedError
from lrptool.graph import Graph
from lrptool.imaging import Preprocessing
from lrptool.kernels import TransposedScale
from lrptool.ops import Passage, Treatment, operator
from lrptool.ops.conv import ConvMap
from lrptool.ops.sums import SumMap
from lrptool.rules import CATALOGUE, Match, Row, Rule
from lrptool.zoo import Labels
from tests.command import run
from tests.conftest import SHARED
from tests.nets import NETS, Net, image
from tests.onnxnets import FIXTURES
from tests.test_caffe_zoo import TEXTS
from tests.test_ops_nets import gated, moved, normalised, transformer

PRESETS = ("epsilon", "epsilon-plus", "epsilon-alpha2-beta1", "epsilon-plus-flat", "epsilon-gamma-box", "deep-taylor")
BOUNDS = (np.full((3, 1, 1), -1.5), np.full((3, 1, 1), 1.5))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("net", NETS)
def test_books_balance_whatever_the_rule(net: str, preset: str) -> None:
    graph = NETS[net](2, bias=True)
    made = balance(graph, Composite.load(preset), image(1), bounds=BOUNDS)
    assert made.ok
    assert made.error < 1e-5
    # With biases left in they keep a part, unless the rule gives them none.
    assert (abs(made.taken.get("bias", 0)) > 1e-3 * abs(made.start)) == (preset != "deep-taylor")
    bare = balance(canonise(without_biases(graph)), Composite.load(preset), image(1), bounds=BOUNDS)
    assert bare.ok
    assert bare.taken.get("bias", 0) == 0


@pytest.mark.parametrize("make", [gated, normalised, moved, transformer])
def test_books_balance_for_every_kind_of_operator(make: Callable[[], Any]) -> None:
    made = make()
    graph = canonise(made[0] if isinstance(made, tuple) else made)
    x = np.random.default_rng(5).uniform(-1, 1, (1, *graph.input.item_shape)).astype(np.float32)
    found = balance(graph, Composite.load("epsilon-plus"), x)
    assert found.ok, found


def test_an_empty_side_is_booked_and_nothing_else() -> None:
    """One input, one weight: nothing lowers the output, so −β R goes nowhere and the pixel gets 2 R."""
    net = Net((1, 1, 1))
    net.conv("conv", "x", np.array([[[[2.0]]]]), pads=(0, 0, 0, 0))
    graph = canonise(net.finish("conv"))
    made = balance(graph, Composite.load("epsilon-alpha2-beta1"), np.full((1, 1, 1, 1), 3, np.float32))
    assert (made.start, made.ok) == (6, True)
    assert made.arrived == pytest.approx(12, rel=1e-5)
    assert made.taken["empty side"] == pytest.approx(-6, rel=1e-5)


def test_derivatives_are_not_asked_to_conserve() -> None:
    made = balance(NETS["vgg"](), Composite.uniform("gradient"), image(1))
    assert (made.conserving, made.ok) == (False, True)
    assert abs(made.taken["derivative"]) > 0.01


# What is broken on purpose, one thing at a time: (the net it shows in, how to break it).


def coefficients(patch: pytest.MonkeyPatch) -> None:
    """α2β1 with β = 0.9 in its shares."""
    right = CATALOGUE["alpha-beta"].shares

    def wrong(rule: Rule) -> Any:
        return tuple(replace(share, coefficient=-0.9) if share.coefficient < 0 else share for share in right(rule))

    patch.setitem(CATALOGUE, "alpha-beta", replace(CATALOGUE["alpha-beta"], shares=wrong))


def denominators(patch: pytest.MonkeyPatch) -> None:
    """The session computes a denominator with other weights."""
    from lrptool.engine import denominators as module  # noqa: PLC0415

    right = module._weights_of

    def wrong(node: Any, part: Any, beside: Any) -> str:
        name = right(node, part, beside)
        off = beside.constant("/off", np.array(1.01))
        return name if name in node.inputs else beside.write("Mul", (name, off), f"{name}/off")

    patch.setattr(module, "_weights_of", wrong)


def transposed(patch: pytest.MonkeyPatch) -> None:
    """The way back through a convolution has weights of its own."""
    right = ConvMap.gather

    def wrong(self: ConvMap, k: int, parts: Any, dtype: Any) -> Any:
        off = ConvMap(lambda: self._weight() * np.float32(1.01), self._bias, self._geometry)
        return right(off, k, parts, dtype)

    patch.setattr(ConvMap, "gather", wrong)


def summed(patch: pytest.MonkeyPatch) -> None:
    """A sum hands its second input too much."""

    def wrong(self: SumMap, k: int, parts: Any, dtype: Any) -> Any:
        channels, *rest = (size for size in self._shapes[0][1:] if size is not None)
        return TransposedScale(int(np.prod(rest)), [np.full(channels, 1 + 0.02 * k) for _ in parts])

    patch.setattr(SumMap, "gather", wrong)


def treatment(op: str, name: str, wrong: Callable[[Passage], tuple[Any, ...]]) -> Callable[[pytest.MonkeyPatch], None]:
    """An operator that passes relevance wrongly."""

    def broken(patch: pytest.MonkeyPatch) -> None:
        kind = type(operator(op))
        patch.setattr(kind, "treatments", {**kind.treatments, name: Treatment(wrong, frozenset({"inputs"}))})

    return broken


def lossy(passage: Passage) -> tuple[Any, ...]:
    return (passage.relevances[0] * np.float32(0.99),)


def lossy_pool(passage: Passage) -> tuple[Any, ...]:
    return (np.zeros_like(passage.xs[0]),)


def walk(patch: pytest.MonkeyPatch) -> None:
    """What explanations take is not what the step-by-step walk gives."""
    right = Plan.__call__
    patch.setattr(Plan, "__call__", lambda self, *given: right(self, *given) * np.float32(1.01))


def signs(patch: pytest.MonkeyPatch) -> None:
    """Whatever a convolution writes counts as not negative."""
    patch.setattr(type(operator("Conv")), "nonnegative", lambda *_: True)


def signed() -> Graph:
    """Two convolutions without anything in between."""
    net = Net(seed=1)
    h = net.conv("conv2", net.conv("conv1", "x", 6), 6)
    return canonise(net.finish(net.dense("fc", net.flatten("flat", h), 4)))


BROKEN: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Callable[[], Graph]]] = {
    "coefficients": (coefficients, NETS["vgg"]),
    "denominators": (denominators, NETS["vgg"]),
    "transposed": (transposed, NETS["vgg"]),
    "summed": (summed, NETS["residual"]),
    "relu": (treatment("Relu", "pass", lossy), NETS["vgg"]),
    "lrn": (treatment("LRN", "pass", lossy), NETS["inception"]),
    "pooling": (treatment("MaxPool", "route", lossy_pool), NETS["vgg"]),
    "walk": (walk, NETS["vgg"]),
    "signs": (signs, signed),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_does_not_pass(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks, make = BROKEN[what]
    composite = Composite.load("epsilon-alpha2-beta1")
    whole = balance(make(), composite, image(1))
    assert whole.ok
    breaks(monkeypatch)
    broken = balance(make(), composite, image(1))
    assert not broken.ok, broken
    assert broken.negative or max(broken.error, broken.worst_error) > 1e-3


def model_of(source: Graph, graph: Graph | None = None) -> Model:
    """A model whose two graphs are ours."""
    classes = source.tensors[source.output].item_shape[0]
    height, width = source.input.item_shape[1:]
    preprocessing = Preprocessing((height, width), channels="BGR", mean=(128, 128, 128))
    labels = Labels.of(None, classes)
    return Model("ours", graph or canonise(source), preprocessing, labels, reread=lambda: source)


def test_a_graph_that_is_not_the_one_that_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net(seed=3, bias=True)
    h = net.relu("relu", net.random_norm("norm", net.conv("conv", "x", 6)))
    source = net.finish(net.dense("fc", net.flatten("flat", h), 4))
    assert check(model_of(source)).ok
    graph = canonise(source)
    name = graph.nodes[0].inputs[1]
    weights = graph.constants[name].copy()
    weights[0] *= 1.01
    report = check(model_of(source, replace(graph, constants={**graph.constants, name: weights})))
    assert not report.ok
    assert "scores differ from those of the network as read" in report.problems[0]
    assert report.record()["ok"] is False


def test_values_that_are_not_finite() -> None:
    net = Net(seed=3)
    h = net.add("Exp", "exp", net.conv("conv", "x", 6))
    source = net.finish(net.dense("fc", net.flatten("flat", h), 4))
    with pytest.raises(NumericError, match="not finite"):
        check(model_of(source))


def test_a_composite_without_a_rule_for_a_node() -> None:
    composite = Composite("ours", (Row(Match(op=("Gemm",)), Rule.of("epsilon")),))
    with pytest.raises(UnsupportedError, match="no rule for node 'conv1'"):
        check(model_of(NETS["vgg"]()), [composite])


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*_new.onnx")), ids=lambda path: path.stem)
def test_exported_networks(path: Path) -> None:
    report = check(load(path))
    assert report.ok, report.problems
    assert [parity.against for parity in report.parities] == ["the network as read", "onnxruntime on the file"]
    assert all(parity.difference is not None for parity in report.parities)


SIZES = {
    "cifar10_full_sigmoid_bn.train_test": (3, 32, 32),
    **dict.fromkeys(("age_vgg16", "vgg16-pytorch", "resnet38a"), (3, 96, 96)),
    "bvlc_caffenet_full_conv": (3, 259, 259),
}
"""The first says none; the others would take half a minute each."""


@pytest.mark.skipif(not TEXTS, reason="reference data (../shared) is not here")
@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_published_architectures(path: Path) -> None:
    report = check(load(path, "random:0", input_shape=SIZES.get(path.stem)))
    assert report.ok, report.problems
    assert len(report.balances) == 2
    assert all(made.error < 1e-3 for _, made in report.balances)
    assert all(abs(made.start) > 0.1 for _, made in report.balances)


def test_the_command() -> None:
    done = run("check", "lenet")
    assert (done.code, done.err) == (0, "")
    *_, verdict = done.text.splitlines()
    assert verdict.startswith("lenet: ok (10 nodes with rules, scores equal to ")
    assert "epsilon-plus" in done.text
    assert "epsilon-alpha2-beta1" in done.text
    (record,) = run("check", "lenet", "--json", "-c", "epsilon", "--seed", 1).records
    assert (record["ok"], record["model"]) == (True, "lenet")
    assert [row["composite"] for row in record["composites"]] == ["epsilon"]


def test_the_command_fails_where_the_check_does(monkeypatch: pytest.MonkeyPatch) -> None:
    treatment("Relu", "pass", lossy)(monkeypatch)
    done = run("check", "lenet")
    assert done.code == 7
    assert done.text.splitlines()[-1].startswith("lenet: not ok: epsilon-plus: ")
    (record,) = run("check", "lenet", "--json").records
    assert record["ok"] is False


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("nosuch",), 3, "nosuch"),
        (("lenet", "-c", "epsilno"), 6, "unknown composite"),
        (("lenet", "--input-shape", "3,224"), 2, "expected three or four sizes"),
        (("lenet", "--head", "nosuch"), 3, "there is no output 'nosuch'"),
    ],
)
def test_mistakes(args: Sequence[str], code: int, message: str) -> None:
    done = run("check", *args)
    assert (done.code, done.out) == (code, b"")
    assert message in done.err


def test_the_reference_models(shared: Path) -> None:
    assert shared == SHARED
    for name in ("lenet_bvlc", "tinymix"):
        report = check(load(name, models_dir=shared / "models"))
        assert report.ok, report.problems


def test_programs_are_not_changed_by_a_check() -> None:
    graph = NETS["vgg"](bias=True)
    program = Program(graph, Composite.load("epsilon-plus"))
    before = {name: value.copy() for name, value in graph.constants.items()}
    balance(without_biases(graph), program.composite, image(1))
    assert all(np.array_equal(before[name], value) for name, value in graph.constants.items())
