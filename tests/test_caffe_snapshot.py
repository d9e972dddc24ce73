"""Caffemodels that hold their own architecture, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrptool.errors import ModelError, UnsupportedError
from lrptool.loaders.caffe import load_caffe
from lrptool.loaders.caffe.schema import new_message
from tests.caffe_nets import blob_bytes, load_text, sized
from tests.test_caffe_weights import BLOBS, NET


def embedded() -> bytes:
    """Return a caffemodel that holds its own architecture, as a training snapshot does."""
    net = new_message("NetParameter")
    net.name = "snapshot"
    data = net.layer.add(name="data", type="Data", top=["data", "label"])
    data.include.add(phase=0)
    data.transform_param.crop_size = 7
    conv = net.layer.add(name="conv", type="Convolution", bottom=["data"], top=["conv"])
    conv.convolution_param.num_output = 4
    conv.convolution_param.kernel_size.append(3)
    conv.convolution_param.pad.append(1)
    net.layer.add(name="split", type="Split", bottom=["conv"], top=["s0", "s1"])
    net.layer.add(name="sum", type="Eltwise", bottom=["s0", "s1"], top=["sum"])
    pool = net.layer.add(name="pool", type="Pooling", bottom=["sum"], top=["pool"])
    pool.pooling_param.kernel_size.append(2)
    pool.pooling_param.stride.append(2)
    ip = net.layer.add(name="ip", type="InnerProduct", bottom=["pool"], top=["ip"])
    ip.inner_product_param.num_output = 5
    net.layer.add(name="loss", type="SoftmaxWithLoss", bottom=["ip", "label"], top=["loss"])
    for stored, shapes in ((conv, [(4, 3, 3, 3), (4,)]), (ip, [(5, 64), (5,)])):
        for shape in shapes:
            stored.blobs.add().MergeFromString(blob_bytes(np.ones(shape, np.float32), "packed"))
    return net.SerializeToString()  # type: ignore[no-any-return]


WHOLE = embedded()


def test_a_snapshot_is_its_own_architecture(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.caffemodel"
    path.write_bytes(WHOLE)
    loaded = load_caffe(None, path)
    assert [node.name for node in loaded.graph.nodes] == ["conv", "sum", "pool", "ip/flatten", "ip"]
    assert (loaded.graph.name, loaded.graph.output, loaded.graph.head) == ("snapshot", "ip", "softmax")
    assert loaded.graph.input.shape == (None, 3, 7, 7)
    assert loaded.graph.tensors["ip"].shape == (None, 5)


def test_without_a_text_there_must_be_an_architecture(tmp_path: Path) -> None:
    load_text(tmp_path, NET, BLOBS)
    with pytest.raises(ModelError, match="weights without an architecture") as caught:
        load_caffe(None, tmp_path / "net.caffemodel")
    assert (caught.value.hint or "").startswith("name the prototxt as well: --model ")
    with pytest.raises(ModelError, match="random weights need a prototxt"):
        load_caffe(None, "random:0")
    with pytest.raises(ModelError, match="found neither"):
        load_caffe(None, None)


def test_options_of_forks_are_not_guessed(tmp_path: Path) -> None:
    """DeepLab keeps Interp's options under 143, where others keep the shape of an input."""
    path = tmp_path / "snapshot.caffemodel"
    options = sized(2143, b"\x18\x02")
    interp = sized(1, b"up") + sized(2, b"Interp") + sized(3, b"ip") + sized(4, b"up")
    path.write_bytes(WHOLE + sized(100, interp + options))
    with pytest.raises(UnsupportedError, match=r"layer 'up' .Interp.: its options are stored in a way") as caught:
        load_caffe(None, path)
    assert (caught.value.hint or "").startswith("name the prototxt as well: --model ")


@settings(max_examples=400, deadline=None)
@given(
    edits=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=4),
    # Most bytes are weights: half of the edits go to the first ones, where names, types and options are.
    head=st.lists(st.tuples(st.integers(0, 160), st.integers(0, 255)), max_size=3),
    size=st.integers(len(WHOLE) - 300, len(WHOLE)),
)
def test_damaged_bytes_load_or_are_a_model_error(
    tmp_path_factory: pytest.TempPathFactory, edits: list, head: list, size: int
) -> None:
    data = bytearray(WHOLE)
    for place, value in edits + head:
        data[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.caffemodel"
    path.write_bytes(bytes(data[:size]))
    try:
        load_caffe(None, path)
    except ModelError as error:
        assert "\n" not in error.message  # noqa: PT017
