"""`lrptool convert`: files that onnxruntime runs, and that lrptool explains as it explains what they were made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from lrptool import Model, load
from lrptool.api import Conversion, convert, random_image
from lrptool.errors import ModelError, NumericError, OutputError
from tests.caffe_families import FAMILIES
from tests.command import DIGIT, lenet, listing, run
from tests.onnxnets import FIXTURES

RESPELLED = {
    **dict.fromkeys(("inception-resnet", "pvanet"), "factors become normalisations, and join their layers"),
    **dict.fromkeys(("ssd", "normface"), "the scale of a norm becomes a normalisation"),
    "senet-scale": "two reshapes that undo each other go",
}
"""Where the reader of ONNX files finds other words for the same."""


def outside(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    """What onnxruntime makes of a file."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {given.name: x}), strict=True))


def same(model: Model, again: Model, *, exactly: bool = True) -> None:
    """Both have the same nodes, and explain a batch in the same way."""
    x = np.concatenate([random_image(model, seed) for seed in range(2)])
    first, second = (one.explain(x, composite="epsilon-plus") for one in (model, again))
    if exactly:
        assert [(n.name, n.op) for n in model.graph.nodes] == [(n.name, n.op) for n in again.graph.nodes]
        np.testing.assert_array_equal(first.relevance, second.relevance)
    scale = np.abs(first.relevance).max()
    np.testing.assert_allclose(first.relevance, second.relevance, rtol=0, atol=1e-4 * scale)
    np.testing.assert_array_equal(first.target, second.target)


def test_a_named_model(tmp_path: Path) -> None:
    model, path = lenet(), tmp_path / "lenet.onnx"
    made = convert(model, path)
    assert made == Conversion((path,), path.stat().st_size, 17, "prob", made.difference)
    assert made.difference < 1e-6
    assert listing(tmp_path) == ["lenet.onnx"]
    onnx.checker.check_model(path, full_check=True)
    batch = np.concatenate([model.read(DIGIT), random_image(model)])
    (found,) = outside(path, batch).values()
    np.testing.assert_allclose(found, model.predict(batch).probabilities, atol=1e-6)
    again = load(path)
    assert again.notes == ()
    assert again.labels == model.labels
    first, second = (one.explain(DIGIT, target="3") for one in (model, again))
    np.testing.assert_array_equal(first.relevance, second.relevance)
    assert first.composite == second.composite
    same(model, again)


def test_what_the_file_says_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "n.onnx"
    convert(load("lenet"), path)
    said = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert said["lrptool.source"] == "lenet"
    assert said["lrptool.sha256"] == lenet().sha256
    assert json.loads(said["lrptool.labels"]) == [str(k) for k in range(10)]
    assert json.loads(said["lrptool.preprocess"])["fit"] == "mnist"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_caffe_nets(tmp_path: Path, name: str) -> None:
    family = FAMILIES[name]
    prototxt = tmp_path / "deploy.prototxt"
    prototxt.write_text(family.text)
    model = load(prototxt, "random:0", input_shape=family.input_shape)
    path = tmp_path / "net.onnx"
    convert(model, path)
    again = load(path)
    rounding = any(node.op == "AveragePool" for node in model.graph.nodes)
    same(model, again, exactly=not rounding and name not in RESPELLED)
    assert (again.graph.head, again.graph.input) == (model.graph.head, model.graph.input)


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.onnx")), ids=lambda path: path.stem)
def test_onnx_files_again(tmp_path: Path, path: Path) -> None:
    model = load(path)
    convert(model, tmp_path / "net.onnx")
    same(model, load(tmp_path / "net.onnx"))


def test_scores_instead_of_probabilities(tmp_path: Path) -> None:
    path = tmp_path / "n.onnx"
    assert convert(lenet(), path, softmax=False).output == lenet().source.output
    x = random_image(lenet())
    np.testing.assert_allclose(outside(path, x)["ip2"], lenet().predict(x).scores, rtol=1e-5)
    assert load(path).graph.head == "logits"


def test_large_weights_get_a_file_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrptool.api.converting.LARGEST", 100_000)
    path = tmp_path / "n.onnx"
    made = convert(lenet(), path)
    assert made.files == (path, tmp_path / "n.onnx.data")
    assert listing(tmp_path) == ["n.onnx", "n.onnx.data"]
    assert made.bytes == sum(file.stat().st_size for file in made.files)
    assert path.stat().st_size < 50_000
    onnx.checker.check_model(path, full_check=True)
    same(lenet(), load(path))
    with pytest.raises(OutputError, match=r"n\.onnx: there already"):
        convert(lenet(), path)
    path.unlink()
    with pytest.raises(OutputError, match=r"n\.onnx\.data: there already"):
        convert(lenet(), path)
    convert(lenet(), path, force=True)
    assert listing(tmp_path) == ["n.onnx", "n.onnx.data"]


def test_nothing_is_left_of_what_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "n.onnx"
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="there already"):
        convert(lenet(), path)
    monkeypatch.setattr("lrptool.api.converting.run_outside", lambda *_: np.full((1, 10), 7.0))
    with pytest.raises(NumericError, match="its scores differ from the model's"):
        convert(lenet(), path, force=True)

    def refused(*_: Any, **__: Any) -> None:
        raise onnx.checker.ValidationError("no good")

    monkeypatch.setattr(onnx.checker, "check_model", refused)
    with pytest.raises(ModelError, match="onnx refuses what was written: no good"):
        convert(lenet(), path, force=True)
    assert listing(tmp_path) == ["n.onnx"]
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["net.txt", "no/such/folder/net.onnx"])
def test_places_where_nothing_can_be_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="net"):
        convert(lenet(), tmp_path / name)
    assert listing(tmp_path) == []


def test_a_mean_image_stays_behind(tmp_path: Path) -> None:
    mean = tmp_path / "mean.npy"
    np.save(mean, np.full((1, 28, 28), 3, np.float32))
    made = convert(load("lenet", mean=str(mean)), tmp_path / "n.onnx")
    assert "mean image" in made.notes[0]
    assert load(tmp_path / "n.onnx").preprocessing.mean is None


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"raw_scale": "a", "channels": 3, "std": [], "resize": -1, "mean": [1e99]}', "[" * 100_000]
)
def test_metadata_of_strangers(tmp_path: Path, text: str) -> None:
    path = tmp_path / "n.onnx"
    convert(lenet(), path)
    model = onnx.load(path)
    del model.metadata_props[:]
    for key in ("preprocess", "labels", "composite"):
        model.metadata_props.add(key=f"lrptool.{key}", value=text)
    onnx.save(model, path)
    again = load(path)
    assert again.preprocessing.raw_scale == 1
    assert again.preprocessing.channels == "GRAY"
    assert (again.labels.names, again.default_composite) == ((), None)


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "n.onnx"
    done = run("convert", "lenet", path)
    assert (done.code, done.err) == (0, "")
    (line,) = done.text.splitlines()
    assert line.startswith(f"{path}: 0.8 MB, opset 17, data → prob; under onnxruntime, scores equal to ")
    first, second = (run("predict", DIGIT, "--model", name, "--json").records[0] for name in ("lenet", path))
    assert first["predictions"] == second["predictions"]
    again = run("convert", path, path)
    assert (again.code, again.out) == (9, b"")
    assert again.err.endswith(
        "n.onnx: there already\n  hint: --force replaces it, another name for OUT.onnx keeps it\n"
    )
    again = run("convert", path, path, "--force")
    assert (again.code, again.out) == (9, b"")
    assert again.err.endswith("n.onnx: is one of the inputs\n  hint: give OUT.onnx another name\n")
    assert run("convert", "lenet", path, "--force", "--no-softmax").text.count("→ ip2") == 1


def test_a_place_that_cannot_be_is_said_before_the_model_is_read(tmp_path: Path) -> None:
    for name, reason in (("net.txt", "ends in .onnx"), ("no/net.onnx", f"no folder {tmp_path / 'no'}")):
        done = run("convert", "no-such-model", tmp_path / name)
        assert (done.code, done.out) == (9, b"")
        assert reason in done.err
