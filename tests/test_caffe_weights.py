"""Caffemodels: what is written is read, fits the layers or says why not, and nothing damaged passes."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from lrptool.errors import ModelError, OutputError, UnsupportedError
from lrptool.loaders.caffe import load_caffe, read_caffemodel, write_caffemodel
from lrptool.loaders.caffe.files import blob_array
from lrptool.loaders.caffe.schema import new_message
from lrptool.loaders.caffe.wire import StoredBlob, scan_bytes
from tests.caffe_nets import INPUT, blob_bytes, layer, load_text, net_bytes, number_of, sized

NET = (
    INPUT
    + layer("conv", "Convolution", "data", "c", "convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 }")
    + layer("relu", "ReLU", "c", "c")
    + layer("ip", "InnerProduct", "c", "ip", "inner_product_param { num_output: 2 }")
    + layer("prob", "Softmax", "ip", "prob")
)
RNG = np.random.default_rng(5)
CONV = [RNG.normal(size=(4, 3, 3, 2)).astype(np.float32), RNG.normal(size=4).astype(np.float32)]
DENSE = [RNG.normal(size=(2, 100)).astype(np.float32), RNG.normal(size=2).astype(np.float32)]
BLOBS = {"conv": CONV, "ip": DENSE}


@pytest.mark.parametrize(
    "form",
    ["packed", "legacy", "double", "chunks", "plain", "plain legacy", "plain double", "gradient", "half"],
)
def test_every_form_of_numbers(tmp_path: Path, form: str) -> None:
    stored = {name: [blob_bytes(array, form) for array in arrays] for name, arrays in BLOBS.items()}
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "net.caffemodel").write_bytes(net_bytes(stored))
    graph = load_caffe(tmp_path / "net.prototxt", tmp_path / "net.caffemodel").graph
    for name, arrays in BLOBS.items():
        for constant, array in zip(graph.node(name).inputs[1:], arrays, strict=True):
            expected = array.astype(np.float16).astype(np.float32) if form == "half" else array
            np.testing.assert_array_equal(graph.constants[constant], expected)
            assert graph.constants[constant].shape == array.shape


@pytest.mark.parametrize("age", ["V1", "V0"])
def test_weights_of_every_age_fit_a_current_net(tmp_path: Path, age: str) -> None:
    stored = {name: [blob_bytes(array, "legacy") for array in arrays] for name, arrays in BLOBS.items()}
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "net.caffemodel").write_bytes(net_bytes(stored, age))
    graph = load_caffe(tmp_path / "net.prototxt", tmp_path / "net.caffemodel").graph
    np.testing.assert_array_equal(graph.constants["ip/weight"], DENSE[0])


def test_the_writer_writes_the_current_form(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    write_caffemodel(path, "mine", {"conv": ("Convolution", CONV)})
    net = new_message("NetParameter")
    net.ParseFromString(path.read_bytes())
    assert (net.name, net.layer[0].name, net.layer[0].type) == ("mine", "conv", "Convolution")
    assert list(net.layer[0].blobs[0].shape.dim) == [4, 3, 3, 2]
    np.testing.assert_array_equal(net.layer[0].blobs[1].data, CONV[1])
    # The first bytes by hand: name (field 1), then layer (field 100, two-byte tag) with name and type.
    assert path.read_bytes().startswith(b"\x0a\x04mine\xa2\x06")
    assert os.listdir(tmp_path) == ["net.caffemodel"]  # noqa: PTH208


def test_the_writer_leaves_the_old_file_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        write_caffemodel(tmp_path / "missing" / "net.caffemodel", "n", BLOBS_WITH_TYPES)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot be written: Is a directory"):
        write_caffemodel(tmp_path / "folder", "n", BLOBS_WITH_TYPES)
    assert path.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "net.caffemodel"]
    write_caffemodel(path, "n", BLOBS_WITH_TYPES)
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


BLOBS_WITH_TYPES = {name: ("Any", arrays) for name, arrays in BLOBS.items()}


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, NET, BLOBS)
    assert loaded.sha256 == hashlib.sha256((tmp_path / "net.caffemodel").read_bytes()).hexdigest()


def test_the_only_caffemodel_beside_the_text_is_taken(tmp_path: Path) -> None:
    load_text(tmp_path, NET, BLOBS)
    graph = load_caffe(tmp_path / "deploy.prototxt", None).graph
    np.testing.assert_array_equal(graph.constants["ip/bias"], DENSE[1])
    write_caffemodel(tmp_path / "other.caffemodel", "n", BLOBS_WITH_TYPES)
    with pytest.raises(ModelError, match=r"beside it, found 2: net.caffemodel, other.caffemodel") as caught:
        load_caffe(tmp_path / "deploy.prototxt", None)
    assert "random:0" in (caught.value.hint or "")


def test_random_weights_are_he_scaled_and_seeded(tmp_path: Path) -> None:
    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text(NET)
    loaded = load_caffe(prototxt, "random:7")
    rng = np.random.default_rng(7)
    conv = rng.standard_normal((4, 3, 3, 2), np.float32) * np.sqrt(2 / 18)
    dense = rng.standard_normal((2, 100), np.float32) * np.sqrt(2 / 100)
    np.testing.assert_allclose(loaded.graph.constants["conv/weight"], conv, rtol=1e-6)
    np.testing.assert_allclose(loaded.graph.constants["ip/weight"], dense, rtol=1e-6)
    assert not loaded.graph.constants["conv/bias"].any()
    assert loaded.sha256 is None
    assert "random (seed 7)" in loaded.notes[-1]
    same = load_caffe(prototxt, "random").graph.constants["conv/weight"]
    np.testing.assert_array_equal(same, load_caffe(prototxt, "random:0").graph.constants["conv/weight"])


def test_random_weights_of_groups_see_fewer_channels(tmp_path: Path) -> None:
    options = "convolution_param { num_output: 6 kernel_size: 1 group: 3 bias_term: false }"
    graph = load_text(tmp_path, INPUT + layer("x", "Convolution", "data", "x", options)).graph
    # One channel and a kernel of one: fan-in 1.
    expected = np.random.default_rng(0).standard_normal((6, 1, 1, 1), np.float32) * np.sqrt(2)
    np.testing.assert_allclose(graph.constants["x/weight"], expected, rtol=1e-6)


def test_a_seed_that_is_no_number_is_a_file_name(tmp_path: Path) -> None:
    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text(NET)
    with pytest.raises(ModelError, match="random:x: cannot be read"):
        load_caffe(prototxt, "random:x")


@pytest.mark.parametrize(
    ("name", "stored", "wanted"),
    [("conv", (4, 3, 2, 3), (4, 3, 3, 2)), ("ip", (100, 2), (2, 100)), ("ip", (2, 99), (2, 100))],
)
def test_weights_of_another_shape(tmp_path: Path, name: str, stored: tuple, wanted: tuple) -> None:
    with pytest.raises(ModelError) as caught:
        load_text(tmp_path, NET, {**BLOBS, name: [np.zeros(stored), BLOBS[name][1]]})
    assert f"layer '{name}'" in caught.value.message
    assert f"expected weights of shape {wanted}, found {stored}" in caught.value.message


def test_axes_of_size_one_may_differ(tmp_path: Path) -> None:
    blobs = {"conv": [CONV[0], CONV[1].reshape(1, 1, 1, 4)], "ip": [DENSE[0].reshape(1, 1, 2, 100), DENSE[1]]}
    graph = load_text(tmp_path, NET, blobs).graph
    np.testing.assert_array_equal(graph.constants["conv/bias"], CONV[1])
    np.testing.assert_array_equal(graph.constants["ip/weight"], DENSE[0])


def test_missing_layers_and_blobs(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no weights for layer 'ip' \(InnerProduct\)") as caught:
        load_text(tmp_path, NET, {"conv": CONV, "ip_": DENSE})
    assert caught.value.hint == "did you mean 'ip_'?"
    with pytest.raises(ModelError, match="no weights for layer 'conv'") as caught:
        load_text(tmp_path, NET, {"fc1": DENSE, "fc2": DENSE})
    assert "fc1, fc2" in (caught.value.hint or "")
    with pytest.raises(ModelError, match=r"expected 2 blobs, found 1: \(4, 3, 3, 2\)"):
        load_text(tmp_path, NET, {**BLOBS, "conv": CONV[:1]})
    with pytest.raises(ModelError, match=r"'relu' \(ReLU\): expected 0 blobs, found 1"):
        load_text(tmp_path, NET, {**BLOBS, "relu": CONV[1:]})
    with pytest.raises(ModelError, match="holds no weights at all"):
        load_text(tmp_path, NET, {"conv": [], "ip": []})


def test_weights_of_training_heads_are_left_out_with_a_note(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, NET, {**BLOBS, "loss1/classifier": DENSE, "loss1/conv": CONV})
    assert "loss1/classifier, loss1/conv" in loaded.notes[-1]


def test_layers_of_one_name_take_their_weights_in_order(tmp_path: Path) -> None:
    dense = "inner_product_param { num_output: 2 }"
    text = INPUT + layer("ip", "InnerProduct", "data", "a", dense) + layer("ip", "InnerProduct", "a", "b", dense)
    arrays = [(np.ones((2, 126)), np.array([1, 2])), (np.full((2, 2), 5.0), np.array([3, 4]))]
    stored = [net_bytes({"ip": [blob_bytes(array, "packed") for array in pair]}) for pair in arrays]
    (tmp_path / "n.prototxt").write_text(text)
    (tmp_path / "n.caffemodel").write_bytes(b"".join(stored))
    graph = load_caffe(tmp_path / "n.prototxt", tmp_path / "n.caffemodel").graph
    np.testing.assert_array_equal(graph.constants["ip/bias"], [1, 2])
    np.testing.assert_array_equal(graph.constants["ip#2/bias"], [3, 4])


def test_a_layer_called_like_the_input_finds_its_weights(tmp_path: Path) -> None:
    blobs = {"data": [np.array([1, 2, 3]), np.array([4, 5, 6]), np.ones(1)]}
    graph = load_text(tmp_path, INPUT + layer("data", "BatchNorm", "data", "x"), blobs).graph
    np.testing.assert_array_equal(graph.constants["data#2/mean"], [1, 2, 3])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(tmp_path: Path, value: float) -> None:
    bias = np.array([0, value, 1, value], np.float32)
    with pytest.raises(ModelError, match=r"layer 'conv' \(Convolution\): holds 2 numbers that are not finite"):
        load_text(tmp_path, NET, {**BLOBS, "conv": [CONV[0], bias]})


def stored_blob(data: bytes) -> StoredBlob:
    """Read a BlobProto."""
    return scan_bytes(data).blob(len(data))


def test_doubles_too_large_for_a_float() -> None:
    with pytest.raises(ModelError, match="holds 1 numbers that are not finite"):
        blob_array(stored_blob(sized(8, struct.pack("<2d", 1.0, 1e300))), "here")


@pytest.mark.parametrize(
    ("dims", "data", "message"),
    [
        ((2, 3), sized(5, b"\0" * 20), r"here: shape \(2, 3\) asks for 6 numbers, found 5"),
        ((2, 3), sized(12, b"\0" * 6) + number_of(10 << 3) + b"\3", "here: 6 bytes of type 3 are no"),
        ((2, 3), sized(12, b"\0" * 5) + number_of(10 << 3) + b"\2", "here: 5 bytes of type 2 are no"),
        ((2**40, 2**40), sized(5, b"\0" * 24), "found 6"),
        ((2,), b"", "found 0"),
    ],
)
def test_blobs_that_contradict_themselves(dims: tuple, data: bytes, message: str) -> None:
    blob = stored_blob(sized(7, sized(1, b"".join(map(number_of, dims)))) + data)
    with pytest.raises(ModelError, match=message):
        blob_array(blob, "here")


def test_a_blob_of_a_negative_shape() -> None:
    minus_two = number_of(2**64 - 2)
    with pytest.raises(ModelError, match=r"shape \(-2, -2\)"):
        blob_array(stored_blob(sized(7, sized(1, minus_two * 2)) + sized(5, b"\0" * 16)), "here")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", ModelError, r"the file is empty \(0 bytes\)"),
        (b"not a model at all", ModelError, "18 bytes cannot be decoded"),
        (NET.encode(), ModelError, "cannot be decoded"),
        (b"\x0a\x03net", ModelError, "found 5 bytes without any layer"),
        (b"\x0a\x03n\xfft", ModelError, "cannot be decoded"),
        (b"<!DOCTYPE html><html>404</html>", UnsupportedError, "found a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", UnsupportedError, "found a Git LFS pointer"),
    ],
)
def test_files_that_are_no_caffemodel(tmp_path: Path, content: bytes, error: type, message: str) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        read_caffemodel(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_caffemodels_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        read_caffemodel(tmp_path / "missing.caffemodel")
    with pytest.raises(ModelError, match="Is a directory"):
        read_caffemodel(tmp_path)


def test_every_truncation_is_a_model_error(tmp_path: Path) -> None:
    load_text(tmp_path, NET, BLOBS)
    whole = (tmp_path / "net.caffemodel").read_bytes()
    for size in range(len(whole)):
        (tmp_path / "cut.caffemodel").write_bytes(whole[:size])
        with pytest.raises(ModelError):
            load_caffe(tmp_path / "deploy.prototxt", tmp_path / "cut.caffemodel")


def test_large_weights_become_no_python_numbers(tmp_path: Path) -> None:
    count = 8_000_000
    text = 'input: "data" input_dim: 1 input_dim: 2 input_dim: 40 input_dim: 100\n' + layer(
        "ip", "InnerProduct", "data", "ip", "inner_product_param { num_output: 1000 bias_term: false }"
    )
    weight = np.arange(count, dtype=np.float32).reshape(1000, 8000)
    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text(text)
    write_caffemodel(tmp_path / "net.caffemodel", "big", {"ip": ("InnerProduct", [weight])})
    tracemalloc.start()
    try:
        graph = load_caffe(prototxt, tmp_path / "net.caffemodel").graph
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(graph.constants["ip/weight"], weight)
    # 4 bytes a number and a little to look for what is not finite: the weights are read to where they stay.
    assert peak < 5 * count
