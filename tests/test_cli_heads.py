"""Choosing another head and the size of the input on the command line, for every command that reads a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lrptool import load
from tests.caffe_nets import layer
from tests.caffe_text import Net
from tests.command import run
from tests.onnxnets import model, node, save

PIXELS = np.random.default_rng(0).uniform(0, 255, (1, 3, 24, 20)).astype(np.float32)


@pytest.fixture
def two_heads(tmp_path: Path) -> Path:
    """A training text whose data layer says no size, with a head to help and a main one."""
    net = Net(source=layer("data", "Data", "", "data label", 'data_param { source: "d" }'))
    h = net.inplace("ReLU", net.conv("data", 6, 3, top="conv1"))
    net.dense(net.pool(h, 4, 4), 4, "aux/fc")
    net.add("SoftmaxWithLoss", "aux/fc label", "loss_weight: 0.3", "aux/loss")
    net.dense(net.mean(net.inplace("ReLU", net.conv(h, 8, 3))), 7, "main/fc")
    net.add("SoftmaxWithLoss", "main/fc label", top="loss")
    path = tmp_path / "train_val.prototxt"
    path.write_text(net.text)
    np.save(tmp_path / "x.npy", PIXELS)
    return path


def test_a_note_names_the_option_that_takes_another_head(two_heads: Path) -> None:
    options = ("--weights", "random:0", "--input-shape", "3,24,20")
    done = run("inspect", "--model", two_heads, *options, "--json")
    assert done.records[0]["classes"] == 7
    done = run("inspect", "--model", two_heads, *options)
    assert "other outputs: aux/loss (--head NAME takes one)" in done.err
    for name in ("aux/loss", "aux/fc"):
        assert run("inspect", "--model", two_heads, *options, "--head", name, "--json").records[0]["classes"] == 4
    again = run("inspect", "--model", two_heads, *options, "--head", "aux/loss")
    assert "--head" not in again.err


@pytest.mark.parametrize("shape", ["3,24,20", "1,3,24,20", "3x24x20"])
def test_every_command_takes_both(two_heads: Path, tmp_path: Path, shape: str) -> None:
    options = ("--weights", "random:0", "--input-shape", shape, "--head", "aux/loss", "-q")
    x, out = tmp_path / "x.npy", tmp_path / "out.onnx"
    wanted = load(two_heads, "random:0", input_shape=(3, 24, 20), output="aux/fc").predict(PIXELS)
    (record,) = run("predict", x, "--model", two_heads, *options, "--top", 4, "--json").records
    best = wanted.top(4)[0]
    assert [row["target"] for row in record["predictions"]] == best.tolist()
    (record,) = run("explain", x, "--model", two_heads, *options, "-o", "/dev/null", "--json").records
    assert record["score"] == pytest.approx(float(wanted.scores[0, best[0]]), rel=1e-4)
    assert run("check", two_heads, *options).code == 0
    assert run("convert", two_heads, out, *options).code == 0
    np.testing.assert_allclose(load(out).predict(PIXELS).scores, wanted.scores, rtol=1e-4)


def test_a_size_left_open_names_the_option(two_heads: Path) -> None:
    done = run("check", two_heads, "--weights", "random:0")
    assert (done.code, done.out) == (3, b"")
    assert "hint: give --input-shape C,H,W" in done.err


@pytest.mark.parametrize("shape", ["3", "3,24", "3,24,0", "3,24,-1", "a,b,c", "1,2,3,4,5", "", "3,,24"])
def test_shapes_that_are_none(two_heads: Path, shape: str) -> None:
    done = run("check", two_heads, "--weights", "random:0", "--input-shape", shape)
    assert (done.code, done.out) == (2, b"")
    assert "expected three or four sizes such as 3,224,224" in done.err


def test_heads_of_an_onnx_file(tmp_path: Path) -> None:
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("GlobalAveragePool", ["r"], ["early"]),
        node("Conv", ["r", "w"], ["c"]),
        node("GlobalMaxPool", ["c"], ["late"]),
    ]
    weight = np.random.default_rng(0).normal(size=(5, 3, 3, 3)).astype(np.float32)
    path = save(model(nodes, ["N", 3, "H", "W"], {"w": weight}, outputs=("early", "late")), tmp_path)
    options = ("--input-shape", "3,8,8")
    done = run("check", path, *options)
    assert done.code == 0
    assert "other outputs were left out: early (--head NAME takes one)" in done.err
    for head, classes in (("early", 3), ("late", 5)):
        assert run("inspect", "--model", path, *options, "--head", head, "--json").records[0]["classes"] == classes
    assert run("check", path, *options, "--head", "nobody").code == 3
