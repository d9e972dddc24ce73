"""Published networks: all of their texts, and the trained ones with their weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lrptool.loaders.caffe import load_caffe, read_mean, read_prototxt
from tests.conftest import SHARED

TEXTS = sorted((SHARED / "zoo" / "prototxt").glob("*.prototxt"))
KEY_SHAPES = {
    "bvlc_googlenet": {
        "pool1/3x3_s2": (64, 56, 56),
        "pool2/3x3_s2": (192, 28, 28),
        "inception_3b/output": (480, 28, 28),
        "pool3/3x3_s2": (480, 14, 14),
        "pool4/3x3_s2": (832, 7, 7),
        "pool5/7x7_s1": (1024, 1, 1),
        "loss3/classifier": (1000,),
    },
    "bvlc_googlenet.train_val": {"pool4/3x3_s2": (832, 7, 7), "loss3/classifier": (1000,)},
    "places365_googlenet": {"pool4/3x3_s2": (832, 7, 7)},
    "bvlc_reference_caffenet": {
        "conv1": (96, 55, 55),
        "pool1": (96, 27, 27),
        "conv2": (256, 27, 27),
        "pool2": (256, 13, 13),
        "conv5": (256, 13, 13),
        "pool5": (256, 6, 6),
        "fc8": (1000,),
    },
    "bvlc_reference_caffenet.train_val": {"pool5": (256, 6, 6), "fc8": (1000,)},
    "bvlc_alexnet": {"pool1": (96, 27, 27), "pool5": (256, 6, 6)},
    "bvlc_caffenet_full_conv": {"fc8-conv": (1000, 8, 8)},
    "bvlc_reference_rcnn_ilsvrc13": {"fc-rcnn": (200,)},
    "age_adiencenet": {"conv1": (96, 56, 56), "pool1": (96, 28, 28), "fc8": (8,)},
    "age_vgg16": {"pool5": (512, 7, 7)},
    "squeezenet_v1.0": {
        "pool1": (96, 55, 55),
        "fire4/concat": (256, 55, 55),
        "pool4": (256, 27, 27),
        "pool10": (1000, 1, 1),
    },
    "squeezenet_v1.1": {"conv1": (64, 113, 113), "pool1": (64, 56, 56)},
    "vgg16-pytorch": {},
}
LOGITS = {"bvlc_reference_rcnn_ilsvrc13"}

pytestmark = pytest.mark.skipif(not TEXTS, reason="reference data (../shared) is not here")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_every_published_text_is_read(path: Path) -> None:
    text = read_prototxt(path)
    assert len(text.net.layer) + len(text.net.layers) == len(text.layers) > 10
    source = path.read_text().splitlines()
    assert all(source[line - 1].lstrip().startswith("layer") for _, line in text.layers)
    assert text.notes == ()


@pytest.mark.parametrize("name", sorted(KEY_SHAPES))
def test_published_architectures_have_the_shapes_of_their_papers(name: str) -> None:
    graph = load_caffe(SHARED / "zoo" / "prototxt" / f"{name}.prototxt", "random:0").graph
    for tensor, shape in KEY_SHAPES[name].items():
        assert graph.tensors[tensor].item_shape == shape
    assert graph.head == ("logits" if name in LOGITS else "softmax")
    assert set(graph.consumers) >= {tensor for tensor in graph.tensors if tensor != graph.output}


def test_a_training_text_with_batch_norm_names_its_images() -> None:
    path = SHARED / "zoo" / "prototxt" / "cifar10_full_sigmoid_bn.train_test.prototxt"
    loaded = load_caffe(path, "random:0")
    graph = loaded.graph
    assert graph.input.item_shape == (3, 32, 32)
    assert "the images of cifar10" in loaded.notes[0]
    assert load_caffe(path, "random:0", input_shape=(3, 40, 36)).graph.input.item_shape == (3, 40, 36)
    assert sum(node.op == "BatchNormalization" for node in graph.nodes) == 3
    assert graph.tensors[graph.output].shape == (None, 10)


@pytest.mark.parametrize(
    ("name", "constants", "weights"),
    [
        ("lenet_bvlc", 8, 431_080),
        ("cifar10_quick", 10, 145_578),
        ("cifar10_full", 8, 89_578),
        ("squeezenet_v1.0", 52, 1_248_424),
        ("tinymix", 14, None),
    ],
)
def test_trained_networks_load_with_their_weights(name: str, constants: int, weights: int | None) -> None:
    loaded = load_caffe(SHARED / "models" / name / "deploy.prototxt", None)
    assert loaded.graph.head == "softmax"
    assert loaded.notes == ()
    assert len(loaded.graph.constants) == constants
    if weights is not None:
        assert sum(constant.size for constant in loaded.graph.constants.values()) == weights
    assert all(constant.any() for constant in loaded.graph.constants.values())


@pytest.mark.parametrize(
    ("name", "shape"), [("lenet_bvlc", (1, 28, 28)), ("cifar10_quick", (3, 32, 32)), ("cifar10_full", (3, 32, 32))]
)
def test_the_architecture_in_a_snapshot_is_that_of_its_deploy_text(name: str, shape: tuple[int, ...]) -> None:
    folder = SHARED / "models" / name
    deploy = load_caffe(folder / "deploy.prototxt", None)
    snapshot = load_caffe(None, next(folder.glob("*.caffemodel")), input_shape=shape)
    assert [(node.name, node.op) for node in snapshot.graph.nodes] == [(n.name, n.op) for n in deploy.graph.nodes]
    assert [dict(n.attributes) for n in snapshot.graph.nodes] == [dict(n.attributes) for n in deploy.graph.nodes]
    assert snapshot.sha256 == deploy.sha256
    for constant, value in deploy.graph.constants.items():
        np.testing.assert_array_equal(snapshot.graph.constants[constant], value)


def test_a_published_mean_is_read() -> None:
    mean = read_mean(SHARED / "labels" / "adience_mean.binaryproto")
    assert mean.shape == (3, 256, 256)
    assert 70 < mean[0].mean() < mean[1].mean() < mean[2].mean() < 140
    assert read_mean(SHARED / "labels" / "ilsvrc_2012_mean.npy").shape == (3, 256, 256)
