"""Which output of a net the scores are taken from, and what stands at its beginning."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrptool.errors import ModelError, UnsupportedError
from tests.caffe_nets import INPUT, layer, load_text

IP = "inner_product_param { num_output: 4 }"


def head(name: str, bottom: str, options: str = "", kind: str = "Softmax") -> str:
    return layer(f"{name}_ip", "InnerProduct", bottom, f"{name}_ip", IP) + layer(
        name, kind, f"{name}_ip", name, options
    )


DEEP = INPUT + layer("a", "TanH", "data", "a") + layer("b", "ReLU", "a", "b")


def test_the_deepest_of_several_softmax_heads_is_the_main_one(tmp_path: Path) -> None:
    for text in (
        DEEP + head("main", "b") + head("aux", "a") + head("aux2", "data"),
        DEEP + head("aux", "a") + head("main", "b"),
    ):
        loaded = load_text(tmp_path, text)
        assert (loaded.graph.output, loaded.graph.head) == ("main_ip", "softmax")
        (note,) = [note for note in loaded.notes if "--head NAME" in note]
        assert "the scores are 'main_ip' (main); other outputs: aux" in note


def test_of_heads_of_one_depth_the_last_is_taken(tmp_path: Path) -> None:
    assert load_text(tmp_path, DEEP + head("age", "b") + head("gender", "b")).graph.output == "gender_ip"


def test_what_counts_most_in_training_goes_before_depth(tmp_path: Path) -> None:
    text = (
        DEEP.replace(INPUT, "")
        + head("loss1", "a", "loss_weight: 1", "SoftmaxWithLoss")
        + head("loss2", "b", "loss_weight: 0.3", "SoftmaxWithLoss")
    )
    loaded = load_text(tmp_path, INPUT + text)
    assert loaded.graph.output == "loss1_ip"
    assert any("other outputs: loss2" in note for note in loaded.notes)


def test_a_last_sigmoid_is_cut_off_and_one_inside_is_not(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, DEEP + head("main", "b", kind="Sigmoid"))
    assert (loaded.graph.output, loaded.graph.head) == ("main_ip", "logits")
    assert "the scores are 'main_ip', below the last Sigmoid" in loaded.notes
    inside = load_text(tmp_path, DEEP + layer("gate", "Sigmoid", "b", "b") + head("main", "b"))
    assert inside.graph.node("gate").op == "Sigmoid"


def test_an_accuracy_that_reads_the_same_scores_is_no_other_output(tmp_path: Path) -> None:
    text = DEEP + head("loss", "b", kind="SoftmaxWithLoss") + layer("prob", "Softmax", "loss_ip", "prob")
    text += layer("top1", "Accuracy", "loss_ip", "top1") + layer("f1", "MulticlassAccuracy", "loss_ip", "f1")
    loaded = load_text(tmp_path, text)
    assert loaded.graph.output == "loss_ip"
    assert not any("--head NAME" in note for note in loaded.notes)


@pytest.mark.parametrize(
    ("output", "tensor", "kind", "nodes"),
    [
        ("aux", "aux_ip", "softmax", 3),
        ("aux_ip", "aux_ip", "logits", 3),
        ("main", "main_ip", "softmax", 4),
        ("b", "b", "logits", 2),
        ("a", "a", "logits", 1),
    ],
)
def test_another_output_is_taken_by_name(tmp_path: Path, output: str, tensor: str, kind: str, nodes: int) -> None:
    loaded = load_text(tmp_path, DEEP + head("aux", "a") + head("main", "b"), output=output)
    assert (loaded.graph.output, loaded.graph.head, len(loaded.graph.nodes)) == (tensor, kind, nodes)
    assert not any("--head NAME" in note for note in loaded.notes)


def test_a_blob_that_is_overwritten_is_taken_as_it_ends(tmp_path: Path) -> None:
    text = INPUT + layer("a", "TanH", "data", "a") + layer("r", "ReLU", "a", "a") + layer("b", "AbsVal", "a", "b")
    assert load_text(tmp_path, text, output="a").graph.output == "a/r"
    assert load_text(tmp_path, text, output="r").graph.output == "a/r"


def test_an_output_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no output 'mian'") as caught:
        load_text(tmp_path, DEEP + head("main", "b"), output="mian")
    assert caught.value.hint == "did you mean 'main'?"
    with pytest.raises(ModelError, match="there is no output 'data'"):
        load_text(tmp_path, DEEP, output="data")


def test_the_position_of_the_largest_score_is_cut_off(tmp_path: Path) -> None:
    largest = layer("top", "ArgMax", "main", "top", "argmax_param { top_k: 5 out_max_val: true }")
    loaded = load_text(tmp_path, DEEP + head("main", "b") + largest)
    assert (loaded.graph.output, loaded.graph.head) == ("main_ip", "softmax")
    loaded = load_text(tmp_path, DEEP + layer("top", "ArgMax", "b", "top"))
    assert (loaded.graph.output, loaded.graph.head) == ("b", "logits")
    with pytest.raises(UnsupportedError, match="layer type 'ArgMax'") as caught:
        load_text(tmp_path, DEEP + layer("top", "ArgMax", "b", "top") + layer("x", "ReLU", "top", "x"))
    assert "no score" in (caught.value.hint or "")


@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "SoftmaxWithFocalLoss", "WeightedSoftmaxWithLoss", "SoftmaxLoss"])
def test_losses_of_forks_that_hold_a_softmax(tmp_path: Path, kind: str) -> None:
    loaded = load_text(tmp_path, DEEP + head("loss", "b", kind=kind))
    assert (loaded.graph.output, loaded.graph.head) == ("loss_ip", "softmax")


def test_a_likelihood_loss_leaves_the_softmax_it_reads(tmp_path: Path) -> None:
    label = 'input: "label" input_shape { dim: 2 dim: 1 }'
    text = INPUT + label + DEEP.replace(INPUT, "") + head("prob", "b")
    loaded = load_text(tmp_path, text + layer("loss", "MultinomialLogisticLoss", "prob label", "loss"))
    assert (loaded.graph.output, loaded.graph.head) == ("prob_ip", "softmax")


def test_a_second_top_that_nobody_reads_is_left_out(tmp_path: Path) -> None:
    pool = layer("p", "Pooling", "data", "p mask", "pooling_param { kernel_size: 2 }")
    graph = load_text(tmp_path, INPUT + pool + layer("x", "ReLU", "p", "x")).graph
    assert graph.node("p").outputs == ("p",)
    with pytest.raises(
        UnsupportedError, match=r"layer 'p' .Pooling.: expected one top, found 2, of which mask is read"
    ):
        load_text(tmp_path, INPUT + pool + layer("x", "Eltwise", "p mask", "x"))


def test_a_text_that_only_trains_keeps_its_source(tmp_path: Path) -> None:
    data = layer("d", "Data", "", "data label", "include { phase: TRAIN } transform_param { crop_size: 7 }")
    loaded = load_text(tmp_path, data + layer("x", "ReLU", "data", "x"))
    assert loaded.graph.input.shape == (None, 3, 7, 7)


@pytest.mark.parametrize(
    ("source", "shape"),
    [
        (layer("d", "Data", "", "data label", "transform_param { crop_h: 7 crop_w: 6 }"), (3, 7, 6)),
        (layer("d", "Data", "", "data", "data_param { crop_size: 5 mean_file: 'm' backend: LMDB }"), (3, 5, 5)),
        (layer("d", "Data", "", "data", "data_param { source: 'examples/mnist/mnist_test_lmdb' }"), (1, 28, 28)),
        (layer("d", "ImageData", "", "data l", "image_data_param { new_height: 9 new_width: 8 }"), (3, 9, 8)),
        (
            layer("d", "Python", "", "data l", "transform_param { crop_size: 4 } python_param { module: 'm' }"),
            (3, 4, 4),
        ),
        (layer("d", "MultiLabelData", "", "data l", "transform_param { crop_size: 4 force_gray: true }"), (1, 4, 4)),
        (layer("d", "MemoryData", "", "data l", "memory_data_param { dim: 1 dim: 2 dim: 3 dim: 4 }"), (2, 3, 4)),
        (layer("d", "WindowData", "", "data l", "window_data_param { crop_size: 6 crop_mode: 'warp' }"), (3, 6, 6)),
        (
            layer("d", "HDF5Data", "", "data l", "transform_param { crop_size: 3 } hdf5_data_param { source: 's' }"),
            (3, 3, 3),
        ),
    ],
)
def test_every_kind_of_source(tmp_path: Path, source: str, shape: tuple[int, ...]) -> None:
    assert load_text(tmp_path, source + layer("x", "ReLU", "data", "x")).graph.input.item_shape == shape


def test_sources_that_draw_their_numbers(tmp_path: Path) -> None:
    noise = layer(
        "d", "DummyData", "", "d", "dummy_data_param { shape { dim: 1 dim: 3 } data_filler { type: 'gaussian' } }"
    )
    with pytest.raises(UnsupportedError, match=r"'d' .DummyData.: draws 'd' at random .gaussian."):
        load_text(tmp_path, INPUT + noise + layer("x", "Bias", "data d", "x", "bias_param { axis: 0 }"))
    alone = noise.replace("dim: 1 dim: 3", "dim: 1 dim: 3 dim: 4 dim: 5")
    assert load_text(tmp_path, alone + layer("x", "ReLU", "d", "x")).graph.input.shape == (None, 3, 4, 5)


def test_scores_that_do_not_depend_on_the_image(tmp_path: Path) -> None:
    number = layer("p", "Parameter", "", "p", "parameter_param { shape { dim: 3 } }")
    with pytest.raises(ModelError, match="expected layers between an input and the scores"):
        load_text(tmp_path, INPUT + number + layer("x", "Split", "p", "x"))
    with pytest.raises(UnsupportedError, match=r"layer 'x' .ReLU.: reads nothing that depends on the image"):
        load_text(tmp_path, INPUT + number + layer("x", "ReLU", "p", "x") + layer("y", "Bias", "data x", "y"))
