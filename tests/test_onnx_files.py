"""What can be wrong with an ONNX file: one line that says where, what was expected, what was found."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lrptool.errors import LrpError, ModelError, UnsupportedError
from lrptool.loaders.onnx import folding, load_onnx, wire
from tests.onnxnets import FIXTURES, load, model, node, run, run_graph, save

W = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
B = np.arange(5, dtype=np.float32)


def dense(**options: object) -> ModelProto:
    """x (N, 4) to y (N, 5)."""
    made = model([node("Gemm", ["x", "w", "b"], ["y"], name="fc", transB=1)], ["N", 4], {"w": W, "b": B})
    for key, value in options.items():
        setattr(made, key, value)
    return made


def refused(path: Path, kind: type[LrpError], text: str) -> str:
    """The hint of the error that reading a file raises; its message is one line that names the file."""
    with pytest.raises(LrpError) as caught:
        load_onnx(path)
    assert type(caught.value) is kind
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message
    assert text in caught.value.message
    return caught.value.hint or ""


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (b"", ModelError, "the file is empty"),
        (b"\x00\x01garbage" * 1000, ModelError, "cut off or not an ONNX file"),
        (b"<!DOCTYPE html><html>", UnsupportedError, "found a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", UnsupportedError, "a Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), UnsupportedError, "an HDF5 file"),
        (b"\x08\x08", ModelError, "without any node"),
        (b"just some text, as people drop in", ModelError, "cut off or not an ONNX file"),
    ],
)
def test_not_an_onnx_file(tmp_path: Path, data: bytes, kind: type[LrpError], text: str) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    refused(path, kind, text)


def test_random_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "net.onnx"
    for size in (10, 1000, 100_000):
        path.write_bytes(rng.bytes(size))
        refused(path, ModelError, "cut off or not an ONNX file")


def test_zip_with_another_name(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.onnx", dense().SerializeToString())
    refused(path, UnsupportedError, "found a zip archive")


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    refused(tmp_path / "none.onnx", ModelError, "cannot be read: No such file")
    refused(tmp_path, ModelError, "cannot be read: Is a directory")
    os.mkfifo(tmp_path / "pipe.onnx")
    refused(tmp_path / "pipe.onnx", ModelError, "cannot be read: not a file")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99, 0.9999])
def test_cut_off(tmp_path: Path, share: float) -> None:
    """Wherever the end is missing."""
    data = (FIXTURES / "resnet_old.onnx").read_bytes()
    path = tmp_path / "net.onnx"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError, match=r"net\.onnx"):
        load_onnx(path)


def test_damaged_names(tmp_path: Path) -> None:
    data = dense().SerializeToString().replace(b"fc", b"\xff\xfe")
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    refused(path, ModelError, "cut off or not an ONNX file")


def two(first: onnx.NodeProto, second: onnx.NodeProto) -> ModelProto:
    """A model of two nodes."""
    return model([first, second], ["N", 4], {"w": W})


def test_unsorted_nodes_are_sorted(tmp_path: Path) -> None:
    made = two(node("Relu", ["h"], ["y"]), node("Gemm", ["x", "w"], ["h"], transB=1))
    graph = load(made, tmp_path)
    x = np.array([[1, -2, 3, 0.5]], np.float32)
    np.testing.assert_allclose(run_graph(graph, x), np.maximum(x @ W.T, 0), rtol=1e-6)


def test_a_circle(tmp_path: Path) -> None:
    made = two(node("Add", ["x", "h"], ["y"], name="one"), node("Relu", ["y"], ["h"], name="two"))
    refused(save(made, tmp_path), ModelError, "waits for its own output: the graph has a circle")


def test_a_missing_input(tmp_path: Path) -> None:
    made = two(node("Relu", ["x"], ["hidden"], name="one"), node("Relu", ["hiden"], ["y"], name="two"))
    hint = refused(save(made, tmp_path), ModelError, "node 'two' (Relu) reads 'hiden', which nothing writes")
    assert hint == "did you mean 'hidden'?"


def test_a_tensor_written_twice(tmp_path: Path) -> None:
    made = two(node("Relu", ["x"], ["y"], name="one"), node("Relu", ["x"], ["y"], name="two"))
    refused(save(made, tmp_path), ModelError, "node 'two' (Relu) writes 'y', which is there already")


def test_no_output(tmp_path: Path) -> None:
    made = dense()
    del made.graph.output[:]
    refused(save(made, tmp_path), ModelError, "expected an output that a node writes, found none")


def test_scores_that_do_not_depend_on_the_image(tmp_path: Path) -> None:
    refused(save(model([node("Relu", ["w"], ["y"])], ["N", 4], {"w": W}), tmp_path), ModelError, "found none")


def test_two_images(tmp_path: Path) -> None:
    made = two(node("Add", ["x", "z"], ["h"]), node("Gemm", ["h", "w"], ["y"], transB=1))
    made.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 4]))
    refused(save(made, tmp_path), UnsupportedError, "depend on 2 inputs: x, z")


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(tmp_path: Path, number: float) -> None:
    wrong = W.copy()
    wrong[1, 2] = number
    made = model([node("Gemm", ["x", "w"], ["y"], name="fc", transB=1)], ["N", 4], {"w": wrong})
    refused(save(made, tmp_path), ModelError, "node 'fc' (Gemm): its constant")


def test_doubles_beyond_float32(tmp_path: Path) -> None:
    made = model([node("Mul", ["x", "w"], ["y"], name="m")], ["N", 4], {"w": np.full(4, 1e300)})
    refused(save(made, tmp_path), ModelError, "holds 4 numbers that are not finite")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: setattr(t, "raw_data", t.raw_data[:-3]), "tensor 'w'"),
        (lambda t: t.dims.append(3), "tensor 'w'"),
        (lambda t: t.dims.__setitem__(0, 2**40), "expected the shape of an array"),
        (lambda t: t.dims.__setitem__(0, -1), "expected the shape of an array"),
        (lambda t: setattr(t, "data_type", 99), "tensor 'w'"),
    ],
)
def test_damaged_weights(tmp_path: Path, change: Callable[[TensorProto], object], text: str) -> None:
    made = dense()
    change(made.graph.initializer[0])
    refused(save(made, tmp_path), ModelError, text)


def external(tmp_path: Path, location: str, **facts: object) -> Path:
    """The dense model with its weights in a file of their own."""
    made = dense()
    tensor = made.graph.initializer[0]
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **facts}.items():
        tensor.external_data.add(key=key, value=str(value))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(bytes(8) + data)
    (tmp_path / "outside.bin").write_bytes(bytes(8) + data)
    return save(made, folder)


def test_external_weights(tmp_path: Path) -> None:
    path = external(tmp_path, "weights.bin", offset=8, length=80)
    x = np.array([[1, -2, 3, 0.5]], np.float32)
    np.testing.assert_allclose(run_graph(load_onnx(path).graph, x), x @ W.T + B, rtol=1e-6)


@pytest.mark.parametrize("location", ["../outside.bin", "a/../../outside.bin", "", "/etc/hostname"])
def test_external_weights_elsewhere(tmp_path: Path, location: str) -> None:
    refused(external(tmp_path, location, offset=8), ModelError, "expected a file in the model's own folder")


def test_external_weights_behind_a_link(tmp_path: Path) -> None:
    path = external(tmp_path, "link.bin", offset=8)
    (path.parent / "link.bin").symlink_to(tmp_path / "outside.bin")
    refused(path, ModelError, "expected a file in the model's own folder")


@pytest.mark.parametrize(
    ("location", "facts", "text"),
    [
        ("nowhere.bin", {}, "nowhere.bin cannot be read: No such file"),
        ("weights.bin", {"offset": 40}, "expected 80 bytes at 40"),
        ("weights.bin", {"offset": 8, "length": 40}, "80 bytes make (5, 4), found 40 at 8"),
        ("weights.bin", {"offset": "many"}, "cannot be understood"),
        ("weights.bin", {"offset": -8}, "found -1 at -8"),
    ],
)
def test_external_weights_that_do_not_fit(tmp_path: Path, location: str, facts: dict[str, object], text: str) -> None:
    refused(external(tmp_path, location, **facts), ModelError, text)


def test_sparse_weights(tmp_path: Path) -> None:
    dense_weight = np.zeros((5, 4), np.float32)
    dense_weight[1, 2], dense_weight[4, 3] = 2.0, -3.0
    x = np.array([[1, -2, 3, 0.5]], np.float32)
    for places in (np.array([6, 19]), np.array([[1, 2], [4, 3]])):
        made = model([node("Gemm", ["x", "w"], ["y"], transB=1)], ["N", 4])
        sparse = made.graph.sparse_initializer.add()
        sparse.values.CopyFrom(numpy_helper.from_array(np.array([2, -3], np.float32), "w"))
        sparse.indices.CopyFrom(numpy_helper.from_array(places.astype(np.int64)))
        sparse.dims.extend([5, 4])
        np.testing.assert_allclose(run_graph(load(made, tmp_path), x), x @ dense_weight.T)
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([6, 20])))
    refused(save(made, tmp_path), ModelError, "its values and their places do not fit")


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_weights_of_other_precision(tmp_path: Path, kind: type[np.floating]) -> None:
    """Everything is computed in float32."""
    types = {np.float16: TensorProto.FLOAT16, np.float64: TensorProto.DOUBLE}
    made = model(
        [node("Gemm", ["x", "w"], ["h"], transB=1), node("Cast", ["h"], ["y"], to=TensorProto.FLOAT)],
        ["N", 4],
        {"w": W.astype(kind)},
        kind=types[kind],
    )
    graph = load(made, tmp_path)
    assert [step.op for step in graph.nodes] == ["Gemm"]
    x = np.array([[1, -2, 3, 0.5]], np.float32)
    wanted = run(made, x.astype(kind))
    np.testing.assert_allclose(run_graph(graph, x), wanted, rtol=2e-3 if kind is np.float16 else 1e-6)


def test_bfloat16_weights(tmp_path: Path) -> None:
    made = model([node("Cast", ["w"], ["f"], to=1), node("Gemm", ["x", "f"], ["y"], transB=1)], ["N", 4])
    made.graph.initializer.append(helper.make_tensor("w", TensorProto.BFLOAT16, [5, 4], W.reshape(-1).tolist()))
    x = np.array([[1, -2, 3, 0.5]], np.float32)
    np.testing.assert_allclose(run_graph(load(made, tmp_path), x), x @ W.T, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ([node("ConstantOfShape", ["n"], ["y0"])], "makes 1099511627776 numbers"),
        ([node("Expand", ["one", "n"], ["y0"])], "makes 1099511627776 numbers"),
    ],
)
def test_bombs(tmp_path: Path, nodes: list[onnx.NodeProto], text: str) -> None:
    """A file of 200 bytes does not fill the memory."""
    stored = {"n": np.array([2**20, 2**20]), "one": np.ones((1, 1), np.float32)}
    made = model([*nodes, node("Add", ["x", "y0"], ["y"])], ["N", 4], stored)
    refused(save(made, tmp_path), ModelError, text)


def test_many_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one of many that are each bearable."""
    monkeypatch.setattr(folding, "MOST_NUMBERS", 2**17)
    stored = {"n": np.array([4, 2**13])}
    made_of = [node("ConstantOfShape", ["n"], [f"c{k}"]) for k in range(12)]
    made = model([*made_of, node("Sum", ["x", *(f"c{k}" for k in range(12))], ["y"])], ["N", 2**13], stored)
    refused(save(made, tmp_path), ModelError, "more than any network has")


@pytest.mark.parametrize(
    ("op", "domain", "text", "hint"),
    [
        ("Softmaxx", "", "node 'odd' (Softmaxx): this operator is not supported", "did you mean 'Softmax'?"),
        ("Loop", "", "node 'odd' (Loop): this operator is not supported", "loops written out"),
        ("NonZero", "", "node 'odd' (NonZero)", "without decisions"),
        ("Convv", "com.microsoft", "node 'odd' (com.microsoft.Convv)", "did you mean 'Conv'?"),
        ("TreeEnsemble", "ai.onnx.ml", "node 'odd' (ai.onnx.ml.TreeEnsemble)", ""),
    ],
)
def test_unknown_operators(tmp_path: Path, op: str, domain: str, text: str, hint: str) -> None:
    nodes = [node(op, ["x"], ["h"], name="odd", domain=domain), node("Gemm", ["h", "w"], ["y"], transB=1)]
    made = model(nodes, ["N", 4], {"w": W}, domains={domain: 1} if domain else None)
    assert hint in refused(save(made, tmp_path), UnsupportedError, text)


@pytest.mark.parametrize(
    ("wrong", "stored", "text"),
    [
        (
            node("Unsqueeze", ["x", "c"], ["y"], name="n"),
            {"c": np.array([1, 1])},
            "referred to more than once",
        ),
        (node("Mul", ["x"], ["y"], name="n"), {}, "has input size 1 not in range"),
        (node("Conv", ["x"], ["y"], name="n"), {}, "has input size 1 not in range"),
        (node("Sum", ["x", "a", "b"], ["y"], name="n"), {"a": np.ones(4, "f"), "b": np.ones(3, "f")}, "dimensions"),
        (node("LayerNormalization", ["x", "c"], ["y"], name="n"), {"c": np.ones(3, "f")}, "scale of shape (3,)"),
        (node("Transpose", ["x"], ["y"], name="n", perm=[0, 2]), {}, "perm (0, 2) does not order"),
        (node("Reshape", ["x", "c"], ["y"], name="n"), {"c": np.array([0, 5, 7])}, "cannot be brought to shape"),
        (node("Split", ["x"], ["y", "z"], name="n", axis=7), {}, "axis 7 does not exist"),
        (node("Gather", ["x", "c"], ["y"], name="n", axis=1), {"c": np.array([9])}, "has not"),
        (node("Conv", ["x", "c"], ["y"], name="n"), {"c": np.ones((2, 5, 1, 1), "f")}, "do not fit"),
    ],
)
def test_nodes_that_do_not_fit(tmp_path: Path, wrong: onnx.NodeProto, stored: dict[str, object], text: str) -> None:
    """A mistake of the file is never a traceback."""
    made = model([wrong], ["N", 3, 6, 4], {name: np.asarray(value) for name, value in stored.items()}, opset=13)
    if wrong.op_type == "LayerNormalization":
        made.opset_import[0].version = 17
    path = save(made, tmp_path)
    refused(path, ModelError, text)
    with pytest.raises(ModelError, match="node 'n'"):
        load_onnx(path)


def test_slips_of_all_kinds(tmp_path: Path) -> None:
    """Numbers, names and operators changed at random: an error of ours, or a network."""
    rng, refusals = np.random.default_rng(0), 0
    files = sorted(FIXTURES.glob("*_old.onnx"))
    for turn in range(150):
        made = onnx.load(files[turn % len(files)])
        nodes = made.graph.node
        changed, other = nodes[int(rng.integers(len(nodes)))], nodes[int(rng.integers(len(nodes)))]
        what = turn % 4
        if what == 0 and changed.attribute:
            numbers = changed.attribute[int(rng.integers(len(changed.attribute)))].ints
            numbers[:] = [int(rng.choice([-1, 0, 7, 2**40])) for _ in numbers]
        elif what == 1 and changed.input:
            changed.input[int(rng.integers(len(changed.input)))] = other.output[0]
        elif what == 2:
            changed.op_type = other.op_type
        else:
            del changed.input[-1:]
        try:
            load_onnx(save(made, tmp_path))
        except LrpError as error:
            refusals += "\n" not in error.message
    assert refusals > 75


def test_large_weights_stay_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read where they are when they are wanted: the same network, in whatever order the fields of the file are."""
    source = FIXTURES / "resnet_old.onnx"
    wanted = load_onnx(source).graph
    monkeypatch.setattr(wire, "LARGE", 1)
    path = tmp_path / "net.onnx"
    # Fields nobody knows, of every wire type, change nothing.
    path.write_bytes(b"\xc8\x3e\x05\xc9\x3e" + bytes(8) + b"\xcd\x3e" + bytes(4) + source.read_bytes())
    found = load_onnx(path).graph
    assert [step.name for step in found.nodes] == [step.name for step in wanted.nodes]
    for name, value in wanted.constants.items():
        np.testing.assert_array_equal(found.constants[name], value)
    slim = wire.without_weights(memoryview(source.read_bytes()), "net.onnx")
    assert len(slim) < source.stat().st_size
    for share in (0.1, 0.5, 0.9, 0.999):
        path.write_bytes(source.read_bytes()[: int(source.stat().st_size * share)])
        with pytest.raises(ModelError, match=r"net\.onnx"):
            load_onnx(path)


@pytest.mark.parametrize(
    "data", [b"\x08" * 3, b"\x07\x01", b"\x02\x01\x00", b"\x0a" + b"\xff" * 10 + b"\x01", b"\x0a\x05ab"]
)
def test_bytes_that_are_not_the_wire_format(data: bytes) -> None:
    with pytest.raises(wire.DamagedError):
        wire.without_weights(memoryview(data), "net.onnx")


def test_more_fields_than_any_network_has(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x08\x08" * 300_000)
    refused(path, ModelError, "cut off or not an ONNX file")


@pytest.mark.parametrize(
    ("op", "more", "stored"),
    [
        ("Pad", ["c"], np.array([0, 0, 0, 0, 0, 0, 0, 2**40])),
        ("Tile", ["c"], np.array([1, 2**20, 2**20, 1])),
        ("Expand", ["c"], np.array([1, 2**30, 1, 1, 1])),
        ("Resize", ["", "c"], np.array([1, 1, 2**15, 2**15], np.float32)),
    ],
)
def test_bombs_made_of_an_image(op: str, more: list[str], stored: np.ndarray, tmp_path: Path) -> None:
    made = model([node(op, ["x", *more], ["y"], name="bomb")], ["N", 1, 6, 4], {"c": stored}, opset=13)
    refused(save(made, tmp_path), ModelError, f"node 'bomb' ({op}): makes")
