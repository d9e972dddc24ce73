"""The bench itself: that it measures what it says. No speed is asserted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lrptool import load
from lrptool.engine import Step, canonise
from lrptool.engine.compiling import Compiler
from lrptool.errors import UnsupportedError
from lrptool.graph import Graph
from lrptool.loaders.caffe import load_caffe
from lrptool.loaders.caffe.fillers import RandomWeights
from lrptool.rules import Composite
from tests.bench import ROOT, alone, timing
from tests.bench import run as bench_run
from tests.bench.__main__ import main
from tests.bench.architectures import ARCHITECTURES, Prototxt
from tests.bench.networks import prepare
from tests.bench.partner import Partner
from tests.bench.report import BEGIN, END, Report, write_section
from tests.bench.timing import Clock, Rounds, Spread, interleaved
from tests.bench.work import backward_operations, memory_bound
from tests.nets import Net

PUBLISHED = {
    "squeezenet_v1.0": ("squeezenet_v1.0", 861_339_936, 1_244_448),
    "googlenet": ("bvlc_googlenet", 1_582_671_872, 6_990_272),
    "caffenet": ("bvlc_reference_caffenet", 724_406_816, 60_954_656),
    "resnet50": ("resnet50", 3_857_973_248, 25_502_912),
    "vgg16": ("vgg16-pytorch", 15_470_264_320, 138_344_128),
}
"""The published file, multiply-adds of a forward pass, and weights without biases."""


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes need no weights."""
    monkeypatch.setattr(RandomWeights, "_draw", lambda _self, blob, _spread: np.zeros(blob.shape, np.float32))


def read(path: Path) -> Graph:
    try:
        return canonise(load_caffe(path, "random:0").graph)
    except UnsupportedError as error:
        pytest.skip(str(error))


def built(name: str, folder: Path) -> Graph:
    path = folder / f"{name}.prototxt"
    path.write_text(str(ARCHITECTURES[name]()))
    return read(path)


def layers(graph: Graph) -> Counter[object]:
    """Of each node: operator, geometry, shapes in and out."""
    return Counter(
        (
            node.op,
            tuple(sorted(node.attributes.items())),
            tuple(graph.tensors[name].shape for name in node.inputs if name in graph.tensors),
            graph.tensors[node.outputs[0]].shape,
        )
        for node in graph.nodes
    )


def steps(graph: Graph, composite: str) -> tuple[Step, ...]:
    return Compiler(graph, Composite.load(composite).assign(graph), None).steps


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_have_the_published_layers(name: str, shared: Path, tmp_path: Path) -> None:
    published = read(shared / "zoo" / "prototxt" / f"{PUBLISHED[name][0]}.prototxt")
    assert layers(built(name, tmp_path)) == layers(published)


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_have_the_published_size(name: str, tmp_path: Path) -> None:
    graph = built(name, tmp_path)
    _, products, weights = PUBLISHED[name]
    # With the epsilon rule every layer is multiplied once, the last one for one class of 1000.
    last = next(node for node in reversed(graph.nodes) if node.op in ("Conv", "Gemm"))
    shape = graph.constants[last.inputs[1]].shape
    positions = np.prod(graph.tensors[last.outputs[0]].item_shape[1:], dtype=int)
    wanted = 2 * (products - np.prod(shape) * positions * 999 / 1000)
    assert backward_operations(graph, steps(graph, "epsilon")) == pytest.approx(wanted, rel=1e-12)
    assert sum(constant.size for constant in graph.constants.values() if constant.ndim > 1) == weights


def test_operations_are_those_of_the_products_a_rule_needs() -> None:
    net = Net((2, 7, 6))
    hidden = net.relu("relu", net.conv("first", "x", 4))
    graph = canonise(net.finish(net.dense("last", net.flatten("flat", hidden), 5)))
    first, last = 2 * 4 * 7 * 6 * 2 * 9, 2 * 4 * 7 * 6
    # Pixels have both signs: zplus and alpha-beta need two products for every one behind a ReLU.
    for name, products in (("epsilon", 1), ("epsilon-plus", 2), ("epsilon-alpha2-beta1", 4)):
        assert backward_operations(graph, steps(graph, name)) == products * first + last
    assert memory_bound(graph) == 250 + (1.5 * 4 * (4 * 18 + 5 * 168) + 2 * 4 * (84 + 168 + 5)) / 1e6


def turns(calls: list[str], name: str) -> dict[str, float]:
    calls.append(name)
    return {name: float(calls.count(name))}


def test_tasks_take_turns_and_the_first_round_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WARM", 0)
    calls: list[str] = []
    seconds = interleaved([lambda: turns(calls, "a"), lambda: turns(calls, "b")], Rounds.exactly(2))
    assert "".join(calls) == "ab" * 3
    assert seconds == {"a": [2, 3], "b": [2, 3]}


def test_quick_tasks_are_warm_when_they_are_timed() -> None:
    calls: list[str] = []
    seconds = interleaved([lambda: turns(calls, "a"), lambda: turns(calls, "b")], Rounds.exactly(1))
    assert re.fullmatch("aba+b+", "".join(calls))
    assert seconds == {"a": [calls.count("a")], "b": [calls.count("b")]}
    assert min(calls.count("a"), calls.count("b")) > 3


def test_rounds_go_on_while_there_is_time() -> None:
    rounds = Rounds(least=3, most=7, seconds=10)
    assert not rounds.enough(3, elapsed=20)  # the first does not count
    assert rounds.enough(4, elapsed=20)
    assert not rounds.enough(4, elapsed=5)
    assert rounds.enough(8, elapsed=5)
    assert rounds.enough(3, elapsed=100)  # dear ones count from the first on


def test_median_and_quartiles() -> None:
    assert Spread.of([5, 1, 4, 2, 3], scale=10) == Spread(30, 20, 40)
    assert Spread.of([2]) == Spread(2, 2, 2)


def test_a_clock_adds_up_until_it_is_read() -> None:
    clock = Clock(lambda a, b: a - b)
    assert clock(5, b=3) == 2
    once = clock.read()
    assert once > 0
    assert clock.read() == 0


def test_a_section_is_replaced_and_the_rest_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "document.md"
    path.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    for text in ("new", "newer"):
        write_section(path, text)
        assert path.read_text() == f"before\n\n{BEGIN}\n\n{text}\n{END}\n\nafter\n"
    fresh = tmp_path / "fresh.md"
    write_section(fresh, "new")
    write_section(fresh, "newer")
    assert fresh.read_text() == f"{BEGIN}\n\nnewer\n{END}\n"
    fresh.write_text(BEGIN)
    with pytest.raises(ValueError, match="without"):
        write_section(fresh, "new")


def small(folder: Path) -> Path:
    """A prototxt with every layer the five architectures have, but for batch normalisation."""
    net = Prototxt("small", 33)
    x = net.lrn("norm", net.pool("pool", net.conv_relu("conv", "data", 8, 7, 2, 3), 3, 2))
    branches = [net.conv_relu("left", x, 6, 1), net.conv_relu("right", net.pool("same", x, 3, 1, 1), 10, 3, pad=1)]
    x = net.layer("Concat", "both", branches)
    x = net.relu("sum/relu", net.layer("Eltwise", "sum", [x, net.conv("block", x, 16, 3, pad=1, group=2)]))
    x = net.pool("mean", net.conv_relu("wide", x, 12, 5, 1, 2), 3, 2, how="AVE")
    net.softmax(net.dense("classes", net.relu("hidden/relu", net.dense("hidden", x, 20)), 7))
    path = folder / "small.prototxt"
    path.write_text(str(net))
    return path


def test_drawn_weights_are_those_that_the_loader_draws(tmp_path: Path) -> None:
    drawn = load(small(tmp_path), weights="random:0").graph
    stored = prepare(str(tmp_path / "small.prototxt"), tmp_path).load(threads=1).graph
    assert dict(stored.constants).keys() == dict(drawn.constants).keys()
    for name, constant in drawn.constants.items():
        np.testing.assert_array_equal(stored.constants[name], constant)


def test_the_peak_is_measured_in_a_process_of_its_own() -> None:
    with Partner("tests.bench.peak", threads=1) as partner:
        assert partner.ask(do="measure")["seconds"] > 0
    with (
        pytest.raises(RuntimeError, match=r"tests\.bench\.missing ended"),
        Partner("tests.bench.missing", 1) as partner,
    ):
        partner.ask(do="measure")


def test_the_whole_bench_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "performance.md"
    main(["--quick", "--markdown", str(document)])
    report = capsys.readouterr().out
    assert document.read_text() == f"{BEGIN}\n\n{report}\n{END}\n"
    for line in ("### 1 picture, all threads", "### 1 picture, 1 thread", "| lenet | epsilon-plus |", "| conv2 |"):
        assert line in report
    assert "left out" not in report


def end_itself(*_: object) -> Report:
    """As the system ends a process that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def linger(*_: object) -> Report:
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    time.sleep(600)
    raise AssertionError


def test_a_process_that_is_killed_costs_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(alone, "_rows", end_itself)
    monkeypatch.setattr(alone, "_convolutions", end_itself)
    main(["--quick", "--threads", "1"])
    report = capsys.readouterr().out
    for what in ("pictures 1", "backward convolutions"):
        assert f"- {alone.ENDED}: {what}, threads 1 (lenet)" in report
    assert "| lenet | – |" in report
    assert "lrptool explain, lenet" in report


def test_whole_processes_that_are_killed_cost_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(code: int) -> None:
        raise subprocess.CalledProcessError(code, "explain")

    for name in ("rows_alone", "convolutions_alone"):
        monkeypatch.setattr(bench_run, name, lambda *_: Report([], (), ()))
    monkeypatch.setattr(bench_run, "high_water", lambda *_: killed(-signal.SIGKILL))
    main(["--quick"])
    assert f"- {alone.ENDED}: lrptool explain (lenet)" in capsys.readouterr().out
    monkeypatch.setattr(bench_run, "high_water", lambda *_: killed(2))
    with pytest.raises(subprocess.CalledProcessError):
        main(["--quick"])


def test_nobody_goes_on_measuring_for_one_who_is_gone() -> None:
    code = "from tests import test_bench; test_bench.alone._alone('', test_bench.linger, None, None)"
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
        try:
            # Nobody is left who could write.
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.kill(child, signal.SIGKILL)
            raise


def test_a_network_that_cannot_be_loaded_costs_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--batches", "1", "--rounds", "1", "--peers", "none", "--no-cold"]
    main(["--networks", str(tmp_path / "none.prototxt"), *options])
    assert "- left out: " in capsys.readouterr().out
