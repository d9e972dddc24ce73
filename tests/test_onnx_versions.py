"""What operators meant in older versions: the same as today's, spelled otherwise, computed by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from lrptool.errors import UnsupportedError
from lrptool.graph import Graph
from lrptool.loaders.onnx import load_onnx
from tests.onnxnets import Numbers, load, model, node, run, run_graph, save, through_graph

RNG = np.random.default_rng(5)
X = RNG.normal(size=(2, 3, 4, 6)).astype(np.float32)
PER_CHANNEL = RNG.normal(size=3).astype(np.float32)
PER_PLACE = RNG.normal(size=(3, 4, 6)).astype(np.float32)
ROWS = RNG.normal(size=(4, 6)).astype(np.float32)


def ints(*values: int) -> Numbers:
    """Indices, as newer versions have them: an input."""
    return np.array(values, np.int64)


def channels(values: Numbers) -> Numbers:
    """One number per channel, against an image."""
    return values[:, None, None]


def mean_of_windows(x: Numbers, size: int) -> Numbers:
    """Windows of size × size next to each other."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // size, size, w // size, size).mean((3, 5))


def softmax(x: Numbers, axis: int | tuple[int, ...]) -> Numbers:
    """Exponentials over their sum."""
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


Nodes = Sequence[onnx.NodeProto] | onnx.NodeProto
Stored = Mapping[str, Numbers]
CASES: dict[str, tuple[int, Nodes, Stored, Callable[[Numbers], Numbers]]] = {
    "Reshape with an attribute": (
        1,
        node("Reshape", ["x"], ["y"], shape=[0, 12, -1]),
        {},
        lambda x: x.reshape(2, 12, 6),
    ),
    "Reshape and Clip of weights with attributes": (
        1,
        [
            node("Reshape", ["c"], ["r"], shape=[4, 6]),
            node("Clip", ["r"], ["k"], min=0.0),
            node("Add", ["x", "k"], ["y"], broadcast=1),
        ],
        {"c": ROWS.reshape(-1)},
        lambda x: x + np.maximum(ROWS, 0),
    ),
    "Flatten behind axis 2": (1, node("Flatten", ["x"], ["y"], axis=2), {}, lambda x: x.reshape(6, 24)),
    "Add along an axis": (
        6,
        node("Add", ["x", "c"], ["y"], broadcast=1, axis=1),
        {"c": PER_CHANNEL},
        lambda x: x + channels(PER_CHANNEL),
    ),
    "Add at the end": (6, node("Add", ["x", "c"], ["y"], broadcast=1), {"c": ROWS}, lambda x: x + ROWS),
    "Add along two axes": (
        6,
        node("Add", ["x", "c"], ["y"], broadcast=1, axis=1),
        {"c": PER_PLACE[:, :, 0]},
        lambda x: x + PER_PLACE[:, :, :1],
    ),
    "Sub from a constant of its shape": (6, node("Sub", ["x", "x2"], ["y"]), {"x2": X[:1]}, lambda x: x - X[:1]),
    "Mul along an axis": (
        6,
        node("Mul", ["x", "c"], ["y"], broadcast=1, axis=1),
        {"c": PER_CHANNEL},
        lambda x: x * channels(PER_CHANNEL),
    ),
    "Div, and constants among themselves": (
        6,
        [
            node("Mul", ["c", "d"], ["e"], broadcast=1, axis=0),
            node("Div", ["x", "e"], ["y"], broadcast=1, axis=1),
        ],
        {"c": np.abs(PER_PLACE) + 1, "d": np.abs(PER_CHANNEL) + 1},
        lambda x: x / ((np.abs(PER_PLACE) + 1) * channels(np.abs(PER_CHANNEL) + 1)),
    ),
    "Add of two tensors along an axis": (
        6,
        [
            node("GlobalAveragePool", ["x"], ["g"]),
            node("Reshape", ["g"], ["f"], shape=[0, 3]),
            node("Add", ["x", "f"], ["y"], broadcast=1, axis=0),
        ],
        {},
        lambda x: x + x.mean((2, 3), keepdims=True),
    ),
    "PRelu with a slope per channel": (
        6,
        node("PRelu", ["x", "c"], ["y"]),
        {"c": np.abs(PER_CHANNEL)},
        lambda x: np.where(x < 0, x * channels(np.abs(PER_CHANNEL)), x),
    ),
    "PRelu with one slope": (
        1,
        node("PRelu", ["x", "c"], ["y"]),
        {"c": np.array([0.3], np.float32)},
        lambda x: np.where(x < 0, 0.3 * x, x),
    ),
    "BatchNormalization per position": (
        6,
        node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], spatial=0, is_test=1, epsilon=0.01),
        {"s": PER_PLACE, "b": PER_PLACE + 1, "m": PER_PLACE - 1, "v": np.abs(PER_PLACE) + 1},
        lambda x: (x - PER_PLACE + 1) / np.sqrt(np.abs(PER_PLACE) + 1.01) * PER_PLACE + PER_PLACE + 1,
    ),
    "BatchNormalization with consumed inputs": (
        1,
        node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], consumed_inputs=[0, 0, 0, 1, 1], is_test=1),
        {"s": PER_CHANNEL, "b": PER_CHANNEL + 1, "m": PER_CHANNEL - 1, "v": np.abs(PER_CHANNEL) + 1},
        lambda x: (
            (x - channels(PER_CHANNEL - 1)) / np.sqrt(channels(np.abs(PER_CHANNEL)) + 1.00001) * channels(PER_CHANNEL)
            + channels(PER_CHANNEL + 1)
        ),
    ),
    "Dropout of two outputs": (6, node("Dropout", ["x"], ["y", "mask"], is_test=1, ratio=0.5), {}, lambda x: x),
    "Dropout with a ratio as an input": (
        13,
        node("Dropout", ["x", "r"], ["y"]),
        {"r": np.array(0.4, np.float32)},
        lambda x: x,
    ),
    "Clip with attributes": (6, node("Clip", ["x"], ["y"], min=-0.5, max=0.7), {}, lambda x: np.clip(x, -0.5, 0.7)),
    "Clip without an upper bound": (6, node("Clip", ["x"], ["y"], min=0.0), {}, lambda x: np.maximum(x, 0)),
    "Slice with attributes": (
        1,
        node("Slice", ["x"], ["y"], axes=[1, 3], starts=[1, -5], ends=[1000, -1]),
        {},
        lambda x: x[:, 1:, :, -5:-1],
    ),
    "Slice backwards": (
        13,
        node("Slice", ["x", "s", "e", "a", "t"], ["y"]),
        {"s": ints(-1, 0), "e": ints(-100, 3), "a": ints(3, 2), "t": ints(-2, 1)},
        lambda x: x[:, :, :3, ::-2],
    ),
    "Pad with paddings": (
        1,
        node("Pad", ["x"], ["y"], paddings=[0, 0, 1, 2, 0, 0, 0, 3], value=0.5),
        {},
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 0), (2, 3)), constant_values=0.5),
    ),
    "Pad with pads, some negative": (
        2,
        node("Pad", ["x"], ["y"], pads=[0, 0, 1, -2, 0, 0, 0, -1]),
        {},
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :, 2:-1],
    ),
    "Pad along named axes": (
        18,
        node("Pad", ["x", "p", "", "a"], ["y"], mode="reflect"),
        {"p": ints(1, 2, 3, 1), "a": ints(-1, 2)},
        lambda x: np.pad(x, ((0, 0), (0, 0), (2, 1), (1, 3)), mode="reflect"),
    ),
    "Squeeze and Unsqueeze with attributes": (
        1,
        [
            node("ReduceMean", ["x"], ["m"], axes=[2]),
            node("Squeeze", ["m"], ["s"], axes=[2]),
            node("Unsqueeze", ["s"], ["y"], axes=[1, 4]),
        ],
        {},
        lambda x: x.mean(2)[:, None, :, :, None],
    ),
    "Upsample by two attributes": (
        1,
        node("Upsample", ["x"], ["y"], height_scale=2.0, width_scale=3.0, mode="nearest"),
        {},
        lambda x: x.repeat(2, 2).repeat(3, 3),
    ),
    "Upsample by a list": (
        7,
        node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0, 2.0]),
        {},
        lambda x: x.repeat(2, 2).repeat(2, 3),
    ),
    "Upsample by an input": (
        9,
        node("Upsample", ["x", "s"], ["y"]),
        {"s": np.array([1, 1, 3, 1], np.float32)},
        lambda x: x.repeat(3, 2),
    ),
    "Resize of two inputs": (
        10,
        node("Resize", ["x", "s"], ["y"]),
        {"s": np.array([1, 1, 1, 2], np.float32)},
        lambda x: x.repeat(2, 3),
    ),
    "ReduceSum with attributes": (
        11,
        node("ReduceSum", ["x"], ["y"], axes=[1, -1], keepdims=0),
        {},
        lambda x: x.sum((1, 3)),
    ),
    "ReduceSum with an input": (
        13,
        node("ReduceSum", ["x", "a"], ["y"], keepdims=0),
        {"a": ints(1, -1)},
        lambda x: x.sum((1, 3)),
    ),
    "ReduceMean over the image": (
        18,
        node("ReduceMean", ["x", "a"], ["y"], keepdims=0),
        {"a": ints(-1, -2)},
        lambda x: x.mean((2, 3)),
    ),
    "ReduceMax, all but the batch": (
        13,
        node("ReduceMax", ["x"], ["y"], axes=[1, 2, 3]),
        {},
        lambda x: x.max((1, 2, 3), keepdims=True),
    ),
    "Concat without an axis": (1, node("Concat", ["x", "x"], ["y"]), {}, lambda x: np.concatenate([x, x], 1)),
    "Concat with a constant": (
        13,
        node("Concat", ["c", "x"], ["y"], axis=2),
        {"c": PER_PLACE[None, :, :2]},
        lambda x: np.concatenate([np.tile(PER_PLACE[None, :, :2], (2, 1, 1, 1)), x], 2),
    ),
    "Split with an attribute, one part read": (
        2,
        [node("Split", ["x"], ["a", "b", "c"], axis=3, split=[1, 2, 3]), node("Relu", ["b"], ["y"])],
        {},
        lambda x: np.maximum(x[..., 1:3], 0),
    ),
    "Split into so many parts": (
        18,
        [node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2), node("Relu", ["b"], ["y"])],
        {},
        lambda x: np.maximum(x[:, 2:], 0),
    ),
    "Split by an input": (
        13,
        [node("Split", ["x", "n"], ["a", "b"], axis=1), node("Relu", ["a"], ["y"])],
        {"n": ints(1, 2)},
        lambda x: np.maximum(x[:, :1], 0),
    ),
    "Cast to a word": (1, node("Cast", ["x"], ["y"], to="FLOAT"), {}, lambda x: x),
    "Selu of few digits": (
        1,
        node("Selu", ["x"], ["y"]),
        {},
        lambda x: np.where(x > 0, x, 1.6732 * (np.exp(x) - 1)) * 1.0507,
    ),
    "ScaledTanh": (1, node("ScaledTanh", ["x"], ["y"], alpha=1.5, beta=0.7), {}, lambda x: 1.5 * np.tanh(0.7 * x)),
    "GlobalLpPool of a float": (
        1,
        node("GlobalLpPool", ["x"], ["y"], p=2.0),
        {},
        lambda x: np.sqrt((x**2).sum((2, 3), keepdims=True)),
    ),
    "AveragePool of old": (
        1,
        node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
        {},
        lambda x: mean_of_windows(x, 2),
    ),
    "Tile of a repeat and an axis": (
        1,
        node("Tile", ["x", "n", "a"], ["y"]),
        {"n": ints(2), "a": ints(3)},
        lambda x: np.tile(x, (1, 1, 1, 2)),
    ),
    "Pow along an axis": (
        6,
        [node("Relu", ["x"], ["r"]), node("Pow", ["r", "p"], ["y"], broadcast=1)],
        {"p": np.array([2], np.float32)},
        lambda x: np.maximum(x, 0) ** 2,
    ),
    "Max of two constants and a tensor": (
        8,
        node("Max", ["x", "a", "b"], ["y"]),
        {"a": PER_PLACE, "b": np.array(0.2, np.float32)},
        lambda x: np.maximum(np.maximum(x, PER_PLACE), 0.2),
    ),
    "Mean of three": (
        8,
        [node("Relu", ["x"], ["r"]), node("Mean", ["x", "r", "c"], ["y"])],
        {"c": PER_PLACE},
        lambda x: (x + np.maximum(x, 0) + PER_PLACE) / 3,
    ),
    "Sum of four with constants between": (
        8,
        [node("Relu", ["x"], ["r"]), node("Sum", ["c", "x", "d", "r"], ["y"])],
        {"c": PER_PLACE, "d": np.array([2], np.float32)},
        lambda x: x + np.maximum(x, 0) + PER_PLACE + 2,
    ),
    "a constant minus a tensor": (7, node("Sub", ["c", "x"], ["y"]), {"c": PER_PLACE}, lambda x: PER_PLACE - x),
    "a constant over a tensor": (
        7,
        [node("Exp", ["x"], ["e"]), node("Div", ["c", "e"], ["y"])],
        {"c": PER_PLACE},
        lambda x: PER_PLACE / np.exp(x),
    ),
    "two to the power of a tensor": (7, node("Pow", ["c", "x"], ["y"]), {"c": np.array(2, np.float32)}, lambda x: 2**x),
    "twice a tensor": (7, node("Add", ["x", "x"], ["y"]), {}, lambda x: 2 * x),
    "a square": (7, node("Mul", ["x", "x"], ["y"]), {}, lambda x: x * x),
    "Where with a constant condition": (
        9,
        node("Where", ["k", "x", "c"], ["y"]),
        {"k": PER_PLACE > 0, "c": np.where(PER_PLACE > 0, np.inf, PER_PLACE).astype(np.float32)},
        lambda x: np.where(PER_PLACE > 0, x, PER_PLACE),
    ),
    "a mask of minus infinity before a softmax": (
        13,
        [node("Add", ["x", "k"], ["m"]), node("Softmax", ["m"], ["s"], axis=-1), node("Relu", ["s"], ["y"])],
        {"k": np.where(np.tri(4, 6), 0, -np.inf).astype(np.float32)},
        lambda x: softmax(x + np.where(np.tri(4, 6), 0, -np.inf), -1),
    ),
    "Gemm of old, with a number as bias": (
        6,
        [
            node("Reshape", ["x"], ["f"], shape=[0, 72]),
            node("Gemm", ["f", "w", "c"], ["y"], broadcast=1, alpha=0.5, beta=2.0),
        ],
        {"w": PER_PLACE.reshape(72, 1) * np.ones((1, 5), np.float32), "c": np.array([3], np.float32)},
        lambda x: 0.5 * x.reshape(2, 72) @ (PER_PLACE.reshape(72, 1) * np.ones((1, 5))) + 6,
    ),
    "Gemm of the first version, flattening": (
        1,
        node("Gemm", ["x", "w", "c"], ["y"], broadcast=1, transB=1),
        {"w": PER_PLACE.reshape(1, 72) * np.ones((5, 1), np.float32), "c": np.arange(5, dtype=np.float32)},
        lambda x: x.reshape(2, 72) @ (PER_PLACE.reshape(72, 1) * np.ones((1, 5))) + np.arange(5),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("sizes", [(2,), (2, 3, 5)], ids=["batch of two", "open batch"])
def test_versions(name: str, sizes: tuple[int, ...]) -> None:
    opset, nodes, stored, expected = CASES[name]
    made = model([nodes] if isinstance(nodes, onnx.NodeProto) else nodes, ["N", 3, 4, 6], stored, opset=opset)
    y = through_graph(made, {"x": X}, "x", sizes=sizes)
    wanted = expected(X.astype(np.float64))
    assert y.shape == wanted.shape
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("opset", "axes"), [(11, (1, 2, 3)), (13, (3,))])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_within_a_network(op: str, opset: int, axes: tuple[int, ...]) -> None:
    """Along all axes from the second on in older versions, along the last one in newer."""
    made = model([node(op, ["x"], ["s"]), node("Exp", ["s"], ["y"])], ["N", 3, 4, 6], opset=opset)
    probabilities = softmax(X.astype(np.float64), axes)
    wanted = np.exp(probabilities) if op == "Softmax" else probabilities
    np.testing.assert_allclose(through_graph(made, {"x": X}, "x", sizes=(2, 3, 5)), wanted, rtol=1e-5)


OLD_RUNTIME = tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 22)


@pytest.mark.parametrize("mode", ["floor", "ceil"])
@pytest.mark.parametrize("counted", [0, 1])
@pytest.mark.parametrize(
    ("pads", "auto"), [([0, 0, 0, 0], ""), ([1, 0, 1, 1], ""), ([], "SAME_UPPER"), ([], "SAME_LOWER"), ([], "VALID")]
)
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
def test_pooling_geometry(op: str, pads: list[int], auto: str, counted: int, mode: str, tmp_path: Path) -> None:
    """Every way to say how windows lie, as onnxruntime understands it."""
    options: dict[str, object] = {"kernel_shape": [3, 2], "strides": [2, 3]}
    options |= {"auto_pad": auto} if auto else {"pads": pads}
    options |= {"ceil_mode": 1} if mode == "ceil" and not auto else {}
    options |= {"count_include_pad": counted} if op == "AveragePool" else {}
    if "ceil_mode" in options and OLD_RUNTIME:
        pytest.skip("this onnxruntime pools beyond the padding")
    made = model([node(op, ["x"], ["y"], **options)], [1, 3, 8, 11], opset=19)
    x = RNG.normal(size=(1, 3, 8, 11)).astype(np.float32)
    np.testing.assert_allclose(run_graph(load(made, tmp_path), x), run(made, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_convolution_geometry(op: str, rank: int, auto: str) -> None:
    sizes, kernel = (9, 6, 5)[:rank], (3, 2, 4)[:rank]
    x = RNG.normal(size=(1, 4, *sizes)).astype(np.float32)
    w = RNG.normal(size=(6, 2, *kernel) if op == "Conv" else (4, 3, *kernel)).astype(np.float32)
    options: dict[str, object] = {"strides": [2, 1, 3][:rank], "group": 2, "auto_pad": auto}
    if auto == "NOTSET":
        options |= {"pads": [1, 0, 2, 1, 1, 0][: 2 * rank], "dilations": [1, 2, 1][:rank]}
    made = model([node(op, ["x", "w", "b"], ["y"], **options)], x.shape, {"w": w, "b": np.arange(6, dtype=np.float32)})
    y = through_graph(made, {"x": x}, "x", sizes=(1,))
    np.testing.assert_allclose(y, run(made, x), rtol=1e-4, atol=1e-4)


def test_transposed_convolution_of_a_stated_size(tmp_path: Path) -> None:
    x = RNG.normal(size=(1, 2, 5, 4)).astype(np.float32)
    w = RNG.normal(size=(2, 3, 3, 3)).astype(np.float32)
    for wanted in ([9, 9], [10, 8], [11, 9]):
        made = model([node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], output_shape=wanted)], x.shape, {"w": w})
        y = run_graph(load(made, tmp_path), x)
        assert list(y.shape[2:]) == wanted
        np.testing.assert_allclose(y, run(made, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        (
            node("BatchNormalization", ["x", "c", "c", "c", "c"], ["y"], name="n", training_mode=1),
            "statistics of the batch",
        ),
        (node("Dropout", ["x", "r", "t"], ["y"], name="n"), "drops values at random"),
        (node("Resize", ["x", "", "s"], ["y"], name="n", mode="cubic"), "resizes by cubic"),
        (node("Pad", ["x", "p"], ["y"], name="n", mode="wrap"), "pads in mode 'wrap'"),
        (node("RandomNormalLike", ["x"], ["y"], name="n"), "RandomNormalLike"),
        (node("Cast", ["x"], ["y"], name="n", to=TensorProto.INT32), "rounds values of the image"),
        (node("Conv", ["x", "x"], ["y"], name="n"), "computed from the image"),
        (node("Gather", ["table", "x"], ["y"], name="n"), "looks up a table"),
        (node("Pow", ["x", "c3"], ["y"], name="n"), "raises to different powers"),
        (node("Where", ["x", "c", "c"], ["y"], name="n"), "computed from the image"),
    ],
)
def test_what_cannot_be_explained(nodes: onnx.NodeProto, text: str, tmp_path: Path) -> None:
    stored = {
        "c": np.abs(PER_CHANNEL),
        "c3": channels(PER_CHANNEL),
        "r": np.array(0.5, np.float32),
        "t": np.array(1, bool),
        "s": np.array([1, 1, 2, 2], np.float32),
        "p": ints(0, 0, 1, 1, 0, 0, 1, 1),
        "table": np.ones((7, 2), np.float32),
    }
    with pytest.raises(UnsupportedError, match=r"net\.onnx: node 'n' \(") as caught:
        load(model([nodes], ["N", 3, 4, 6], stored), tmp_path)
    assert text in caught.value.message


def test_weights_listed_as_inputs(tmp_path: Path) -> None:
    """As files up to version 3 of the format do."""
    made = model([node("Mul", ["x", "c"], ["y"])], ["N", 3, 4, 6], {"c": PER_PLACE}, opset=7, listed=True)
    assert made.ir_version == 3
    graph = load(made, tmp_path)
    assert graph.input.name == "x"
    np.testing.assert_allclose(run_graph(graph, X), X * PER_PLACE, rtol=1e-6)


def branches(condition: Nodes, stored: Stored) -> onnx.ModelProto:
    """Relu where a condition holds, Neg where not."""
    inner = [
        helper.make_graph([node(op, ["x"], [name])], op, [], [helper.make_value_info(name, onnx.TypeProto())])
        for op, name in (("Relu", "a"), ("Neg", "b"))
    ]
    first = [condition] if isinstance(condition, onnx.NodeProto) else list(condition)
    made_of = [*first, node("If", ["k"], ["y"], name="choice", then_branch=inner[0], else_branch=inner[1])]
    return model(made_of, ["N", 3, 4, 6], stored)


@pytest.mark.parametrize(("width", "expected"), [(6, np.maximum(X, 0)), (7, -X)])
def test_a_choice_that_sizes_decide(width: int, expected: Numbers, tmp_path: Path) -> None:
    condition = [node("Shape", ["x"], ["s"], start=3), node("Squeeze", ["s"], ["q"]), node("Equal", ["q", "w"], ["k"])]
    graph = load(branches(condition, {"w": np.array(width)}), tmp_path)
    np.testing.assert_array_equal(run_graph(graph, X), expected)


def test_a_choice_that_the_image_decides(tmp_path: Path) -> None:
    condition = [node("ReduceMax", ["x"], ["m"], axes=[1, 2, 3]), node("Greater", ["m", "w"], ["k"])]
    with pytest.raises(UnsupportedError, match=r"node 'choice' \(If\)|\(Greater\)") as caught:
        load(branches(condition, {"w": np.array(0, np.float32)}), tmp_path)
    assert caught.value.hint == "export the network without decisions on values of the image"


def test_functions_of_the_model_itself(tmp_path: Path) -> None:
    """Operators a file defines are written out."""
    made = model(
        [node("Twice", ["x"], ["h"], domain="own", name="t"), node("Relu", ["h"], ["y"])],
        ["N", 3, 4, 6],
        domains={"own": 1},
    )
    body = helper.make_function(
        "own", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    made.functions.append(body)
    np.testing.assert_allclose(run_graph(load(made, tmp_path), X), np.maximum(2 * X, 0))


def test_operators_onnx_defines_by_others(tmp_path: Path) -> None:
    """Attention of one call: products, a softmax, and sums of what is there."""
    if onnx.defs.onnx_opset_version() < 23:
        pytest.skip("Attention is younger than the onnx that is installed")
    weights = {"w": RNG.normal(size=(6, 6)).astype(np.float32), "r": ints(0, 12, 6)}
    nodes = [
        node("Reshape", ["x", "r"], ["t"]),
        node("MatMul", ["t", "w"], ["q"]),
        node("Attention", ["q", "t", "t"], ["y"], q_num_heads=2, kv_num_heads=2, name="att"),
    ]
    made = model(nodes, ["N", 3, 4, 6], weights, opset=23)
    y = through_graph(made, {"x": X}, "x", sizes=(2, 3, 5))
    t = X.reshape(2, 12, 6).astype(np.float64)
    heads = [part.reshape(2, 12, 2, 3).transpose(0, 2, 1, 3) for part in (t @ weights["w"], t, t)]
    attention = softmax(heads[0] @ heads[1].transpose(0, 1, 3, 2) / np.sqrt(3), -1) @ heads[2]
    np.testing.assert_allclose(y, attention.transpose(0, 2, 1, 3).reshape(2, 12, 6), rtol=1e-4, atol=1e-5)


EQUATIONS = {
    "bchw,ck->bkhw": (3, 5),
    "...d,ed->...e": (5, 6),
    "bchw,hk->bckw": (4, 5),
    "bchw,cwk->bchk": (3, 6, 5),
    "nchw,chw->nhw": (3, 4, 6),
    "bchw->bhwc": None,
    "bchw->bc": None,
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum_with_weights(equation: str) -> None:
    shape = EQUATIONS[equation]
    stored = {} if shape is None else {"w": RNG.normal(size=shape).astype(np.float32)}
    made = model([node("Einsum", ["x", *stored], ["y"], equation=equation)], ["N", 3, 4, 6], stored)
    wanted = np.einsum(equation, X, *stored.values())
    for sizes in ((2,), (2, 3, 5)):
        np.testing.assert_allclose(through_graph(made, {"x": X}, "x", sizes=sizes), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("equation", ["bchw,bchk->bcwk", "bchw,bdhw->bcd", "bchw,bchw->bh", "bchw,bchw->bwch"])
def test_einsum_of_two_tensors(equation: str) -> None:
    made = model([node("Exp", ["x"], ["e"]), node("Einsum", ["x", "e"], ["y"], equation=equation)], ["N", 3, 4, 6])
    wanted = np.einsum(equation, X, np.exp(X))
    np.testing.assert_allclose(through_graph(made, {"x": X}, "x", sizes=(2, 3, 5)), wanted, rtol=1e-4, atol=1e-4)


def test_names_given_twice(tmp_path: Path) -> None:
    """Node names need not differ in a file; in a graph they do."""
    made = model([node("Relu", ["x"], ["h"], name="same"), node("Neg", ["h"], ["y"], name="same")], ["N", 3, 4, 6])
    graph: Graph = load(made, tmp_path)
    assert [step.name for step in graph.nodes] == ["same", "same#2"]
    assert load_onnx(save(made, tmp_path)).graph.output == "y"
