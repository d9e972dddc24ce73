"""The text form, and the table of fields it is read with."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrptool.errors import ModelError
from lrptool.loaders.caffe import load_caffe, read_prototxt
from lrptool.loaders.caffe.prototxt import Prototxt
from lrptool.loaders.caffe.schema import new_message
from lrptool.loaders.caffe.survey import survey
from tests.caffe_nets import INPUT, layer, load_text


def read(folder: Path, text: str | bytes) -> Prototxt:
    path = folder / "net.prototxt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_prototxt(path)


@pytest.mark.parametrize(
    ("message", "field", "number", "default"),
    [
        ("NetParameter", "layer", 100, None),
        ("NetParameter", "layers", 2, None),
        ("NetParameter", "input_shape", 8, None),
        ("LayerParameter", "blobs", 7, None),
        ("LayerParameter", "convolution_param", 106, None),
        ("LayerParameter", "inner_product_param", 117, None),
        ("LayerParameter", "pooling_param", 121, None),
        ("LayerParameter", "input_param", 143, None),
        ("V1LayerParameter", "blobs", 6, None),
        ("V1LayerParameter", "convolution_param", 10, None),
        ("V1LayerParameter", "pooling_param", 19, None),
        ("BlobProto", "data", 5, None),
        ("BlobProto", "double_data", 8, None),
        ("BlobProto", "shape", 7, None),
        ("ConvolutionParameter", "dilation", 18, None),
        ("ConvolutionParameter", "bias_term", 2, True),
        ("PoolingParameter", "kernel_size", 2, None),
        ("PoolingParameter", "round_mode", 13, 0),
        ("LRNParameter", "beta", 3, 0.75),
        ("LRNParameter", "local_size", 1, 5),
        ("InnerProductParameter", "axis", 5, 1),
        ("EltwiseParameter", "operation", 1, 1),
        ("ReshapeParameter", "num_axes", 3, -1),
        ("TransformationParameter", "crop_size", 3, 0),
        ("NetState", "phase", 1, 1),
    ],
)
def test_numbers_and_defaults_are_those_of_the_format(message: str, field: str, number: int, default: object) -> None:
    empty = new_message(message)
    assert empty.DESCRIPTOR.fields_by_name[field].number == number
    if default is not None:
        assert getattr(empty, field) == default


def test_numbers_are_not_used_twice() -> None:
    # The pool checks this itself, for every message.
    assert new_message("V0LayerParameter").DESCRIPTOR.fields_by_name["blobs"].number == 50


def test_unknown_fields_are_named_once_and_ignored(tmp_path: Path) -> None:
    text = (
        INPUT
        + "future { a { b: 3 } list: [1, 2] c < d: 'type: {' > } # comment_field: 3\n"
        + layer("x", "Pooling", "data", "x", "pooling_param { kernel_size: 2 dilation: 2 engine: CAFFE } new_param {}")
        + layer("y", "Pooling", "x", "y", 'pooling_param { kernel_size: 1 dilation: 3 note: "kernel: 5 {" }')
    )
    notes = read(tmp_path, text).notes
    assert len(notes) == 1
    names = "NetParameter.future, PoolingParameter.dilation, LayerParameter.new_param, PoolingParameter.note"
    assert notes[0].endswith(f"unknown fields ignored: {names}")
    loaded = load_text(tmp_path, text)
    assert loaded.graph.tensors["y"].shape == (None, 3, 6, 5)
    assert loaded.notes[0].endswith(names)


def test_every_way_to_write_a_block_is_known() -> None:
    text = "layer: { name: 'a' param [{ lr_mult: 1 }, { lr_mult: 2 odd: 3 }] } layer < type: 'b' odd < > >; name: 'x'"
    found = survey(text, new_message("NetParameter").DESCRIPTOR)
    assert (found.unknown, found.text) == (("ParamSpec.odd", "LayerParameter.odd"), text)


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("name: 'n'\nlayer {\n  name 3\n}", "3:8", "Expected"),
        ("layer {\n  type: 'ReLU'\n", "2:9", "Expected"),
        ("layer {\n  convolution_param { num_output: -3 } }", "2:35", "-3"),
        ("layer {\n\n  pooling_param { pool: AVG } }", "3:25", "AVG"),
        ("layer { name: 'a' name: 'b' }", "1:25", "name"),
    ],
)
def test_mistakes_are_placed(tmp_path: Path, text: str, place: str, what: str) -> None:
    with pytest.raises(ModelError) as caught:
        read(tmp_path, text)
    assert f"net.prototxt:{place}: " in caught.value.message
    assert what in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file .0 bytes."),
        (b" \n\t\n", "found an empty file .4 bytes."),
        (b"\x0a\x05LeNet\xa2\x06\x50\x00", "found a binary file .11 bytes."),
        (b"layer { name: '\xff' }", "found a binary file"),
        (b"name: 'only a name'", "found no layer"),
        (b"base_lr: 0.01\nmomentum: 0.9", "found no layer"),
        (b"cat\ndog\n" * 50_000, "net.prototxt:"),
        (b"a {" * 100_000, "nested too deeply|net.prototxt:"),
        (b"x" * (2 * 2**20 + 1), "found 2097153 bytes"),
        (b"layer{}" * 150_000, "found 150000 blocks, more than any network has"),
    ],
)
def test_files_that_are_no_network(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        read(tmp_path, content)
    assert len(caught.value.message) < 600
    assert "\n" not in caught.value.message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        read_prototxt(tmp_path / "missing.prototxt")
    with pytest.raises(ModelError, match="Is a directory"):
        read_prototxt(tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    text = read(tmp_path, b"\xef\xbb\xbfname: 'n' layer { type: 'ReLU' }")
    assert (text.net.name, text.layers, text.notes) == ("n", (("layer", 1),), ())


TEXT = INPUT + (
    'state { stage: "a" level: 1 }\n'
    + layer("conv", "Convolution", "data", "c", "convolution_param { num_output: 4 kernel_size: 3 pad: 1 group: 1 }")
    + layer("pool", "Pooling", "c", "p", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }")
    + layer("flat", "Flatten", "p", "f", "flatten_param { axis: 2 end_axis: -1 }")
    + layer("view", "Reshape", "f", "r", "reshape_param { shape { dim: 0 dim: -1 } axis: 0 num_axes: -1 }")
    + layer("ip", "InnerProduct", "r", "ip", "inner_product_param { num_output: 5 axis: 1 } include { phase: TEST }")
    + layer("two", "Eltwise", "ip ip", "two", "eltwise_param { operation: SUM coeff: 1 coeff: 2 }")
    + layer("prob", "Softmax", "two", "prob", "softmax_param { axis: 1 }")
)


def test_the_text_that_is_damaged_below_loads(tmp_path: Path) -> None:
    assert load_text(tmp_path, TEXT).graph.output == "two"


@settings(max_examples=300, deadline=None)
@given(
    edits=st.lists(
        st.tuples(
            st.integers(0, len(TEXT) - 1),
            st.integers(0, 12),
            st.sampled_from(["", " ", "{", "}", ":", '"', "-1", "0", "7", "99999999", "4294967295", "x", "\\", "#"]),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_damaged_text_loads_or_is_a_model_error(tmp_path_factory: pytest.TempPathFactory, edits: list) -> None:
    text = TEXT
    for place, length, replacement in edits:
        text = text[:place] + replacement + text[place + length :]
    path = tmp_path_factory.getbasetemp() / "damaged.prototxt"
    path.write_text(text)
    try:
        load_caffe(path, "random:0")
    except ModelError as error:
        assert "\n" not in error.message  # noqa: PT017
