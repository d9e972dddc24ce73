"""Texts of every age and accent: 2013, 2014, today, and what forks made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lrptool.errors import ModelError, UnsupportedError
from lrptool.graph import Graph
from tests.caffe_nets import INPUT, layer, load_text, run

OLD_INPUT = 'name: "net" input: "data" input_dim: 2 input_dim: 3 input_dim: 7 input_dim: 6\n'

V0 = (
    OLD_INPUT
    + """
layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "data" top: "pad1" }
layers { layer { name: "conv1" type: "conv" num_output: 4 kernelsize: 3 group: 1 stride: 2
                 weight_filler { type: "gaussian" std: 0.01 } bias_filler { type: "constant" }
                 blobs_lr: 1. blobs_lr: 2. weight_decay: 1. weight_decay: 0. } bottom: "pad1" top: "conv1" }
layers { layer { name: "relu1" type: "relu" } bottom: "conv1" top: "conv1" }
layers { layer { name: "pool1" type: "pool" pool: AVE kernelsize: 3 stride: 2 } bottom: "conv1" top: "pool1" }
layers { layer { name: "norm1" type: "lrn" local_size: 3 alpha: 0.5 beta: 0.25 } bottom: "pool1" top: "norm1" }
layers { layer { name: "conv2" type: "conv" num_output: 6 kernelsize: 1 group: 2 biasterm: false } bottom: "norm1"
         top: "conv2" }
layers { layer { name: "both" type: "concat" concat_dim: 1 } bottom: "conv2" bottom: "norm1" top: "both" }
layers { layer { name: "fc" type: "innerproduct" num_output: 5 } bottom: "both" top: "fc" }
layers { layer { name: "tanh" type: "tanh" } bottom: "fc" top: "fc" }
layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.75 } bottom: "fc" top: "fc" }
layers { layer { name: "prob" type: "softmax" } bottom: "fc" top: "prob" }
"""
)
TWIN = INPUT + "".join([
    layer(
        "conv1", "Convolution", "data", "conv1",
        "convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 2 }",
    ),
    layer("relu1", "ReLU", "conv1", "conv1"),
    layer("pool1", "Pooling", "conv1", "pool1", "pooling_param { pool: AVE kernel_size: 3 stride: 2 }"),
    layer("norm1", "LRN", "pool1", "norm1", "lrn_param { local_size: 3 alpha: 0.5 beta: 0.25 }"),
    layer(
        "conv2", "Convolution", "norm1", "conv2",
        "convolution_param { num_output: 6 kernel_size: 1 group: 2 bias_term: false }",
    ),
    layer("both", "Concat", "conv2 norm1", "both"),
    layer("fc", "InnerProduct", "both", "fc", "inner_product_param { num_output: 5 }"),
    layer("tanh", "TanH", "fc", "fc"),
    layer("drop", "Dropout", "fc", "fc", "dropout_param { dropout_ratio: 0.75 }"),
    layer("prob", "Softmax", "fc", "prob"),
])  # fmt: skip


def same(one: Graph, two: Graph) -> None:
    """Assert that two graphs are one."""
    assert one.nodes == two.nodes
    assert one.tensors == two.tensors
    assert (one.output, one.head) == (two.output, two.head)
    for name, value in one.constants.items():
        np.testing.assert_array_equal(value, two.constants[name])


def test_a_text_of_2013_equals_its_twin_of_today(tmp_path: Path) -> None:
    same(load_text(tmp_path, V0).graph, load_text(tmp_path, TWIN).graph)


def test_a_training_text_of_2013(tmp_path: Path) -> None:
    options = 'name: "data" type: "data" source: "x" meanfile: "m" cropsize: 7 scale: 0.5'
    data = f'layers {{ layer {{ {options} }} top: "data" top: "label" }}'
    loss = 'layers { layer { name: "loss" type: "softmax_loss" } bottom: "fc" bottom: "label" top: "loss" }'
    text = V0.replace(OLD_INPUT, data).replace(V0.strip().splitlines()[-1], loss)
    loaded = load_text(tmp_path, text)
    assert (loaded.graph.input.shape, loaded.graph.head) == ((None, 3, 7, 7), "softmax")
    assert any("mean_file m; scale 0.5" in note for note in loaded.notes)


def test_padding_of_2013_goes_to_who_reads_it(tmp_path: Path) -> None:
    pad = 'layers { layer { name: "p" type: "padding" pad: 1 } bottom: "data" top: "p" }\n'
    pool = 'layers { layer { name: "x" type: "pool" kernelsize: 3 stride: 1 } bottom: "p" top: "x" }'
    graph = load_text(tmp_path, OLD_INPUT + pad + pool).graph
    assert graph.node("x").attributes["pads"] == (1, 1, 1, 1)
    relu = 'layers { layer { name: "x" type: "relu" } bottom: "p" top: "x" }'
    with pytest.raises(ModelError, match=r"'x' .ReLU. reads padding, which only convolutions and poolings"):
        load_text(tmp_path, OLD_INPUT + pad + relu)


def test_an_option_of_2013_that_another_layer_has(tmp_path: Path) -> None:
    text = OLD_INPUT + 'layers { layer { name: "x" type: "pool" kernelsize: 2 group: 2 } bottom: "data" top: "x" }'
    with pytest.raises(ModelError, match=r"deploy.prototxt:2: layer 'x' .Pooling.: has no option group"):
        load_text(tmp_path, text)


def test_forks_give_old_layers_types_as_words_and_strings(tmp_path: Path) -> None:
    """SegNet and DeconvNet write `type: BN`, batch normalisation of 2015 writes strings in old layers."""
    statistics = "bn_param { bn_mode: INFERENCE scale_filler { value: 2 } shift_filler { value: 0.001 } }"
    text = (
        OLD_INPUT
        + f"""
        layers {{ bottom: "data" top: "c" name: "c" type: CONVOLUTION blobs_lr: 1
                  convolution_param {{ num_output: 4 kernel_size: 3 }} }}
        layers {{ bottom: "c" top: "c" name: "n" type: BN {statistics} }}
        layers {{ bottom: "c" top: "c" name: "r" type: "ReLU" }}
        layers {{ bottom: "c" top: "p" name: "p" type: 'PReLU' prelu_param {{ channel_shared: true }} }}
        layers {{ bottom: "p" top: "i" name: "i" type: 14 inner_product_param {{ num_output: 5 }} }}
        layers {{ bottom: "i" top: "s" name: "s" type: "SOFTMAX" }}
    """
    )
    loaded = load_text(tmp_path, text)
    assert [node.op for node in loaded.graph.nodes] == [
        "Conv",
        "BatchNormalization",
        "Relu",
        "PRelu",
        "Flatten",
        "Gemm",
    ]
    assert loaded.graph.constants["n/scale"].tolist() == [2] * 4
    assert loaded.notes == ("weights are random (seed 0): the scores mean nothing",)


def test_layers_of_two_ages_in_one_file_stand_in_its_order(tmp_path: Path) -> None:
    """Inception with batch normalisation was published so: current layers, and one `layers` at the end."""
    text = INPUT + 'layers { name: "a" type: TANH bottom: "data" top: "a" }\n' + layer("b", "ReLU", "a", "b")
    loaded = load_text(tmp_path, text + 'layers { name: "s" type: "Softmax" bottom: "b" top: "s" }')
    assert [node.op for node in loaded.graph.nodes] == ["Tanh", "Relu"]
    assert (loaded.graph.output, loaded.graph.head) == ("b", "softmax")
    assert "'layer' and 'layers' in one net" in loaded.notes[0]
    with pytest.raises(UnsupportedError, match=r"deploy\.prototxt:4: layer 'o'"):
        load_text(tmp_path, text + 'layers { name: "o" type: "Odd" bottom: "b" top: "s" }')


@pytest.mark.parametrize(
    ("spelling", "op"),
    [
        ("Tanh", "Tanh"), ("TANH", "Tanh"), ("relu", "Relu"), ("RELU", "Relu"), ("Relu6", "Clip"), ("Prelu", "PRelu"),
        ("ABSVAL", "Abs"), ("absval", "Abs"), ("softplus", "Softplus"), ("Bnll", "Softplus"), ("HSwish", "HardSwish"),
        ("hsigmoid", "HardSigmoid"), ("SiLU", "Swish"),
    ],
)  # fmt: skip
def test_types_in_other_spellings(tmp_path: Path, spelling: str, op: str) -> None:
    assert load_text(tmp_path, INPUT + layer("x", spelling, "data", "x")).graph.node("x").op == op


def test_a_type_without_quotes(tmp_path: Path) -> None:
    text = INPUT + layer("x", "ReLU", "data", "x").replace('"ReLU"', "ReLU")
    assert load_text(tmp_path, text).graph.node("x").op == "Relu"


def test_lines_of_layers_are_told_in_every_way_of_writing(tmp_path: Path) -> None:
    odd = "layer: <\n name: 'b' type: 'Odd' bottom: 'a' top: 'b' >"
    text = INPUT + "\nlayer {\n name: 'a'\n type: 'ReLU' bottom: 'data' top: 'a'\n}\n" + odd
    with pytest.raises(UnsupportedError, match=r"deploy.prototxt:7: layer 'b': layer type 'Odd'"):
        load_text(tmp_path, text)
    block = "type: 'Odd' bottom: 'data' top: 'b'"
    with pytest.raises(UnsupportedError, match=r"deploy.prototxt:2: layer 'b'"):
        load_text(
            tmp_path,
            INPUT + "layer [ { name: 'b' " + block + " },\n\n { name: 'c' " + block.replace("'b'", "'c'") + "} ]",
            output="b",
        )


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("PriorBox", "detector"), ("LSTM", "export it to ONNX"), ("Python", "what its code computes"),
        ("Convolutoin", "did you mean 'Convolution'"), ("ROIPooling", "--head NAME"), ("Zzz", "known:"),
    ],
)  # fmt: skip
def test_unknown_types_come_with_advice(tmp_path: Path, kind: str, advice: str) -> None:
    with pytest.raises(UnsupportedError, match=f"deploy.prototxt:2: layer 'x': layer type '{kind}'") as caught:
        load_text(tmp_path, INPUT + layer("x", kind, "data", "x"))
    assert advice in (caught.value.hint or "")


def test_fields_that_were_ignored_are_told_with_a_later_error(tmp_path: Path) -> None:
    text = (
        INPUT
        + layer("x", "Pooling", "data", "x", "pooling_param { kernel_size: 2 tilt: 3 }")
        + layer("y", "Odd", "x", "y")
    )
    with pytest.raises(UnsupportedError) as caught:
        load_text(tmp_path, text)
    assert "unknown fields ignored: PoolingParameter.tilt" in (caught.value.hint or "")


def test_options_that_only_train_are_no_news(tmp_path: Path) -> None:
    options = (
        "loss_param { normalization: BATCH_SIZE ignore_label: 255 weight_by_label_freqs: true }"
        " convolution_param { num_output: 2 kernel_size: 1 engine: CUDNN"
        " weight_filler { type: 'msra' variance_norm: AVERAGE } }"
        " param { name: 'w' share_mode: PERMISSIVE } hinge_loss_param { norm: L2 }"
    )
    loaded = load_text(tmp_path, INPUT + layer("x", "Convolution", "data", "x", options))
    assert len(loaded.notes) == 1


def test_layers_that_share_arrays_by_name_draw_them_once(tmp_path: Path) -> None:
    """A siamese net: two towers, one set of weights; in the text of 2014 and of today."""
    ip = "inner_product_param { num_output: 126 } param { name: 'w' } param { name: 'b' }"
    text = (
        INPUT
        + layer("one", "InnerProduct", "data", "a", ip)
        + layer("two", "InnerProduct", "a", "b", ip)
        + layer("three", "InnerProduct", "b", "c", "inner_product_param { num_output: 126 }")
    )
    graph = load_text(tmp_path, text).graph
    np.testing.assert_array_equal(graph.constants["one/weight"], graph.constants["two/weight"])
    assert (graph.constants["one/weight"] != graph.constants["three/weight"]).any()
    old = text.replace("layer {", "layers {").replace('"InnerProduct"', "INNER_PRODUCT")
    old = old.replace("param { name: 'w' } param { name: 'b' }", "param: 'w' param: 'b'")
    same(load_text(tmp_path, old).graph, graph)


def test_layers_that_share_arrays_find_them_in_the_file_of_either(tmp_path: Path) -> None:
    ip = "inner_product_param { num_output: 126 bias_term: false } param { name: 'w' }"
    text = INPUT + layer("one", "InnerProduct", "data", "a", ip) + layer("two", "InnerProduct", "a", "b", ip)
    weight = np.random.default_rng(0).normal(size=(126, 126)).astype(np.float32)
    graph = load_text(tmp_path, text, {"one": [weight]}).graph
    x = np.random.default_rng(1).normal(size=(2, 3, 7, 6))
    np.testing.assert_allclose(run(graph, x)["b"], x.reshape(2, 126) @ weight.T @ weight.T, rtol=1e-3, atol=1e-3)
    with pytest.raises(ModelError, match="no weights for layer 'one'"):
        load_text(tmp_path, text, {"two": [weight]})
