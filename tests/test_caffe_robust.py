"""Files made to hang, to fill the memory or to lie: one clear error each, soon."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from lrptool.errors import ModelError
from lrptool.loaders.caffe import load_caffe, read_caffemodel
from tests.caffe_nets import INPUT, blob_bytes, layer, load_text, net_bytes, sized

MEGABYTE = 2**20
SIZE = 100 * MEGABYTE
LONG = b"\x80\x80\x80\x32"
"""100 MB as a length."""


@pytest.mark.parametrize(
    ("start", "pattern", "message"),
    [
        (b"", os.urandom(251), "cannot be decoded|without any layer"),
        (b"", b"\0", "no field begins at byte 1"),
        (b"", b"\xff", "no number ends at byte 10"),
        (b"", b"layer {\n}\n", "cannot be decoded"),
        # A layer that says it is larger than the file; a state that is nothing but stages; layers, names, blobs of
        # nothing by the million; numbers one by one with something between them.
        (b"\xa2\x06\xff\xff\xff\xff\x7f", b"\0", "reaches beyond its message"),
        (b"\x32" + LONG, b"\x1a\x00", "bytes that are no weights"),
        (b"", b"\xa2\x06\x00", "more than 250000 entries"),
        (b"", b"\x0a\x00", "more than 250000 entries"),
        (b"\xa2\x06" + LONG, b"\x3a\x00", "more than 250000 entries"),
        (b"\xa2\x06" + LONG + b"\x3a\xf9\xff\xff\x31", b"\x2d\0\0\0\0\x70\x01", "more than 1000 entries in one"),
        (b"\xa2\x06" + LONG + b"\x3a\xf9\xff\xff\x31", b"\x2d\0\0\0\0", "a number is cut off"),
    ],
)
def test_a_hundred_megabytes_of_nothing(tmp_path: Path, start: bytes, pattern: bytes, message: str) -> None:
    path = tmp_path / "net.caffemodel"
    data = start + pattern * (SIZE // len(pattern))
    path.write_bytes(data)
    del data
    begin = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=message) as caught:
            read_caffemodel(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    # tracemalloc alone makes a million small objects several times slower.
    assert time.process_time() - begin < 30
    assert peak < 2.5 * SIZE
    with pytest.raises(ModelError, match=f"found {path.stat().st_size} bytes"):
        load_caffe(path, "random:0")


def test_a_packed_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    for signature, name in ((b"PK\x03\x04", "zip"), (b"\x1f\x8b", "gzip")):
        path.write_bytes(signature + bytes(1000))
        with pytest.raises(ModelError, match=f"found a {name} archive"):
            read_caffemodel(path)


def test_shapes_that_lie_cost_nothing(tmp_path: Path) -> None:
    text = INPUT + layer("x", "InnerProduct", "data", "x", "inner_product_param { num_output: 2 bias_term: false }")
    (tmp_path / "n.prototxt").write_text(text)
    dims = b"".join(b"\xff\xff\xff\xff\x07" for _ in range(4))
    (tmp_path / "n.caffemodel").write_bytes(net_bytes({"x": [sized(7, sized(1, dims)) + sized(5, bytes(400))]}))
    tracemalloc.start()
    with pytest.raises(ModelError, match="found 100"):
        load_caffe(tmp_path / "n.prototxt", tmp_path / "n.caffemodel")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MEGABYTE


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("Convolution", "convolution_param { num_output: 4000000000 kernel_size: 1 }"),
        ("Convolution", "convolution_param { num_output: 64 kernel_size: 4000000000 }"),
        ("Convolution", "convolution_param { num_output: 64 kernel_size: 1 pad: 4000000000 }"),
        ("Convolution", "convolution_param { num_output: 64 kernel_size: 1 pad: 60000 }"),
        ("Convolution", "convolution_param { num_output: 9 kernel_size: 1 group: 4000000000 }"),
        ("Deconvolution", "convolution_param { num_output: 64 kernel_size: 60000 }"),
        ("InnerProduct", "inner_product_param { num_output: 4000000000 }"),
        ("Pooling", "pooling_param { kernel_size: 4000000000 }"),
        ("Interp", "interp_param { zoom_factor: 2000000000 }"),
        ("Interp", "interp_param { height: 2000000000 width: 2000000000 }"),
        ("Interp", "interp_param { pad_beg: -2000000000 }"),
        ("Interp", "interp_param { pad_end: 1 }"),
        ("Interp", ""),
        ("Upsample", "upsample_param { scale: 4000000000 }"),
        ("Tile", "tile_param { tiles: 2000000000 }"),
        ("Tile", ""),
        ("SPP", "spp_param { pyramid_height: 4000000000 }"),
        ("SPP", "spp_param { pyramid_height: 4 }"),
        ("SPP", ""),
        ("Reshape", "reshape_param { shape { dim: 0 dim: 9000000000000000000 } }"),
        ("Crop", ""),
        ("Slice", "slice_param { slice_point: 4000000000 }"),
        ("ShuffleChannel", "shuffle_channel_param { group: 2 }"),
        ("Permute", "permute_param { order: [0, 1, 1] }"),
        ("Permute", "permute_param { order: [0, 9] }"),
        ("Permute", "permute_param { order: [1, 0] }"),
        ("Reduction", ""),
        ("Scale", "scale_param { axis: 2 num_axes: 3 }"),
        ("Scale", "scale_param { num_axes: -2 }"),
        ("Scale", "scale_param { axis: 0 }"),
        ("Embed", "embed_param { num_output: 3 }"),
        ("Exp", "exp_param { base: 0 }"),
        ("Log", "log_param { base: 1 }"),
        ("Log", "log_param { base: -2 }"),
        ("Clip", "clip_param { min: 2 max: 1 }"),
        ("Clip", "clip_param { min: nan max: 1 }"),
        ("Softmax", "softmax_param { axis: 7 }"),
        ("Axpy", ""),
    ],
)
def test_options_beyond_reason(tmp_path: Path, kind: str, options: str) -> None:
    tracemalloc.start()
    with pytest.raises(ModelError, match=rf"deploy.prototxt:2: layer 'x'( \({kind}\))?: ") as caught:
        load_text(tmp_path, INPUT + layer("x", kind, "data", "x", options) + layer("z", "ReLU", "x", "z"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in caught.value.message
    assert peak < 64 * MEGABYTE


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("Power", "power_param { scale: nan }", "a number for scale, found nan"),
        ("BatchNorm", "batch_norm_param { eps: inf }", "a number for eps, found inf"),
        ("PReLU", "prelu_param { filler { value: -inf } }", "a number for value, found -inf"),
        ("Eltwise", "eltwise_param { coeff: 1 coeff: nan }", "a number for coeff, found nan"),
    ],
)
def test_options_that_are_no_numbers(tmp_path: Path, kind: str, options: str, message: str) -> None:
    with pytest.raises(ModelError, match=rf"deploy\.prototxt:2: layer 'x': expected {message}"):
        load_text(tmp_path, INPUT + layer("x", kind, "data", "x", options))


def test_nets_that_run_in_circles(tmp_path: Path) -> None:
    circle = layer("a", "Eltwise", "data c", "b") + layer("c", "ReLU", "b", "c")
    with pytest.raises(
        ModelError, match="'a' reads 'c', which no layer before it writes: only layer 'c' behind it"
    ) as caught:
        load_text(tmp_path, INPUT + circle)
    assert "no cycles" in (caught.value.hint or "")
    with pytest.raises(ModelError, match="'a' reads 'a', which no layer before it writes: only itself does"):
        load_text(tmp_path, INPUT + layer("a", "ReLU", "a", "a"))


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ModelError, match="not a file"):
        load_caffe(pipe, "random:0")
    with pytest.raises(ModelError, match="not a file"):
        read_caffemodel(pipe)


def test_a_truncated_file_in_any_age(tmp_path: Path) -> None:
    text = INPUT + layer("x", "InnerProduct", "data", "x", "inner_product_param { num_output: 2 }")
    (tmp_path / "n.prototxt").write_text(text)
    blobs = [np.ones((2, 126), np.float32), np.ones(2, np.float32)]
    path = tmp_path / "n.caffemodel"
    for age in ("current", "V1", "V0"):
        for form in ("packed", "plain legacy", "double", "half"):
            whole = net_bytes({"x": [blob_bytes(array, form) for array in blobs]}, age)
            path.write_bytes(whole)
            load_caffe(tmp_path / "n.prototxt", path)
            for size in (*range(12), *range(12, len(whole), 97), *range(len(whole) - 12, len(whole))):
                path.write_bytes(whole[:size])
                with pytest.raises(ModelError, match=r"n\.caffemodel"):
                    load_caffe(tmp_path / "n.prototxt", path)
