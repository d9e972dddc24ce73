"""What exporters take apart is put together again, however it was spelled, and no score changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from lrptool.graph import Graph
from lrptool.loaders import onnx as loader
from lrptool.loaders.onnx import patterns
from lrptool.loaders.onnx.patterns import PATTERNS
from tests.onnxnets import FIXTURES, Numbers, load, model, node, run, run_graph

RNG = np.random.default_rng(12)
SHAPE = (2, 4, 6, 5)
TOKENS = (2, 7, 8)
X = RNG.normal(0, 2, SHAPE).astype(np.float32)
T = RNG.normal(0, 2, TOKENS).astype(np.float32)


def scalar(value: float) -> Numbers:
    """A number, as exporters store it."""
    return np.array(value, np.float32)


STORED = {
    "half": scalar(0.5),
    "one": scalar(1),
    "two": scalar(2),
    "three": scalar(3),
    "six": scalar(6),
    "zero": scalar(0),
    "root2": scalar(np.sqrt(2)),
    "inverse": scalar(1 / np.sqrt(2)),
    "cube": scalar(0.044715),
    "slope": scalar(np.sqrt(2 / np.pi)),
    "quick": scalar(1.702),
    "eps": scalar(1e-5),
    "tiny": scalar(1e-12),
    "minushalf": scalar(-0.5),
}

FUNCTIONS: dict[str, tuple[list[onnx.NodeProto], str, dict[str, object]]] = {
    "Gelu, divided first": (
        [
            node("Div", ["x", "root2"], ["a"]),
            node("Erf", ["a"], ["b"]),
            node("Add", ["b", "one"], ["c"]),
            node("Mul", ["x", "c"], ["d"]),
            node("Mul", ["d", "half"], ["y"]),
        ],
        "Gelu",
        {"approximate": "none"},
    ),
    "Gelu, halved first": (
        [
            node("Mul", ["x", "inverse"], ["a"]),
            node("Erf", ["a"], ["b"]),
            node("Add", ["one", "b"], ["c"]),
            node("Mul", ["x", "half"], ["h"]),
            node("Mul", ["c", "h"], ["y"]),
        ],
        "Gelu",
        {"approximate": "none"},
    ),
    "Gelu through tanh": (
        [
            node("Pow", ["x", "three"], ["p"]),
            node("Mul", ["p", "cube"], ["q"]),
            node("Add", ["x", "q"], ["r"]),
            node("Mul", ["r", "slope"], ["s"]),
            node("Tanh", ["s"], ["t"]),
            node("Add", ["t", "one"], ["u"]),
            node("Mul", ["x", "half"], ["h"]),
            node("Mul", ["h", "u"], ["y"]),
        ],
        "Gelu",
        {"approximate": "tanh"},
    ),
    "Gelu through tanh, the cube as products": (
        [
            node("Mul", ["x", "x"], ["xx"]),
            node("Mul", ["xx", "x"], ["p"]),
            node("Mul", ["cube", "p"], ["q"]),
            node("Add", ["q", "x"], ["r"]),
            node("Mul", ["slope", "r"], ["s"]),
            node("Tanh", ["s"], ["t"]),
            node("Add", ["one", "t"], ["u"]),
            node("Mul", ["u", "x"], ["v"]),
            node("Mul", ["half", "v"], ["y"]),
        ],
        "Gelu",
        {"approximate": "tanh"},
    ),
    "Swish": ([node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["y"])], "Swish", {"beta": 1.0}),
    "Swish of another slope": (
        [node("Mul", ["x", "quick"], ["q"]), node("Sigmoid", ["q"], ["s"]), node("Mul", ["s", "x"], ["y"])],
        "Swish",
        {"beta": 1.702},
    ),
    "HardSwish by HardSigmoid": (
        [node("HardSigmoid", ["x"], ["s"], alpha=1 / 6, beta=0.5), node("Mul", ["x", "s"], ["y"])],
        "HardSwish",
        {},
    ),
    "HardSwish by a clip": (
        [
            node("Add", ["x", "three"], ["a"]),
            node("Clip", ["a", "zero", "six"], ["c"]),
            node("Mul", ["x", "c"], ["m"]),
            node("Div", ["m", "six"], ["y"]),
        ],
        "HardSwish",
        {},
    ),
    "HardSigmoid by a clip": (
        [
            node("Add", ["x", "three"], ["a"]),
            node("Clip", ["a", "zero", "six"], ["c"]),
            node("Div", ["c", "six"], ["y"]),
        ],
        "HardSigmoid",
        {"alpha": 1 / 6, "beta": 0.5},
    ),
    "Mish": (
        [node("Softplus", ["x"], ["s"]), node("Tanh", ["s"], ["t"]), node("Mul", ["x", "t"], ["y"])],
        "Mish",
        {},
    ),
    "Mish by exponentials": (
        [
            node("Exp", ["x"], ["e"]),
            node("Add", ["e", "one"], ["f"]),
            node("Log", ["f"], ["s"]),
            node("Tanh", ["s"], ["t"]),
            node("Mul", ["t", "x"], ["y"]),
        ],
        "Mish",
        {},
    ),
    "Sigmoid": (
        [
            node("Neg", ["x"], ["n"]),
            node("Exp", ["n"], ["e"]),
            node("Add", ["e", "one"], ["f"]),
            node("Reciprocal", ["f"], ["y"]),
        ],
        "Sigmoid",
        {},
    ),
    "LeakyRelu as a maximum": (
        [node("Mul", ["x", "cube"], ["s"]), node("Max", ["x", "s"], ["y"])],
        "LeakyRelu",
        {"alpha": 0.044715},
    ),
    "Clip of two": (
        [node("Max", ["x", "minushalf"], ["a"]), node("Min", ["a", "two"], ["y"])],
        "Clip",
        {"min": -0.5, "max": 2.0},
    ),
}


def used(nodes: list[onnx.NodeProto], **more: Numbers) -> dict[str, Numbers]:
    """The numbers that nodes read."""
    read = {name for step in nodes for name in step.input}
    return {name: value for name, value in (STORED | more).items() if name in read}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str, tmp_path: Path) -> None:
    nodes, op, attributes = FUNCTIONS[name]
    made = model(nodes, ["N", *SHAPE[1:]], used(nodes))
    graph = load(made, tmp_path)
    assert [step.op for step in graph.nodes] == [op]
    assert graph.output == "y"
    for key, value in attributes.items():
        found = graph.nodes[0].attributes[key]
        assert found == (value if isinstance(value, str) else pytest.approx(value, rel=1e-6))
    np.testing.assert_allclose(run_graph(graph, X), run(made, X), rtol=1e-5, atol=1e-5)


def test_a_function_whose_parts_are_read_elsewhere(tmp_path: Path) -> None:
    """The parts stay for those who read them."""
    nodes = [node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["m"]), node("Concat", ["m", "s"], ["y"], axis=1)]
    made = model(nodes, ["N", *SHAPE[1:]])
    graph = load(made, tmp_path)
    assert sorted(step.op for step in graph.nodes) == ["Concat", "Sigmoid", "Swish"]
    np.testing.assert_allclose(run_graph(graph, X), run(made, X), rtol=1e-5, atol=1e-6)


def test_what_only_looks_like_a_function(tmp_path: Path) -> None:
    """A gate of another tensor, or a slope that differs between channels, is none."""
    slopes = RNG.normal(size=(4, 1, 1)).astype(np.float32)
    nodes = [node("Mul", ["x", "c"], ["g"]), node("Sigmoid", ["g"], ["s"]), node("Mul", ["x", "s"], ["y"])]
    made = model(nodes, ["N", *SHAPE[1:]], {"c": slopes})
    graph = load(made, tmp_path)
    assert "Swish" not in {step.op for step in graph.nodes}
    np.testing.assert_allclose(run_graph(graph, X), run(made, X), rtol=1e-5, atol=1e-6)
    nodes = [node("Erf", ["x"], ["e"]), node("Add", ["e", "one"], ["f"]), node("Mul", ["x", "f"], ["y"])]
    made = model(nodes, ["N", *SHAPE[1:]], used(nodes))
    assert "Gelu" not in {step.op for step in load(made, tmp_path).nodes}


def layer_norm(*, power: str, root: str, shape: list[object], axes: list[int]) -> onnx.ModelProto:
    """(x − mean) / √(variance + ε), spelled in one of several ways, with a scale and a shift."""
    size = int(shape[-1]) if axes == [-1] else int(shape[1])
    spread = (size,) if axes == [-1] else (size, *(1,) * (len(shape) - 2))
    squares = {
        "Pow": node("Pow", ["d", "two"], ["q"]),
        "Mul": node("Mul", ["d", "d"], ["q"]),
    }[power]
    ends = {
        "Div": [node("Sqrt", ["e"], ["r"]), node("Div", ["d", "r"], ["n"])],
        "Reciprocal": [node("Sqrt", ["e"], ["r"]), node("Reciprocal", ["r"], ["i"]), node("Mul", ["d", "i"], ["n"])],
        "Pow": [node("Pow", ["e", "minushalf"], ["i"]), node("Mul", ["i", "d"], ["n"])],
    }[root]
    nodes = [
        node("ReduceMean", ["x"], ["m"], axes=axes),
        node("Sub", ["x", "m"], ["d"]),
        squares,
        node("ReduceMean", ["q"], ["v"], axes=axes),
        node("Add", ["v", "eps"], ["e"]),
        *ends,
        node("Mul", ["n", "gamma"], ["g"]),
        node("Add", ["g", "beta"], ["y"]),
    ]
    gamma, beta = (RNG.normal(size=spread).astype(np.float32) for _ in range(2))
    return model(nodes, shape, used(nodes, gamma=gamma, beta=beta), opset=13)


@pytest.mark.parametrize("root", ["Div", "Reciprocal", "Pow"])
@pytest.mark.parametrize("power", ["Pow", "Mul"])
def test_layer_norm(power: str, root: str, tmp_path: Path) -> None:
    made = layer_norm(power=power, root=root, shape=["N", *TOKENS[1:]], axes=[-1])
    graph = load(made, tmp_path, input_shape=None)
    ops = [step.op for step in graph.nodes if step.op != "Reshape"]
    assert ops == ["LayerNormalization"]
    (norm,) = (step for step in graph.nodes if step.op == "LayerNormalization")
    assert norm.integer("axis") == 2
    assert norm.number("epsilon") == pytest.approx(1e-5, rel=1e-4)
    np.testing.assert_allclose(run_graph(graph, T[:, None]), run(made, T), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("axes", "ops"),
    [
        ([2, 3], ["InstanceNormalization"]),
        ([1, 2, 3], ["GroupNormalization"]),
        ([1], ["Transpose", "LayerNormalization", "Transpose", "BatchNormalization"]),
    ],
)
def test_norms_of_images(axes: list[int], ops: list[str], tmp_path: Path) -> None:
    """Over each map, over the whole item, over the channels of each place."""
    made = layer_norm(power="Pow", root="Div", shape=["N", *SHAPE[1:]], axes=axes)
    graph = load(made, tmp_path)
    assert [step.op for step in graph.nodes] == ops
    np.testing.assert_allclose(run_graph(graph, X), run(made, X), rtol=1e-4, atol=1e-5)


def test_root_mean_square(tmp_path: Path) -> None:
    nodes = [
        node("Pow", ["x", "two"], ["q"]),
        node("ReduceMean", ["q"], ["m"], axes=[-1]),
        node("Add", ["m", "eps"], ["e"]),
        node("Sqrt", ["e"], ["r"]),
        node("Div", ["x", "r"], ["n"]),
        node("Mul", ["n", "gamma"], ["y"]),
    ]
    made = model(nodes, ["N", *TOKENS[1:]], used(nodes, gamma=RNG.normal(size=8).astype(np.float32)), opset=13)
    graph = load(made, tmp_path)
    assert [step.op for step in graph.nodes if step.op != "Reshape"] == ["RMSNormalization"]
    np.testing.assert_allclose(run_graph(graph, T[:, None]), run(made, T), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("clipped", [True, False])
def test_length(clipped: bool, tmp_path: Path) -> None:
    """As PyTorch's normalize is exported, and as written by hand."""
    nodes = [node("ReduceL2", ["x"], ["l"], axes=[1], keepdims=1)]
    nodes += [node("Clip", ["l", "tiny"], ["c"])] if clipped else []
    nodes += [node("Shape", ["x"], ["s"]), node("Expand", ["c" if clipped else "l", "s"], ["e"])]
    nodes += [node("Div", ["x", "e"], ["y"])]
    made = model(nodes, ["N", *SHAPE[1:]], used(nodes), opset=13)
    graph = load(made, tmp_path)
    assert [step.op for step in graph.nodes] == ["L2Normalize"]
    np.testing.assert_allclose(run_graph(graph, X), run(made, X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shifted", [True, False])
def test_softmax_of_parts(shifted: bool, tmp_path: Path) -> None:
    first = [node("ReduceMax", ["x"], ["m"], axes=[3]), node("Sub", ["x", "m"], ["d"])] if shifted else []
    nodes = [
        *first,
        node("Exp", ["d" if shifted else "x"], ["e"]),
        node("ReduceSum", ["e", "last"], ["s"]),
        node("Div", ["e", "s"], ["p"]),
        node("Mul", ["p", "x"], ["y"]),
    ]
    made = model(nodes, ["N", *SHAPE[1:]], {"last": np.array([3])}, opset=13)
    graph = load(made, tmp_path)
    assert [step.op for step in graph.nodes] == ["Softmax", "Mul"]
    np.testing.assert_allclose(run_graph(graph, X), run(made, X), rtol=1e-5, atol=1e-6)


def test_group_norm_around_an_instance_norm(tmp_path: Path) -> None:
    """As PyTorch's older exporter writes it."""
    nodes = [
        node("Reshape", ["x", "groups"], ["r"]),
        node("InstanceNormalization", ["r", "ones", "zeros"], ["i"], epsilon=1e-3, name="norm"),
        node("Reshape", ["i", "back"], ["b"]),
        node("Mul", ["b", "gamma"], ["g"]),
        node("Add", ["g", "beta"], ["y"]),
    ]
    gamma, beta = (RNG.normal(size=(4, 1, 1)).astype(np.float32) for _ in range(2))
    constants = {
        "groups": np.array([0, 2, -1]),
        "back": np.array([-1, *SHAPE[1:]]),
        "ones": np.array([1.5, 0.5], np.float32),
        "zeros": np.array([0.1, -0.2], np.float32),
    }
    made = model(nodes, ["N", *SHAPE[1:]], constants | {"gamma": gamma, "beta": beta})
    graph = load(made, tmp_path)
    assert [(step.op, step.name) for step in graph.nodes] == [("GroupNormalization", "norm")]
    np.testing.assert_allclose(run_graph(graph, X), run(made, X), rtol=1e-4, atol=1e-5)


def affine(op: str, *values: str) -> list[onnx.NodeProto]:
    """A layer h, then a factor and a shift per channel."""
    layer = {
        "Conv": node("Conv", ["x", "w", "b"], ["h"], name="layer", pads=[1, 1, 1, 1]),
        "Gemm": node("Gemm", ["f", "v", "c"], ["h"], name="layer", transB=1),
        "BatchNormalization": node("BatchNormalization", ["x", "p", "q", "p", "s"], ["h"], name="layer"),
    }[op]
    flat = [node("Flatten", ["x"], ["f"])] if op == "Gemm" else []
    return [*flat, layer, node("Mul", ["h", "gamma"], ["g"]), node("Sub", ["beta", "g"], ["y"])]


@pytest.mark.parametrize("op", ["Conv", "Gemm", "BatchNormalization"])
def test_layers_take_up_factors_and_shifts(op: str, tmp_path: Path) -> None:
    nodes = affine(op)
    spread = (4,) if op == "Gemm" else (4, 1, 1)
    constants = {
        "w": RNG.normal(size=(4, 4, 3, 3)),
        "b": RNG.normal(size=4),
        "v": RNG.normal(size=(4, 120)),
        "c": RNG.normal(size=4),
        "p": RNG.normal(size=4),
        "q": RNG.normal(size=4),
        "s": RNG.uniform(0.5, 2, 4),
        "gamma": RNG.normal(size=spread),
        "beta": RNG.normal(size=spread),
    }
    made = model(nodes, ["N", *SHAPE[1:]], {name: value.astype(np.float32) for name, value in constants.items()})
    graph = load(made, tmp_path)
    assert [step.op for step in graph.nodes if step.op != "Flatten"] == [op]
    np.testing.assert_allclose(run_graph(graph, X), run(made, X), rtol=1e-4, atol=1e-4)


def test_a_dense_layer_of_two_operators(tmp_path: Path) -> None:
    """A product with weights and a sum, and a scale per feature behind them."""
    nodes = [
        node("MatMul", ["x", "w"], ["m"], name="fc"),
        node("Add", ["b", "m"], ["a"]),
        node("Mul", ["a", "g"], ["y"]),
    ]
    constants = {"w": RNG.normal(size=(5, 9)), "b": RNG.normal(size=9), "g": RNG.normal(size=9)}
    made = model(nodes, ["N", *SHAPE[1:]], {name: value.astype(np.float32) for name, value in constants.items()})
    graph = load(made, tmp_path)
    assert [(step.op, step.name, len(step.inputs)) for step in graph.nodes] == [("MatMul", "fc", 3)]
    np.testing.assert_allclose(run_graph(graph, X), run(made, X), rtol=1e-4, atol=1e-4)


def test_normalisation_inside_the_network(tmp_path: Path) -> None:
    """(x / 255 − mean) / deviation in front of the first layer is one affine layer; zeros around it stay zeros."""
    nodes = [
        node("Div", ["x", "white"], ["u"]),
        node("Sub", ["u", "mean"], ["c"]),
        node("Div", ["c", "deviation"], ["n"]),
        node("Conv", ["n", "w"], ["y"], pads=[1, 1, 1, 1]),
    ]
    constants = {
        "white": scalar(255),
        "mean": RNG.uniform(size=(1, 4, 1, 1)).astype(np.float32),
        "deviation": RNG.uniform(0.2, 0.3, (1, 4, 1, 1)).astype(np.float32),
        "w": RNG.normal(size=(3, 4, 3, 3)).astype(np.float32),
    }
    made = model(nodes, ["N", *SHAPE[1:]], constants)
    graph = load(made, tmp_path)
    assert [step.op for step in graph.nodes] == ["BatchNormalization", "Conv"]
    x = RNG.uniform(0, 255, SHAPE).astype(np.float32)
    np.testing.assert_allclose(run_graph(graph, x), run(made, x), rtol=1e-4, atol=1e-4)


def test_a_layer_two_operators_read_takes_up_nothing(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["h"], name="conv"),
        node("Add", ["h", "b"], ["a"]),
        node("Mul", ["a", "h"], ["y"]),
    ]
    constants = {"w": RNG.normal(size=(3, 4, 3, 3)), "b": RNG.normal(size=(3, 1, 1))}
    made = model(nodes, ["N", *SHAPE[1:]], {name: value.astype(np.float32) for name, value in constants.items()})
    graph = load(made, tmp_path)
    assert len(graph.node("conv").inputs) == 2
    np.testing.assert_allclose(run_graph(graph, X), run(made, X), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "kept"),
    [
        (node("Conv", ["p", "w"], ["y"], strides=[2, 2]), False),
        (node("Conv", ["p", "w"], ["y"], pads=[1, 0, 0, 1]), False),
        (node("AveragePool", ["p"], ["y"], kernel_shape=[4, 4]), False),
        (node("MaxPool", ["p"], ["y"], kernel_shape=[4, 4]), True),
    ],
)
def test_zeros_around_an_image(layer: onnx.NodeProto, kept: bool, tmp_path: Path) -> None:
    """What may take them up, does; a maximum over zeros is another than one over nothing."""
    constants = {"pads": np.array([0, 0, 2, 0, 0, 0, 1, 3]), "w": RNG.normal(size=(3, 4, 3, 3)).astype(np.float32)}
    nodes = [node("Pad", ["x", "pads"], ["p"]), layer]
    made = model(
        nodes, ["N", *SHAPE[1:]], {name: constants[name] for name in constants if name != "w" or "w" in layer.input}
    )
    graph = load(made, tmp_path)
    assert ("Pad" in {step.op for step in graph.nodes}) == kept
    np.testing.assert_allclose(run_graph(graph, X), run(made, X), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.__name__)
@pytest.mark.parametrize("name", ["vit_old", "mobilenet_v3_old", "swin_old", "convnext_old", "densenet_new"])
def test_every_pattern_keeps_the_scores(
    name: str, pattern: Callable[[Graph], Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each on its own, on every kind of network, before any of the others."""
    monkeypatch.setattr(loader, "recognise", lambda graph: graph)
    path = FIXTURES / f"{name}.onnx"
    plain = loader.load_onnx(path).graph
    x = RNG.normal(size=(2, 3, 24, 18)).astype(np.float32)
    wanted = run_graph(plain, x)
    np.testing.assert_allclose(run_graph(pattern(plain), x), wanted, rtol=1e-5, atol=1e-6)
    assert patterns.recognise(plain).output == plain.output
