"""Weights that are packed are let go of, and had again when somebody asks: results stay what they were."""

from __future__ import annotations

import dataclasses
import gc
import shutil
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrptool
from lrptool.api import loading
from lrptool.engine import Program, resident
from lrptool.errors import ModelError
from lrptool.graph import Array
from lrptool.graph.constants import Constants
from tests.command import DIGIT, LENET, SAMPLES, run
from tests.onnxnets import load, model, node

RNG = np.random.default_rng(12)
X = RNG.uniform(size=(3, 1, 28, 28)).astype(np.float32)
CONVS = {"conv1", "conv2"}
COMPOSITES = ("epsilon", "epsilon-plus-flat", "epsilon-gamma-box", "alpha2-beta1", "deep-taylor")


def weights(net: lrptool.Model) -> dict[str, weakref.ref[Array]]:
    """Who watches the weights of every layer, by its name."""
    graph = net.graph
    named = {one.name: one.inputs[1] for one in graph.nodes if len(one.inputs) > 1}
    return {name: weakref.ref(graph.constants[constant]) for name, constant in named.items()}


def here(watched: Mapping[str, weakref.ref[Array]]) -> set[str]:
    """Layers whose weights are still in memory."""
    gc.collect()
    return {name for name, watch in watched.items() if watch() is not None}


@pytest.mark.parametrize(
    "composite", ["epsilon", "epsilon-plus-flat", "epsilon-gamma-box", "alpha2-beta1", "deep-taylor"]
)
def test_a_settled_model_explains_the_same_without_the_weights_it_has_packed(composite: str) -> None:
    fresh, net = lrptool.load("lenet"), lrptool.load("lenet")
    watched = weights(net)
    net.settle(composite)
    assert here(watched) == watched.keys() - CONVS
    for batch in (1, 2, 3):
        found = net.explain(X[:batch], 3, composite, batch_size=batch)
        same = fresh.explain(X[:batch], 3, composite, batch_size=batch)
        np.testing.assert_array_equal(found.relevance, same.relevance)
    assert here(watched) == watched.keys() - CONVS


@pytest.mark.parametrize("option", ["--batch-size", "--memory"])
def test_the_commands_read_weights_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    # What the tests before have left in this process counts against the budget, too.
    size = (option, 3 if option == "--batch-size" else f"{(resident() >> 20) + 1024}M")
    read: list[str] = []
    right = loading.load_caffe

    def counted(*args: Any, **options: Any) -> Any:
        read.append("caffe")
        return right(*args, **options)

    monkeypatch.setattr(loading, "load_caffe", counted)
    digits = [SAMPLES / f"digit_{k}.png" for k in range(10)]
    assert run("explain", *digits, "-m", "lenet", "-o", tmp_path / "a", *size, "--top", 2).code == 0
    assert run("explain", *digits, "-m", "lenet", "-o", tmp_path / "b", *size, "--audit").code == 0
    assert run("batch", *digits, "-m", "lenet", "-o", tmp_path / "c", *size).code == 0
    assert read == ["caffe"] * 3


def test_whoever_needs_the_weights_has_them() -> None:
    fresh, net = lrptool.load("lenet"), lrptool.load("lenet")
    net.settle("epsilon")
    other = net.explain(X, 3, "alpha2-beta1")
    np.testing.assert_array_equal(other.relevance, fresh.explain(X, 3, "alpha2-beta1").relevance)
    net.settle("epsilon")
    np.testing.assert_array_equal(net.predict(X).scores, fresh.predict(X).scores)
    net.settle("epsilon")
    audit, wanted = (one.explain(X, 3, "epsilon", audit=True, keep=["pool1"]) for one in (net, fresh))
    np.testing.assert_array_equal((audit.tensors or {})["pool1"], (wanted.tensors or {})["pool1"])
    assert [str(entry) for entry in audit.audit] == [str(entry) for entry in wanted.audit]
    net.settle("epsilon")
    double = [
        program.backward({k: v.astype(np.float64) for k, v in program.forward(X).items()}, np.ones((3, 10)))
        for program in (net.program("epsilon"), fresh.program("epsilon"))
    ]
    np.testing.assert_array_equal(*(next(iter(found.values())) for found in double))


def test_other_weights_than_before_are_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(LENET, tmp_path / "net")
    net = lrptool.load(folder / "deploy.prototxt", folder / "lenet.caffemodel")
    net.settle("epsilon")
    contents = (folder / "lenet.caffemodel").read_bytes()
    at = contents.index(np.ascontiguousarray(net.graph.constants["ip2/bias"]).tobytes())
    (folder / "lenet.caffemodel").write_bytes(contents[:at] + b"\x01" + contents[at + 1 :])
    wanted = lrptool.load("lenet").explain(X, 3, "epsilon").relevance
    np.testing.assert_array_equal(net.explain(X, 3, "epsilon").relevance, wanted)
    with pytest.raises(ModelError, match="expected weights as before"):
        net.explain(X, 3, "alpha2-beta1")


def test_a_model_without_files_keeps_its_weights() -> None:
    net = dataclasses.replace(lrptool.load("lenet"), reread=None)
    watched = weights(net)
    net.settle("epsilon")
    assert here(watched) == watched.keys()


def test_what_others_look_at_stays(tmp_path: Path) -> None:
    shared = RNG.normal(size=(2, 2, 1, 1)).astype(np.float32)
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("ConvTranspose", ["a", "w"], ["b"]),
        node("Conv", ["b", "v"], ["c"]),
        node("Flatten", ["c"], ["y"]),
    ]
    graph = load(model(nodes, ("N", 2, 1, 1), {"w": shared, "v": shared + 1}), tmp_path)
    reading = {one.outputs[0]: one.inputs[1] for one in graph.nodes if len(one.inputs) > 1}
    assert reading["a"] == reading["b"]
    assert Program(graph, lrptool.Composite.uniform(rule="epsilon")).packed() == {reading["c"]}


def test_constants_are_all_there_whoever_asks() -> None:
    arrays = {name: RNG.normal(size=(2, k + 1)).astype(np.float32) for k, name in enumerate("abcd")}
    constants, asked = Constants(arrays), []

    def again() -> Mapping[str, Array]:
        asked.append(threading.get_ident())
        return {name: array.copy() for name, array in arrays.items()}

    for times in range(20):
        constants.let_go(["b", "d"], again)
        assert (list(constants), len(constants), "d" in constants, "e" in constants) == (list("abcd"), 4, True, False)
        assert len(asked) == times
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda _: float(constants["d"].sum()), range(8))) == {float(arrays["d"].sum())}
    assert len(asked) == 20  # once each time, for all that wait
    with pytest.raises(KeyError):
        constants["e"]
    constants.let_go(["a"], lambda: {"a": np.zeros((3, 3), np.float32)})
    with pytest.raises(ModelError, match=r"weights 'a': expected \(2, 1\)"):
        constants["a"]


def test_the_commands_settle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[str] = []
    right = lrptool.Model.settle

    def watched(self: lrptool.Model, composite: object = None, **options: bool) -> None:
        right(self, composite, **options)  # type: ignore[arg-type]
        settled.append(self.name)

    monkeypatch.setattr(lrptool.Model, "settle", watched)

    assert run("explain", DIGIT, "-m", "lenet", "-o", tmp_path / "a.png").code == 0
    assert run("batch", DIGIT, "-m", "lenet", "-o", tmp_path / "b").code == 0
    assert settled == ["lenet", "lenet"]
