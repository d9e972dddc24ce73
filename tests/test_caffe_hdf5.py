"""Weights that Caffe's solver wrote as HDF5."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from lrptool.errors import ModelError
from lrptool.loaders.caffe import load_caffe
from tests.caffe_nets import INPUT, layer

NET = (
    INPUT
    + layer("block/conv", "Convolution", "data", "c", "convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 }")
    + layer("relu", "ReLU", "c", "c")
    + layer("ip", "InnerProduct", "c", "ip", "inner_product_param { num_output: 2 }")
    + layer("n", "Scale", "ip", "n", "scale_param { num_axes: 0 }")
)
RNG = np.random.default_rng(5)
BLOBS: dict[str, list[np.ndarray]] = {
    "block/conv": [RNG.normal(size=(4, 3, 3, 2)), RNG.normal(size=4)],
    "ip": [RNG.normal(size=(2, 100)), RNG.normal(size=2)],
    "n": [np.float64(3)],
}


def write(path: Path, blobs: Mapping[str, Sequence[np.ndarray]]) -> Path:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        for name, arrays in blobs.items():
            group = data.create_group(name)
            for index, array in enumerate(arrays):
                group.create_dataset(str(index), data=array)
        data.create_group("relu")
    return path


@pytest.fixture
def prototxt(tmp_path: Path) -> Path:
    path = tmp_path / "deploy.prototxt"
    path.write_text(NET)
    return path


def test_weights_of_hdf5_are_those_of_a_caffemodel(tmp_path: Path, prototxt: Path) -> None:
    weights = write(tmp_path / "net.caffemodel.h5", BLOBS)
    # Alone beside the text, it needs no name.
    loaded = load_caffe(prototxt, None)
    assert loaded.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    for name, arrays in (("block/conv", BLOBS["block/conv"]), ("ip", BLOBS["ip"])):
        for constant, array in zip(loaded.graph.node(name).inputs[1:], arrays, strict=True):
            np.testing.assert_array_equal(loaded.graph.constants[constant], array.astype(np.float32))
    assert loaded.graph.constants["n/scale"].tolist() == [3, 3]
    assert loaded.notes == ()


def test_an_h5_beside_the_text_needs_no_name(tmp_path: Path, prototxt: Path) -> None:
    weights = write(tmp_path / "snapshot.h5", BLOBS)
    assert load_caffe(prototxt, None).sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    (tmp_path / "._snapshot.h5").write_bytes(b"what a file system keeps beside it")
    assert load_caffe(prototxt, None).graph.constants["n/scale"].tolist() == [3, 3]
    (tmp_path / "other.h5").write_bytes(b"")
    with pytest.raises(
        ModelError, match=r"one \.caffemodel or \.h5 beside it, found 2: other\.h5, snapshot\.h5$"
    ) as caught:
        load_caffe(prototxt, None)
    assert "--weights FILE" in (caught.value.hint or "")
    # A name that says whose it is goes before one that does not.
    named = write(tmp_path / "net.caffemodel.h5", BLOBS | {"n": [np.float64(7)]})
    assert load_caffe(prototxt, None).graph.constants["n/scale"].tolist() == [7, 7]
    named.rename(tmp_path / "attribution.h5")
    with pytest.raises(ModelError, match="found 3"):
        load_caffe(prototxt, None)


def test_hdf5_without_its_reader(tmp_path: Path, prototxt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "net.h5"
    weights.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModelError, match=r"net.h5: an HDF5 file, and h5py, which reads it, is not installed") as caught:
        load_caffe(prototxt, weights)
    assert "lrptool[hdf5]" in (caught.value.hint or "")


def test_hdf5_files_that_are_damaged_or_something_else(tmp_path: Path, prototxt: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    weights = write(tmp_path / "net.h5", BLOBS)
    whole = weights.read_bytes()
    for size in (8, 100, len(whole) // 2):
        weights.write_bytes(whole[:size])
        with pytest.raises(ModelError, match=r"net\.h5") as caught:
            load_caffe(prototxt, weights)
        assert "\n" not in caught.value.message
    with h5py.File(weights, "w") as file:
        file.create_dataset("x", data=np.zeros(3))
    with pytest.raises(ModelError, match="without a group 'data'"):
        load_caffe(prototxt, weights)


def test_hdf5_arrays_that_are_no_weights(tmp_path: Path, prototxt: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    weights = write(tmp_path / "net.h5", {**BLOBS, "ip": [np.array([b"a", b"b"])]})
    with pytest.raises(ModelError, match="layer 'ip': expected weights, found 2 values of type"):
        load_caffe(prototxt, weights)
    with h5py.File(weights, "w") as file:
        # Never written, it takes no room in the file: 4 TB of zeros.
        file.create_dataset("data/ip/0", shape=(2**20, 2**20), dtype="f4", chunks=(1024, 1024))
    with pytest.raises(ModelError, match="layer 'ip': expected weights, found 1099511627776 values"):
        load_caffe(prototxt, weights)


def test_hdf5_alone_has_no_architecture(tmp_path: Path) -> None:
    weights = write(tmp_path / "net.h5", BLOBS)
    with pytest.raises(ModelError, match="weights without an architecture"):
        load_caffe(None, weights)
