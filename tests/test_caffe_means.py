"""Mean images in both of their formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lrptool.errors import ModelError
from lrptool.loaders.caffe import read_mean, write_binaryproto
from tests.caffe_nets import blob_bytes


@pytest.mark.parametrize("shape", [(3, 5, 4), (1, 3, 5, 4), (3,)])
def test_means_in_both_formats(tmp_path: Path, shape: tuple[int, ...]) -> None:
    mean = np.random.default_rng(1).normal(100, 20, shape).astype(np.float32)
    write_binaryproto(tmp_path / "mean.binaryproto", mean)
    np.save(tmp_path / "mean.npy", mean.astype(np.float64))
    expected = mean[0] if mean.ndim == 4 else mean
    for name in ("mean.binaryproto", "mean.npy"):
        read = read_mean(tmp_path / name)
        assert read.dtype == np.float32
        assert read.flags.writeable
        np.testing.assert_array_equal(read, expected)


def test_a_mean_in_the_old_form(tmp_path: Path) -> None:
    mean = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    (tmp_path / "mean.binaryproto").write_bytes(blob_bytes(mean, "plain legacy"))
    np.testing.assert_array_equal(read_mean(tmp_path / "mean.binaryproto"), mean)


def test_means_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "mean.npy"
    for array, message in (
        (np.zeros((2, 3)), r"expected a mean of shape \(C, H, W\) or \(C,\), found \(2, 3\)"),
        (np.array(["a"]), "expected an array of numbers"),
        (np.array([1, np.nan]), "not finite"),
        (np.zeros((3, 0, 2)), r"found \(3, 0, 2\)"),
    ):
        np.save(path, array)
        with pytest.raises(ModelError, match=message):
            read_mean(path)
    np.save(path, np.zeros((3, 5, 4)))
    whole = path.read_bytes()
    for size in (0, 5, 40, 130, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelError, match=f"{size} bytes"):
            read_mean(path)
    for name in ("missing.npy", "missing.binaryproto"):
        with pytest.raises(ModelError, match="No such file"):
            read_mean(tmp_path / name)
    (tmp_path / "bad.binaryproto").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="cannot be decoded"):
        read_mean(tmp_path / "bad.binaryproto")
