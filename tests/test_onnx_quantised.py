"""Quantised and optimised networks, as onnxruntime's own tools make them of the PyTorch exports."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from lrptool.errors import UnsupportedError
from lrptool.loaders.onnx import load_onnx
from tests.onnxnets import FIXTURES, Numbers, load, model, node, run, run_graph, save

NOTE = "the network is quantised: it is explained through its dequantised weights, without the rounding"
RNG = np.random.default_rng(3)


def pictures(net: str) -> tuple[Numbers, Numbers]:
    """Two pictures of a fixture, and their scores in floating point."""
    with np.load(FIXTURES / f"{net}.npz") as data:
        return data["x"], data["scores"]


class Calibration(CalibrationDataReader):
    """Pictures, one at a time."""

    def __init__(self, x: Numbers) -> None:
        self._rest: Iterator[Numbers] = iter(x)

    def get_next(self) -> dict[str, Numbers] | None:
        picture = next(self._rest, None)
        return None if picture is None else {"x": picture[None]}


def quantised(net: str, kind: str, folder: Path) -> Path:
    """A fixture, quantised."""
    # The quantiser writes a file of its own beside the one it reads: not among the fixtures.
    source, made = folder / "original.onnx", folder / f"{net}.onnx"
    shutil.copyfile(FIXTURES / f"{net}_new.onnx", source)
    x, _ = pictures(net)
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if kind == "dynamic":
                quantize_dynamic(source, made, weight_type=QuantType.QUInt8)
            else:
                form = QuantFormat.QOperator if kind == "operators" else QuantFormat.QDQ
                data = Calibration(np.concatenate([x, x / 2]))
                quantize_static(source, made, data, quant_format=form, per_channel=kind == "per channel")
        finally:
            logging.disable(logging.NOTSET)
    return made


KINDS = ("pairs", "per channel", "operators", "dynamic")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("net", ["resnet", "mobilenet_v3", "densenet", "torch_vit"])
def test_quantised_networks(net: str, kind: str, tmp_path: Path) -> None:
    """Nearer to the network in floating point than to nothing, and as near to the quantised one as rounding allows."""
    path = quantised(net, kind, tmp_path)
    loaded = load_onnx(path)
    assert NOTE in loaded.notes
    x, scores = pictures(net)
    ours, scale = run_graph(loaded.graph, x), np.abs(scores).max()
    assert np.abs(ours - run(onnx.load(path), x)).max() < 0.03 * scale
    assert np.abs(ours - scores).max() < 0.03 * scale
    assert 1e-7 * scale < np.abs(ours - scores).max()
    np.testing.assert_array_equal(ours.argmax(1), scores.argmax(1))


@pytest.mark.parametrize("level", ["ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED"])
@pytest.mark.parametrize("net", ["resnet", "mobilenet_v3", "densenet", "vit", "torch_vit", "convnext"])
def test_optimised_networks(net: str, level: str, tmp_path: Path) -> None:
    """Fused operators of onnxruntime's own."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(tmp_path / "net.onnx")
    onnxruntime.InferenceSession(str(FIXTURES / f"{net}_new.onnx"), options, providers=["CPUExecutionProvider"])
    x, scores = pictures(net)
    ours = run_graph(load_onnx(tmp_path / "net.onnx").graph, x)
    np.testing.assert_allclose(ours, scores, rtol=1e-4, atol=1e-5 * np.abs(scores).max())


GRID = RNG.integers(0, 256, (1, 2, 5, 4)).astype(np.float32)


def test_numbers_that_need_no_rounding(tmp_path: Path) -> None:
    """Scales of powers of two: the graph computes what the quantised file computes, saturation included."""
    weight = RNG.integers(-8, 8, (3, 2, 2, 2)).astype(np.int8)
    stored = {
        "xs": np.float32(0.5),
        "xz": np.uint8(100),
        "w": weight,
        "ws": np.array([0.25, 0.5, 1], np.float32),
        "wz": np.zeros(3, np.int8),
        "ys": np.float32(0.125),
        "yz": np.uint8(90),
        "b": np.array([4, -8, 16], np.int32),
    }
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        node("QLinearConv", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["c"], name="conv"),
        node("DequantizeLinear", ["c", "ys", "yz"], ["y"]),
    ]
    made = model(nodes, [1, 2, 5, 4], {key: np.asarray(value) for key, value in stored.items()})
    x = (GRID - 128) / 2
    wanted = run(made, x)
    assert wanted.min() == (0 - 90) / 8
    assert wanted.max() == (255 - 90) / 8
    net = load_onnx(save(made, tmp_path))
    assert [step.op for step in net.graph.nodes] == ["Clip", "Conv", "Clip"]
    np.testing.assert_allclose(run_graph(net.graph, x), wanted, atol=1e-5)


@pytest.mark.parametrize("low", [0, 100])
def test_a_relu_that_is_only_a_zero_point(low: int, tmp_path: Path) -> None:
    """Quantisers leave out a ReLU in front of numbers that cannot be negative."""
    stored = {"s": np.float32(0.01), "z": np.uint8(low), "w": RNG.normal(size=(5, 40)).astype(np.float32)}
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("Flatten", ["d"], ["f"]),
        node("Gemm", ["f", "w"], ["y"], transB=1),
    ]
    made = model(nodes, [1, 2, 5, 4], {key: np.asarray(value) for key, value in stored.items()})
    graph = load(made, tmp_path)
    clip = next(step for step in graph.nodes if step.op == "Clip")
    assert clip.number("min") == pytest.approx(-low / 100)
    x = RNG.normal(size=(1, 2, 5, 4)).astype(np.float32)
    np.testing.assert_allclose(run_graph(graph, x), run(made, x), atol=0.1)


def test_whole_pixels_made_real(tmp_path: Path) -> None:
    """An input of bytes behind a scale and a zero point."""
    stored = {"s": np.asarray(np.float32(0.02)), "z": np.asarray(np.uint8(128)), "w": RNG.normal(size=(5, 40))}
    stored["w"] = stored["w"].astype(np.float32)
    nodes = [
        node("DequantizeLinear", ["x", "s", "z"], ["d"]),
        node("Flatten", ["d"], ["f"]),
        node("Gemm", ["f", "w"], ["y"], transB=1),
    ]
    made = model(nodes, [1, 2, 5, 4], stored, kind=TensorProto.UINT8)
    x = RNG.integers(0, 256, (1, 2, 5, 4)).astype(np.uint8)
    np.testing.assert_allclose(run_graph(load(made, tmp_path), x), run(made, x), rtol=1e-4, atol=1e-4)


def test_weights_of_one_scale_per_output(tmp_path: Path) -> None:
    """Made real once, while the file is read: what is left is a dense layer."""
    whole = RNG.integers(-128, 128, (5, 40)).astype(np.int8)
    scales = RNG.uniform(0.01, 0.02, 5).astype(np.float32)
    nodes = [
        node("DequantizeLinear", ["w", "s"], ["real"], axis=0),
        node("Flatten", ["x"], ["f"]),
        node("Gemm", ["f", "real"], ["y"], transB=1),
    ]
    graph = load(model(nodes, ["N", 2, 5, 4], {"w": whole, "s": scales}), tmp_path)
    assert [step.op for step in graph.nodes] == ["Flatten", "Gemm"]
    x = RNG.normal(size=(3, 2, 5, 4)).astype(np.float32)
    np.testing.assert_allclose(run_graph(graph, x), x.reshape(3, 40) @ (whole * scales[:, None]).T, rtol=1e-4)


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ([node("QuantizeLinear", ["x", "s2", "z2"], ["q"], axis=1, name="n")], "scales values of the image by channel"),
        (
            [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), node("Add", ["x", "s"], ["y"], name="n")],
            "found for each image, for something else than a product",
        ),
        ([node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("Add", ["q", "q"], ["y"], name="n")], "whole numbers"),
    ],
)
def test_what_cannot_be_made_real(nodes: list[onnx.NodeProto], text: str, tmp_path: Path) -> None:
    stored = {
        "s": np.asarray(np.float32(0.1)),
        "z": np.asarray(np.uint8(3)),
        "s2": np.array([0.1, 0.2], np.float32),
        "z2": np.array([3, 4], np.uint8),
    }
    written = {name for step in nodes for name in step.output}
    nodes = [*nodes, node("Relu", [nodes[-1].output[0]], ["end"])]
    made = model(nodes, [1, 2, 5, 4], {k: v for k, v in stored.items() if k not in written}, outputs=("end",))
    with pytest.raises(UnsupportedError, match=r"node 'n' \(") as caught:
        load(made, tmp_path)
    assert text in caught.value.message
    assert caught.value.hint == "give the network from before it was quantised"
