"""ONNX files through the front doors: `lrptool.load`, the command line, cards, and the reference networks."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

import lrptool
from lrptool.errors import ConfigError, ModelError, UnsupportedError
from lrptool.zoo import locate
from tests import command
from tests.onnxnets import FIXTURES, composite, model, node, run, save

RESNET = FIXTURES / "resnet_old.onnx"


def pictures() -> np.ndarray:
    """Two pictures as the fixture takes them."""
    with np.load(FIXTURES / "resnet.npz") as data:
        return data["x"]


def test_load_and_explain() -> None:
    loaded = lrptool.load(RESNET)
    assert loaded.name == "resnet_old"
    assert loaded.sha256 is not None
    assert loaded.notes == ("no card: pictures are taken as RGB, 0 to 1, no mean subtracted",)
    assert (loaded.preprocessing.channels, loaded.preprocessing.raw_scale) == ("RGB", 1.0)
    x = pictures()
    with np.load(FIXTURES / "resnet.npz") as data:
        np.testing.assert_allclose(loaded.predict(x).scores, data["scores"], rtol=1e-5, atol=1e-6)
    explanation = loaded.explain(x, composite=composite("zplus"))
    assert explanation.relevance.shape == (2, 3, 24, 18)
    assert np.isfinite(explanation.relevance).all()


def test_preprocessing_can_be_said() -> None:
    with pytest.raises(ConfigError, match="channels GRAY, but the network takes 3"):
        lrptool.load(RESNET, channels="GRAY")
    loaded = lrptool.load(RESNET, channels="BGR", raw_scale=255, mean=(1, 2, 3))
    assert loaded.notes == ()
    assert loaded.preprocessing.raw_scale == 255


def test_weights_beside_an_onnx_file(tmp_path: Path) -> None:
    other = tmp_path / "other.caffemodel"
    other.write_bytes(b"x")
    for weights in (other, "random:1"):
        with pytest.raises(ModelError, match="an ONNX file holds its own weights") as caught:
            lrptool.load(RESNET, weights)
        assert caught.value.hint == "leave out --weights"


def test_a_folder_with_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "nets" / "mine"
    folder.mkdir(parents=True)
    shutil.copy(RESNET, folder / "model.onnx")
    assert locate(folder).architecture == folder / "model.onnx"
    assert locate("mine", models_dir=folder.parent).architecture == folder / "model.onnx"
    shutil.copy(RESNET, folder / "second.onnx")
    with pytest.raises(ModelError, match=r"or one \.prototxt or \.onnx, found 2 \.onnx"):
        locate(folder)


def test_a_card(tmp_path: Path) -> None:
    shutil.copy(RESNET, tmp_path / "model.onnx")
    (tmp_path / "card.yaml").write_text(
        "name: mine\nfiles: {architecture: model.onnx, weights: model.onnx}\n"
        "preprocess: {size: [24, 18], channels: RGB, raw_scale: 1, mean: [0.485, 0.456, 0.406], std: [0.2, 0.2, 0.2]}\n"
        "labels: [a, b, c, d, e]\ndefault_composite: epsilon\n"
    )
    for named in (tmp_path, tmp_path / "model.onnx"):
        loaded = lrptool.load(named)
        assert loaded.name == "mine"
        assert loaded.default_composite == "epsilon"
        assert loaded.labels.name(2) == "c"
        assert loaded.notes == ()


def test_input_shape_and_output(tmp_path: Path) -> None:
    kernel = np.random.default_rng(0).normal(size=(5, 3, 3, 3)).astype(np.float32)
    nodes = [
        node("Conv", ["x", "k"], ["c"]),
        node("GlobalAveragePool", ["c"], ["early"]),
        node("Relu", ["c"], ["r"]),
        node("GlobalAveragePool", ["r"], ["late"]),
    ]
    path = save(model(nodes, ["N", 3, "h", "w"], {"k": kernel}, outputs=("early", "late")), tmp_path)
    with pytest.raises(ModelError, match="its size is left open"):
        lrptool.load(path)
    loaded = lrptool.load(path, input_shape=(3, 8, 9), output="early")
    assert loaded.graph.output == "early"
    assert loaded.graph.input.item_shape == (3, 8, 9)


def test_an_input_that_no_picture_can_be(tmp_path: Path) -> None:
    path = save(model([node("Relu", ["x"], ["y"])], ["N", 12]), tmp_path)
    with pytest.raises(UnsupportedError, match=r"expected an input \(N, C, H, W\), found \(None, 12\)"):
        lrptool.load(path)
    assert lrptool.load(path, input_shape=(3, 2, 2)).graph.input.item_shape == (3, 2, 2)


def test_the_command_line(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", pictures()[:1])
    done = command.run("predict", tmp_path / "x.npy", "--model", RESNET)
    assert done.code == 0, done.err
    broken = tmp_path / "net.onnx"
    broken.write_bytes(RESNET.read_bytes()[:5000])
    done = command.run("predict", tmp_path / "x.npy", "--model", broken)
    assert done.code == 3
    assert "cut off or not an ONNX file" in done.err
    odd = node("LSTM", ["x", "w", "w"], ["y"], name="odd", hidden_size=2)
    strange = save(model([odd], ["N", 3, 8, 4], {"w": np.ones((1, 8, 2), np.float32)}), tmp_path)
    done = command.run("predict", tmp_path / "x.npy", "--model", strange)
    assert done.code == 4
    assert "node 'odd' (LSTM): this operator is not supported" in done.err


@pytest.mark.parametrize("name", ["small_vgg", "small_resnet", "small_caffe"])
@pytest.mark.parametrize("precision", ["", "_f64"])
def test_reference_networks(name: str, precision: str, shared: Path) -> None:
    """In float32 and, which onnxruntime cannot compute, in float64."""
    folder = shared / "golden" / "nets"
    loaded = lrptool.load(folder / f"{name}{precision}.onnx")
    x = np.random.default_rng(4).normal(size=(2, *loaded.graph.input.item_shape)).astype(np.float32)
    wanted = run(onnx.load(folder / f"{name}.onnx"), x)
    np.testing.assert_allclose(loaded.predict(x).scores, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
