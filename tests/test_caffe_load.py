"""Small nets written by hand: what each layer becomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lrptool.errors import ModelError, UnsupportedError
from lrptool.loaders.caffe import known_layer_types
from lrptool.loaders.caffe.translate import translates
from tests.caffe_nets import INPUT, layer, load_text, one_layer


def test_convolution_takes_every_spelling_of_its_geometry(tmp_path: Path) -> None:
    options = "convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0 }"
    node = one_layer(tmp_path, "Convolution", options).node("x")
    assert node.op == "Conv"
    assert dict(node.attributes) == {
        "kernel_shape": (3, 2), "strides": (2, 1), "dilations": (1, 1), "pads": (1, 0, 1, 0), "group": 1,
    }  # fmt: skip
    options = "convolution_param { num_output: 4 kernel_size: [3, 2] stride: [2, 1] pad: [1, 0] }"
    assert one_layer(tmp_path, "Convolution", options).node("x") == node
    # (7 + 2 − 3) / 2 + 1 by (6 − 2) / 1 + 1
    assert one_layer(tmp_path, "Convolution", options).tensors["x"].shape == (None, 4, 4, 5)


def test_convolution_dilates_and_goes_without_bias(tmp_path: Path) -> None:
    options = "convolution_param { num_output: 5 kernel_size: 3 dilation: 2 bias_term: false }"
    graph = one_layer(tmp_path, "Convolution", options)
    assert graph.node("x").inputs == ("data", "x/weight")
    assert graph.constants["x/weight"].shape == (5, 3, 3, 3)
    assert graph.tensors["x"].shape == (None, 5, 3, 2)


def test_grouped_convolution_keeps_its_weights(tmp_path: Path) -> None:
    weight = np.arange(6 * 1 * 2 * 3, dtype=np.float32).reshape(6, 1, 2, 3)
    bias = np.arange(6, dtype=np.float32) - 2.5
    options = "convolution_param { num_output: 6 kernel_h: 2 kernel_w: 3 group: 3 }"
    graph = load_text(tmp_path, INPUT + layer("x", "Convolution", "data", "x", options), {"x": [weight, bias]}).graph
    np.testing.assert_array_equal(graph.constants["x/weight"], weight)
    np.testing.assert_array_equal(graph.constants["x/bias"], bias)
    assert graph.node("x").attributes["group"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("num_output: 4", "expected kernel_size of 1 or more, found nothing"),
        ("num_output: 4 kernel_size: 0", "expected kernel_size of 1 or more"),
        ("num_output: 4 kernel_size: 3 stride: 0", "expected stride of 1 or more"),
        ("num_output: 4 kernel_h: 3", "expected kernel_size of 1 or more"),
        ("num_output: 4 kernel_size: 3 kernel_h: 3 kernel_w: 3", "found both"),
        ("num_output: 4 kernel_size: 3 group: 2", "3 channels to 4 outputs do not go into 2 groups"),
        ("kernel_size: 3", "to 0 outputs"),
        ("num_output: 4 kernel_size: 9", "does not fit"),
        ("num_output: 400000000 kernel_size: 3", "10800000000 weights up to it are more than any network has"),
    ],
)
def test_convolution_refuses(tmp_path: Path, options: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        one_layer(tmp_path, "Convolution", f"convolution_param {{ {options} }}")
    assert "'x'" in caught.value.message


def test_a_kernel_with_more_axes_than_the_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="two axes, found 3"):
        one_layer(tmp_path, "Convolution", "convolution_param { num_output: 4 kernel_size: [1, 2, 3] }")


def test_inner_product_flattens_an_image(tmp_path: Path) -> None:
    graph = one_layer(tmp_path, "InnerProduct", "inner_product_param { num_output: 5 }")
    assert [(node.name, node.op) for node in graph.nodes] == [("x/flatten", "Flatten"), ("x", "Gemm")]
    assert graph.constants["x/weight"].shape == (5, 126)
    assert graph.tensors["x"].shape == (None, 5)


def test_inner_product_behind_another_needs_no_flatten(tmp_path: Path) -> None:
    before = layer("y", "InnerProduct", "data", "y", "inner_product_param { num_output: 4 }")
    graph = one_layer(tmp_path, "InnerProduct", "inner_product_param { num_output: 5 bias_term: false }", before)
    assert [node.name for node in graph.nodes] == ["y/flatten", "y", "x"]
    assert graph.node("x").inputs == ("y", "x/weight")


def test_transposed_inner_product_is_turned(tmp_path: Path) -> None:
    weight = np.random.default_rng(3).normal(size=(126, 5)).astype(np.float32)
    options = "inner_product_param { num_output: 5 transpose: true }"
    text = INPUT + layer("x", "InnerProduct", "data", "x", options)
    graph = load_text(tmp_path, text, {"x": [weight, np.zeros(5)]}).graph
    np.testing.assert_array_equal(graph.constants["x/weight"], weight.T)


def test_inner_product_over_the_last_axis_keeps_the_others(tmp_path: Path) -> None:
    graph = one_layer(tmp_path, "InnerProduct", "inner_product_param { num_output: 5 axis: -1 }")
    assert (graph.node("x").op, graph.tensors["x"].shape) == ("MatMul", (None, 3, 7, 5))
    assert graph.constants["x/weight"].shape == (6, 5)


def test_pooling_rounds_up_unless_told(tmp_path: Path) -> None:
    window = "kernel_size: 2 stride: 2"
    graph = one_layer(tmp_path, "Pooling", f"pooling_param {{ {window} }}")
    assert graph.node("x").op == "MaxPool"
    assert graph.node("x").attributes["ceil_mode"] == 1
    assert graph.tensors["x"].shape == (None, 3, 4, 3)
    for spelling in ("round_mode: FLOOR", "ceil_mode: false"):
        graph = one_layer(tmp_path, "Pooling", f"pooling_param {{ {window} {spelling} }}")
        assert graph.tensors["x"].shape == (None, 3, 3, 3)


def test_average_pooling_counts_its_padding(tmp_path: Path) -> None:
    options = "pooling_param { pool: AVE kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 2 pad_h: 2 pad_w: 1 }"
    node = one_layer(tmp_path, "Pooling", options).node("x")
    assert node.op == "AveragePool"
    assert dict(node.attributes) == {
        "kernel_shape": (3, 2), "strides": (1, 2), "pads": (2, 1, 2, 1), "ceil_mode": 1, "count_include_pad": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("method", "op"), [("MAX", "GlobalMaxPool"), ("AVE", "GlobalAveragePool")])
def test_global_pooling(tmp_path: Path, method: str, op: str) -> None:
    graph = one_layer(tmp_path, "Pooling", f"pooling_param {{ pool: {method} global_pooling: true }}")
    assert graph.node("x").op == op
    assert graph.tensors["x"].shape == (None, 3, 1, 1)


def test_pooling_refuses(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"'x' .Pooling.: STOCHASTIC"):
        one_layer(tmp_path, "Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }")
    with pytest.raises(ModelError, match="padding below"):
        one_layer(tmp_path, "Pooling", "pooling_param { kernel_size: 2 pad: 2 }")


def test_lrn(tmp_path: Path) -> None:
    across = one_layer(tmp_path, "LRN", "lrn_param { local_size: 3 alpha: 0.5 beta: 0.25 k: 2 }").node("x")
    assert (across.op, dict(across.attributes)) == ("LRN", {"size": 3, "alpha": 0.5, "beta": 0.25, "bias": 2.0})
    within = one_layer(tmp_path, "LRN", "lrn_param { local_size: 3 k: 2 norm_region: WITHIN_CHANNEL }").node("x")
    assert (within.op, within.attributes["bias"]) == ("LRNWithinChannel", 1.0)
    with pytest.raises(ModelError, match="odd local_size, found 4"):
        one_layer(tmp_path, "LRN", "lrn_param { local_size: 4 }")


@pytest.mark.parametrize(
    ("kind", "options", "op", "attributes"),
    [
        ("ReLU", "", "Relu", {}),
        ("ReLU", "relu_param { negative_slope: 0.25 }", "LeakyRelu", {"alpha": 0.25}),
        ("Sigmoid", "", "Sigmoid", {}),
        ("TanH", "", "Tanh", {}),
        ("Dropout", "dropout_param { dropout_ratio: 0.75 }", "Dropout", {}),
    ],
)
def test_activations(tmp_path: Path, kind: str, options: str, op: str, attributes: dict[str, float]) -> None:
    node = one_layer(tmp_path, kind, options).node("x")
    assert (node.op, dict(node.attributes), node.inputs) == (op, attributes, ("data",))


def test_dropout_that_scales_at_test_time(tmp_path: Path) -> None:
    graph = one_layer(tmp_path, "Dropout", "dropout_param { dropout_ratio: 0.75 scale_train: false }")
    assert graph.node("x").op == "Mul"
    np.testing.assert_array_equal(graph.constants[graph.node("x").inputs[1]], [0.25])


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ("", (None, 126)),
        ("flatten_param { axis: 2 }", (None, 3, 42)),
        ("flatten_param { axis: -3 end_axis: -2 }", (None, 21, 6)),
    ],
)
def test_flatten(tmp_path: Path, options: str, shape: tuple[int | None, ...]) -> None:
    assert one_layer(tmp_path, "Flatten", options).tensors["x"].shape == shape


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ("shape { dim: 0 dim: 3 dim: 42 }", (3, 42)),
        ("shape { dim: 0 dim: 0 dim: -1 }", (3, 42)),
        ("shape { dim: -1 dim: 126 }", (126,)),
        ("shape { dim: 2 dim: 126 }", (126,)),
        ("shape { dim: 6 dim: 7 } axis: 2", (3, 6, 7)),
        ("shape { dim: 42 } axis: -3", (3, 42)),
        ("shape { dim: 21 } axis: 1 num_axes: 2", (21, 6)),
        ("shape { dim: 1 } axis: 2 num_axes: 0", (3, 1, 7, 6)),
    ],
)
def test_reshape(tmp_path: Path, options: str, shape: tuple[int, ...]) -> None:
    graph = one_layer(tmp_path, "Reshape", f"reshape_param {{ {options} }}")
    assert graph.node("x").attributes["shape"] == shape
    assert graph.tensors["x"].shape == (None, *shape)


@pytest.mark.parametrize(
    "options",
    [
        "",
        "shape { dim: 252 }",
        "shape { dim: -1 dim: 63 }",
        "shape { dim: 1 } num_axes: 0",
        "shape { dim: 0 dim: 5 dim: -1 }",
        "shape { dim: 0 dim: -1 dim: -1 }",
        "shape { dim: 0 dim: 0 dim: 0 dim: 0 dim: 0 }",
        "shape { dim: 0 dim: -7 }",
        "shape { dim: 1 } axis: 9",
    ],
)
def test_reshape_refuses_what_mixes_images(tmp_path: Path, options: str) -> None:
    with pytest.raises(ModelError, match=r"'x' .Reshape."):
        one_layer(tmp_path, "Reshape", f"reshape_param {{ {options} }}")


BRANCHES = INPUT + layer("a", "Sigmoid", "data", "a") + layer("b", "TanH", "data", "b") + layer("c", "ReLU", "a", "c")


def test_eltwise_sum_with_factors(tmp_path: Path) -> None:
    options = "eltwise_param { coeff: 2 coeff: 1 coeff: -0.5 }"
    node = load_text(tmp_path, BRANCHES + layer("x", "Eltwise", "a b c", "x", options)).graph.node("x")
    assert (node.op, node.inputs, node.attributes["coefficients"]) == ("Sum", ("a", "b", "c"), (2, 1, -0.5))
    plain = load_text(tmp_path, BRANCHES + layer("x", "Eltwise", "a b", "x", "eltwise_param { coeff: 1 coeff: 1 }"))
    assert not plain.graph.node("x").attributes


def test_eltwise_product_and_maximum(tmp_path: Path) -> None:
    product = layer("x", "Eltwise", "a b c", "x", "eltwise_param { operation: PROD }")
    graph = load_text(tmp_path, BRANCHES + product).graph
    assert [(node.op, node.inputs) for node in graph.nodes[-2:]] == [("Mul", ("a", "b")), ("Mul", ("x/product1", "c"))]
    maximum = layer("x", "Eltwise", "a b c", "x", "eltwise_param { operation: MAX }")
    node = load_text(tmp_path, BRANCHES + maximum).graph.node("x")
    assert (node.op, node.inputs) == ("Max", ("a", "b", "c"))


def test_eltwise_refuses(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="found 1"):
        load_text(tmp_path, BRANCHES + layer("x", "Eltwise", "a b", "x", "eltwise_param { coeff: 2 }"))
    product = "eltwise_param { operation: PROD coeff: 2 coeff: 3 }"
    with pytest.raises(ModelError, match="found 2"):
        load_text(tmp_path, BRANCHES + layer("x", "Eltwise", "a b", "x", product))
    maximum = layer("x", "Eltwise", "a b", "x", product.replace("PROD", "MAX"))
    assert load_text(tmp_path, BRANCHES + maximum).graph.node("x").op == "Max"
    pool = layer("p", "Pooling", "data", "p", "pooling_param { kernel_size: 2 }")
    with pytest.raises(ModelError, match="two or more bottoms of one shape"):
        load_text(tmp_path, BRANCHES + pool + layer("x", "Eltwise", "a p", "x"))


@pytest.mark.parametrize(
    ("options", "axis", "shape"),
    [
        ("", 1, (None, 6, 7, 6)),
        ("concat_param { axis: -1 }", 3, (None, 3, 7, 12)),
        ("concat_param { concat_dim: 2 }", 2, (None, 3, 14, 6)),
    ],
)
def test_concat(tmp_path: Path, options: str, axis: int, shape: tuple[int, ...]) -> None:
    graph = load_text(tmp_path, BRANCHES + layer("x", "Concat", "a b", "x", options)).graph
    assert graph.node("x").attributes["axis"] == axis
    assert graph.tensors["x"].shape == shape


def test_concat_refuses_the_batch_axis(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="across the images of a batch"):
        load_text(tmp_path, BRANCHES + layer("x", "Concat", "a b", "x", "concat_param { axis: 0 }"))
    with pytest.raises(ModelError, match="axis 4 does not exist"):
        load_text(tmp_path, BRANCHES + layer("x", "Concat", "a b", "x", "concat_param { axis: 4 }"))


def test_split_and_single_concat_are_second_names(tmp_path: Path) -> None:
    text = (
        INPUT
        + layer("a", "Sigmoid", "data", "a")
        + layer("s", "Split", "a", "s0 s1")
        + layer("one", "Concat", "s0", "one")
        + layer("b", "TanH", "one", "b")
        + layer("x", "Eltwise", "b s1", "x")
    )
    graph = load_text(tmp_path, text).graph
    assert [(node.name, node.inputs) for node in graph.nodes] == [("a", ("data",)), ("b", ("a",)), ("x", ("b", "a"))]


def test_scores_behind_a_split_are_found(tmp_path: Path) -> None:
    text = (
        INPUT
        + layer("ip", "InnerProduct", "data", "ip", "inner_product_param { num_output: 4 }")
        + layer("s", "Split", "ip", "s0 s1")
        + layer("prob", "Softmax", "s1", "prob")
    )
    loaded = load_text(tmp_path, text)
    assert (loaded.graph.output, loaded.graph.head) == ("ip", "softmax")


def test_batch_norm_divides_by_its_factor(tmp_path: Path) -> None:
    mean, variance = np.array([2, 4, 6], np.float32), np.array([1, 8, 3], np.float32)
    text = INPUT + layer("x", "BatchNorm", "data", "x", "batch_norm_param { eps: 0.001 }")
    graph = load_text(tmp_path, text, {"x": [mean, variance, np.array([4.0])]}).graph
    node = graph.node("x")
    scale, bias, stored_mean, stored_variance = (graph.constants[name] for name in node.inputs[1:])
    np.testing.assert_array_equal(scale, [1, 1, 1])
    np.testing.assert_array_equal(bias, [0, 0, 0])
    np.testing.assert_array_equal(stored_mean, [0.5, 1, 1.5])
    np.testing.assert_array_equal(stored_variance, [0.25, 2, 0.75])
    assert node.number("epsilon") == pytest.approx(0.001)


def test_batch_norm_refuses(tmp_path: Path) -> None:
    text = INPUT + layer("x", "BatchNorm", "data", "x")
    with pytest.raises(ModelError, match="variance above 0, found -1"):
        load_text(tmp_path, text, {"x": [np.zeros(3), np.array([1, -1, 1]), np.ones(1)]})
    with pytest.raises(ModelError, match="statistics are not finite"):
        load_text(tmp_path, text, {"x": [np.ones(3), np.ones(3), np.array([1e-42])]})
    with pytest.raises(UnsupportedError, match="statistics of the batch"):
        one_layer(tmp_path, "BatchNorm", "batch_norm_param { use_global_stats: false }")


def test_a_softmax_inside_the_net_is_a_node(tmp_path: Path) -> None:
    text = INPUT + layer("s", "Softmax", "data", "s", "softmax_param { axis: -3 }") + layer("x", "ReLU", "s", "x")
    loaded = load_text(tmp_path, text)
    assert loaded.graph.node("s").attributes["axis"] == 1
    assert (loaded.graph.head, loaded.graph.output) == ("logits", "x")


def test_unknown_layer_types_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="layer 'x': layer type 'Convolutions' is not supported") as caught:
        one_layer(tmp_path, "Convolutions")
    assert (caught.value.hint or "").startswith("did you mean 'Convolution'?")
    assert caught.value.message.startswith(f"{tmp_path}/deploy.prototxt:2: ")
    assert {"Convolution", "InnerProduct", "Pooling"} <= set(known_layer_types())


def test_a_layer_type_is_translated_once() -> None:
    with pytest.raises(ValueError, match="'ReLU' is translated twice"):
        translates("ReLU")(print)


def test_layers_ask_for_the_right_number_of_bottoms_and_tops(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected one bottom, found 2"):
        load_text(tmp_path, BRANCHES + layer("x", "ReLU", "a b", "x"))
    with pytest.raises(UnsupportedError, match="expected one top, found 2"):
        load_text(tmp_path, INPUT + layer("x", "Pooling", "data", "x mask", "pooling_param { kernel_size: 2 }"))


def test_constants_are_frozen_and_own_their_memory(tmp_path: Path) -> None:
    text = INPUT + layer("x", "InnerProduct", "data", "x", "inner_product_param { num_output: 2 }")
    graph = load_text(tmp_path, text, {"x": [np.ones((2, 126)), np.ones(2)]}).graph
    assert all(not constant.flags.writeable for constant in graph.constants.values())
