"""Names, phases, heads, inputs: the net around the layers."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrptool.errors import ModelError, UnsupportedError
from tests.caffe_nets import INPUT, layer, load_text

IP = "inner_product_param { num_output: 4 }"


def names(loaded: object) -> list[str]:
    return [node.name for node in loaded.graph.nodes]  # type: ignore[attr-defined]


def test_in_place_layers_write_a_tensor_of_their_own(tmp_path: Path) -> None:
    text = (
        INPUT
        + layer("conv", "Convolution", "data", "c", "convolution_param { num_output: 2 kernel_size: 3 }")
        + layer("relu", "ReLU", "c", "c")
        + layer("drop", "Dropout", "c", "c")
        + layer("side", "TanH", "c", "side")
        + layer("x", "Eltwise", "c side", "x")
    )
    graph = load_text(tmp_path, text).graph
    assert [(n.name, n.inputs[0], n.outputs[0]) for n in graph.nodes] == [
        ("conv", "data", "c"),
        ("relu", "c", "c/relu"),
        ("drop", "c/relu", "c/drop"),
        ("side", "c/drop", "side"),
        ("x", "c/drop", "x"),
    ]


def test_the_input_itself_may_be_overwritten(tmp_path: Path) -> None:
    graph = load_text(tmp_path, INPUT + layer("relu", "ReLU", "data", "data")).graph
    assert graph.input.name == "data"
    assert graph.output == "data/relu"


def test_names_that_are_taken_or_missing(tmp_path: Path) -> None:
    text = INPUT + layer("r", "ReLU", "data", "a") + layer("r", "TanH", "a", "b") + layer("", "AbsVal", "b", "c")
    loaded = load_text(tmp_path, text)
    assert names(loaded) == ["r", "r#2", "AbsVal"]
    assert any("r#2, AbsVal" in note for note in loaded.notes)


def test_helpers_do_not_take_a_layers_name(tmp_path: Path) -> None:
    text = INPUT + layer("ip/flatten", "TanH", "data", "ip/weight") + layer("ip", "InnerProduct", "ip/weight", "ip", IP)
    loaded = load_text(tmp_path, text)
    assert names(loaded) == ["ip/flatten", "ip/flatten#2", "ip"]
    assert loaded.graph.node("ip").inputs == ("ip/flatten#2", "ip/weight#2", "ip/bias")


def test_a_blob_nobody_wrote(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="layer 'x' reads 'dada', which no layer before it writes") as caught:
        load_text(tmp_path, INPUT + layer("x", "ReLU", "dada", "x"))
    assert caught.value.hint == "did you mean 'data'?"


def test_a_blob_written_twice(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="layer 'b' writes 'a', which an earlier layer wrote"):
        load_text(tmp_path, INPUT + layer("a", "ReLU", "data", "a") + layer("b", "ReLU", "data", "a"))
    with pytest.raises(ModelError, match="writes one blob twice"):
        load_text(tmp_path, INPUT + layer("a", "Split", "data", "a a"))


def test_what_does_not_lead_to_the_scores_is_left_out(tmp_path: Path) -> None:
    text = (
        INPUT
        + layer("conv", "Convolution", "data", "c", "convolution_param { num_output: 2 kernel_size: 3 }")
        + layer("aux_odd", "Deconvolution", "c", "aux")
        + layer("aux_prob", "Softmax", "aux", "aux_prob")
        + layer("ip", "InnerProduct", "c", "ip", IP)
        + layer("prob", "Softmax", "ip", "prob")
    )
    loaded = load_text(tmp_path, text)
    assert names(loaded) == ["conv", "ip/flatten", "ip"]
    assert (loaded.graph.output, loaded.graph.head) == ("ip", "softmax")
    assert any("aux_prob" in note for note in loaded.notes)


def test_softmax_in_another_shape_is_still_the_head(tmp_path: Path) -> None:
    text = (
        INPUT
        + layer("pool", "Pooling", "data", "pool", "pooling_param { pool: AVE global_pooling: true }")
        + layer("prob", "Softmax", "pool", "prob")
        + layer("flat", "Flatten", "prob", "flat")
    )
    loaded = load_text(tmp_path, text)
    assert (loaded.graph.output, loaded.graph.head) == ("pool", "softmax")
    assert names(loaded) == ["pool"]


def test_softmax_over_another_axis_is_refused(tmp_path: Path) -> None:
    text = INPUT + layer("r", "ReLU", "data", "r") + layer("prob", "Softmax", "r", "p", "softmax_param { axis: 2 }")
    with pytest.raises(UnsupportedError, match=r"'prob' .Softmax.: expected the classes on axis 1"):
        load_text(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        INPUT + layer("prob", "Softmax", "data", "prob"),
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 7 dim: 6 } } }',
        INPUT + layer("s", "Split", "data", "s") + layer("prob", "Softmax", "s", "prob"),
        INPUT + layer("s", "Split", "data", "s") + layer("t", "Split", "s", "t"),
        layer("x", "ReLU", "", "x"),
    ],
)
def test_nets_without_anything_to_explain(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelError):
        load_text(tmp_path, text)


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    text = 'input: "a" input: "b" input_shape { dim: 1 dim: 3 dim: 7 dim: 6 }' + layer("x", "Eltwise", "a b", "x")
    with pytest.raises(UnsupportedError, match="expected one input, found 2: a, b"):
        load_text(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('input: "data" input_dim: 1 input_dim: 3 input_dim: 7', "expected 4 input_dim per input, found 3 for 1"),
        ('input: "data" input_shape { dim: 1 dim: 3 }', "expected a shape .N, C, H, W., found .1, 3."),
        ('input: "data" input_shape { dim: 1 dim: 3 dim: 0 dim: 6 }', "expected a shape"),
        ('input: "data" input_shape { dim: 1 dim: 3 dim: -7 dim: 6 }', "expected a shape"),
        ('input: "data"', "its size is stated nowhere"),
        ('input: "data"' + " input_shape { dim: 1 dim: 3 dim: 7 dim: 6 }" * 2, "found 2 for 1"),
    ],
)
def test_inputs_of_a_wrong_size(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_text(tmp_path, text + "\n" + layer("x", "ReLU", "data", "x"))


def test_every_spelling_of_the_input(tmp_path: Path) -> None:
    relu = layer("x", "ReLU", "data", "x")
    memory = "memory_data_param { batch_size: 1 channels: 3 height: 7 width: 6 }"
    dummies = "dummy_data_param { shape { dim: 4 } shape { dim: 4 dim: 3 dim: 7 dim: 6 } }"
    spellings = [
        INPUT,
        'input: "data" input_dim: 9 input_dim: 3 input_dim: 7 input_dim: 6\n',
        layer("in", "Input", "", "data", "input_param { shape { dim: 10 dim: 3 dim: 7 dim: 6 } }"),
        layer("in", "MemoryData", "", "data label", memory),
        layer("in", "DummyData", "", "data", "dummy_data_param { num: 4 channels: 3 height: 7 width: 6 }"),
        layer("in", "DummyData", "", "label data", dummies),
    ]
    for text in spellings:
        assert load_text(tmp_path, text + relu).graph.input.shape == (None, 3, 7, 6)


def test_a_shape_given_goes_before_the_files(tmp_path: Path) -> None:
    text = INPUT + layer("x", "ReLU", "data", "x")
    assert load_text(tmp_path, text, input_shape=(3, 9, 8)).graph.tensors["x"].shape == (None, 3, 9, 8)
    assert load_text(tmp_path, text, input_shape=(5, 3, 9, 8)).graph.tensors["x"].shape == (None, 3, 9, 8)
    with pytest.raises(ModelError, match=r"input_shape given.: expected a shape"):
        load_text(tmp_path, text, input_shape=(9, 8))


TRAIN_VAL = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        transform_param { crop_size: 9 mirror: true } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
        transform_param { crop_size: 7 mean_value: 104 mean_value: 117.5 mean_value: 123 scale: 0.5 } }
layer { name: "noise" type: "Dropout" bottom: "data" top: "data" exclude { phase: TEST } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 4 } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "quiet" type: "Silence" bottom: "label" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def test_a_training_net_loses_its_training(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, TRAIN_VAL)
    assert names(loaded) == ["ip/flatten", "ip"]
    assert (loaded.graph.output, loaded.graph.head) == ("ip", "softmax")
    assert loaded.graph.input.shape == (None, 3, 7, 7)
    assert any("crop_size of data layer 'data'" in note for note in loaded.notes)
    assert any("mean_value 104, 117.5, 123; scale 0.5" in note for note in loaded.notes)


def test_a_training_net_without_a_size(tmp_path: Path) -> None:
    text = TRAIN_VAL.replace("crop_size: 7", "")
    with pytest.raises(ModelError, match=r"layer 'data' .Data. states no crop_size") as caught:
        load_text(tmp_path, text)
    assert "input_shape" in (caught.value.hint or "")
    assert load_text(tmp_path, text, input_shape=(1, 7, 6)).graph.input.shape == (None, 1, 7, 6)


def test_other_losses_leave_logits(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, TRAIN_VAL.replace("SoftmaxWithLoss", "SigmoidCrossEntropyLoss"))
    assert (loaded.graph.output, loaded.graph.head) == ("ip", "logits")


def test_grey_training_nets(tmp_path: Path) -> None:
    text = TRAIN_VAL.replace("crop_size: 7", "crop_size: 7 force_gray: true")
    assert load_text(tmp_path, text).graph.input.shape == (None, 1, 7, 7)
    image = TRAIN_VAL.replace('"Data"', '"ImageData"').replace(
        "transform_param { crop_size: 7", "image_data_param { crop_size: 5 is_color: false } transform_param {"
    )
    assert load_text(tmp_path, image).graph.input.shape == (None, 1, 5, 5)


@pytest.mark.parametrize(
    ("state", "rule", "kept"),
    [
        ("", "include { phase: TEST }", True),
        ("", "include { phase: TRAIN }", False),
        ("", "exclude { phase: TEST }", False),
        ("", "exclude { phase: TRAIN }", True),
        ("", "include { phase: TRAIN } include { phase: TEST }", True),
        ("", "include { phase: TEST stage: 'deploy' }", False),
        ("state { stage: 'deploy' }", "include { phase: TEST stage: 'deploy' }", True),
        ("state { stage: 'deploy' }", "include { not_stage: 'deploy' }", False),
        ("state { stage: 'deploy' stage: 'b' }", "exclude { stage: 'b' stage: 'c' }", True),
        ("state { level: 2 }", "include { min_level: 2 max_level: 3 }", True),
        ("state { level: 2 }", "include { min_level: 3 }", False),
        ("state { level: 2 }", "include { max_level: 2 }", True),
        ("state { level: 2 }", "exclude { max_level: 1 }", True),
        ("state { phase: TRAIN }", "include { phase: TEST }", True),
    ],
)
def test_rules_of_phase_level_and_stage(tmp_path: Path, state: str, rule: str, kept: bool) -> None:
    text = state + INPUT + layer("a", "TanH", "data", "a") + layer("r", "ReLU", "a", "a", rule)
    assert names(load_text(tmp_path, text)) == (["a", "r"] if kept else ["a"])


def test_rules_of_both_kinds_are_refused(tmp_path: Path) -> None:
    text = INPUT + layer("r", "ReLU", "data", "r", "include { phase: TEST } exclude { phase: TRAIN }")
    with pytest.raises(ModelError, match="'r' has both include and exclude"):
        load_text(tmp_path, text)


V1 = """
name: "net" input: "data" input_dim: 1 input_dim: 3 input_dim: 7 input_dim: 6
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 weight_decay: 0
         convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "norm" type: LRN bottom: "conv" top: "norm" lrn_param { local_size: 3 alpha: 0.5 } }
layers { name: "pool" type: POOLING bottom: "norm" top: "pool" pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layers { name: "flat" type: FLATTEN bottom: "pool" top: "flat" }
layers { name: "drop" type: DROPOUT bottom: "flat" top: "flat" exclude { phase: TRAIN } }
layers { name: "ip" type: INNER_PRODUCT bottom: "flat" top: "ip" inner_product_param { num_output: 5 } }
layers { name: "prob" type: SOFTMAX bottom: "ip" top: "prob" }
"""
CURRENT_WORDS = {
    "CONVOLUTION": "Convolution", "RELU": "ReLU", "LRN": "LRN", "POOLING": "Pooling", "FLATTEN": "Flatten",
    "DROPOUT": "Dropout", "INNER_PRODUCT": "InnerProduct", "SOFTMAX": "Softmax",
}  # fmt: skip


def test_a_v1_net_equals_its_current_twin(tmp_path: Path) -> None:
    twin = V1.replace("layers {", "layer {").replace("blobs_lr: 1 weight_decay: 0", "")
    for old, new in CURRENT_WORDS.items():
        twin = twin.replace(f"type: {old} ", f'type: "{new}" ')
    old, new = load_text(tmp_path, V1), load_text(tmp_path, twin)
    assert names(old) == ["conv", "relu", "norm", "pool", "flat", "drop", "ip"]
    assert old.graph.nodes == new.graph.nodes
    assert old.graph.tensors == new.graph.tensors
    assert old.notes == new.notes
    for name, value in old.graph.constants.items():
        assert (value == new.graph.constants[name]).all()


def test_layers_without_a_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="layer 'a' has no type"):
        load_text(tmp_path, INPUT + 'layer { name: "a" }')


def test_names_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"layer 'a\\nb': 'a\\nb' is no name"):
        load_text(tmp_path, INPUT + layer("a\\nb", "ReLU", "data", "x"))
