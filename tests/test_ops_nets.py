"""Whole networks of operators: relevance is conserved, a transformer agrees with its derivative form, gradients are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lrptool.engine import Program, canonise, initial_relevance
from lrptool.graph import Graph
from lrptool.ops import known_operators, operator
from lrptool.rules import Composite, Match, Row, Rule
from tests.nets import Net

PATCHES, TOKENS, WIDTH, HEADS = 6, 7, 12, 3


def gated() -> Graph:
    """Inverted bottlenecks with squeeze and excitation, hard and soft; a shortcut; a channel shuffle."""
    net = Net((3, 8, 10), seed=3)
    h = net.add("HardSwish", "act1", net.conv("conv1", "x", 8))
    g = net.add(
        "Relu",
        "se/relu",
        net.conv("se/down", net.add("GlobalAveragePool", "se/mean", h), 4, kernel=(1, 1), pads=(0,) * 4),
    )
    g = net.add("HardSigmoid", "se/gate", net.conv("se/up", g, 8, kernel=(1, 1), pads=(0,) * 4), alpha=0.2, beta=0.5)
    h = net.add("Sum", "add", h, net.add("Mul", "se/scale", h, g))
    h = net.add("Reshape", "shuffle/1", h, shape=(2, 4, 8, 10))
    h = net.add("Transpose", "shuffle/2", h, perm=(0, 2, 1, 3, 4))
    h = net.add("Swish", "act2", net.conv("conv2", net.add("Reshape", "shuffle/3", h, shape=(8, 8, 10)), 9), beta=1.0)
    spread = net.add(
        "Expand", "gate/wide", net.add("ReduceMean", "gate/mean", h, axes=(2, 3), keepdims=1), shape=(9, 8, 10)
    )
    h = net.add("Mul", "gate/scale", net.add("Sigmoid", "gate/sigmoid", spread), h)
    return net.finish(net.dense("fc", net.flatten("flat", net.add("GlobalAveragePool", "mean", h)), 5))


def normalised() -> Graph:
    """Every normalisation, with no shift; clipped, bent and learned activations."""
    net = Net((4, 8, 10), seed=4)
    zeros, ones = np.zeros(8), np.linspace(0.5, 1.5, 8)
    scale, shift = net.builder.constant("scale", ones), net.builder.constant("shift", zeros)
    h = net.add("L2Normalize", "l2", net.conv("conv1", "x", 8), scale, axes=(1,), epsilon=1e-6)
    h = net.add("PRelu", "prelu", h, net.builder.constant("slopes", np.full((8, 1, 1), 0.25)))
    h = net.add("InstanceNormalization", "instance", net.conv("conv2", h, 8), scale, shift, epsilon=1e-3)
    h = net.add("Clip", "relu6", h, min=0.0, max=6.0)
    h = net.add("GroupNormalization", "group", net.conv("conv3", h, 8), scale, shift, num_groups=2, epsilon=1e-3)
    h = net.add("Mish", "mish", h)
    h = net.add("MVN", "mvn", net.conv("conv4", h, 6), axes=(1, 2, 3), normalize_variance=1, epsilon=1e-6)
    h = net.add("Elu", "elu", h, alpha=1.0)
    return net.finish(net.dense("fc", net.flatten("flat", net.max_pool("pool", h)), 5))


def moved() -> Graph:
    """Padding by mirror, up and down again, cuts, a learned upsampling, halves that go their own ways."""
    net = Net((4, 6, 8), seed=5)
    net.builder.add("Split", "split", ("x",), ("left", "right"), axis=1, split=(1, 3))
    h = net.add("Pad", "pad", "right", pads=(0, 0, 1, 2, 0, 0, 1, 2), mode="reflect", value=0.0)
    h = net.relu("relu1", net.conv("conv1", h, 48, pads=(0,) * 4))
    h = net.add("DepthToSpace", "up", h, blocksize=2, mode="CRD")
    h = net.add("SpaceToDepth", "down", h, blocksize=2)
    h = net.add("Slice", "cut", h, starts=(0, 1), ends=(6, 8), axes=(2, 3), steps=(1, 1))
    w = net.builder.constant("deconv/weight", np.random.default_rng(6).normal(size=(48, 3, 3, 3)))
    h = net.add("ConvTranspose", "deconv", h, w, kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1),
                dilations=(1, 1), output_padding=(1, 0), group=1)  # fmt: skip
    h = net.relu("relu2", h)
    h = net.add("Resize", "interp", h, mode="linear", coordinate_transformation_mode="align_corners",
                nearest_mode="floor", scales=(1.0,) * 4, sizes=(1, 3, 6, 8))  # fmt: skip
    left = net.add("Tile", "tile", "left", repeats=(1, 3, 1, 1))
    h = net.add("Sum", "difference", h, left, coefficients=(1.0, -1.0))
    h = net.relu("relu3", net.conv("conv2", net.add("Abs", "abs", h), 5))
    h = net.add("ReduceSum", "total", net.add("Gather", "gather", h, axis=2, indices=(1, 4, 1), indices_shape=(3,)),
                axes=(2, 3), keepdims=0)  # fmt: skip
    return net.finish(net.dense("fc", h, 5))


def composite(name: str) -> Composite:
    """A preset, with the rules of dense layers and convolutions for their relatives."""
    preset = Composite.load(name)
    rules = {op: row.rule for row in preset.rows for op in row.match.op}
    return preset.prepend([Row(Match(op=("ConvTranspose",)), rules["Conv"]), Row(Match(op=("MatMul",)), rules["Gemm"])])


@pytest.mark.parametrize("name", ["epsilon-plus", "epsilon-alpha2-beta1"])
@pytest.mark.parametrize("build", [gated, normalised, moved], ids=lambda build: build.__name__)
def test_relevance_is_conserved(build: Any, name: str) -> None:
    graph = canonise(build())
    program = Program(graph, composite(name), threads=1)
    x = np.random.default_rng(1).uniform(0.1, 1, (2, *graph.input.item_shape)).astype(np.float32)
    activations = program.forward(x)
    scores = activations[graph.output]
    start = initial_relevance(scores, scores.argmax(1))
    found = program.backward(activations, start)["x"]
    np.testing.assert_allclose(found.reshape(2, -1).sum(1, dtype=float), start.sum(1), rtol=1e-3)
    assert all(np.count_nonzero(item) > item.size / 4 for item in found)


def transformer(seed: int = 7) -> tuple[Graph, dict[str, np.ndarray]]:
    """One block of a vision transformer: patches, a class token, places, attention, a dense part; and its weights."""
    net, random = Net((3, 4, 6), seed=seed), np.random.default_rng(seed)
    shapes = {
        "token": (1, 1, WIDTH), "place": (1, TOKENS, WIDTH), "q": (WIDTH, WIDTH), "k": (WIDTH, WIDTH),
        "v": (WIDTH, WIDTH), "o": (WIDTH, WIDTH), "ob": (WIDTH,), "up": (WIDTH, 20), "upb": (20,),
        "down": (20, WIDTH), "g1": (WIDTH,), "b1": (WIDTH,), "g2": (WIDTH,), "b2": (WIDTH,),
    }  # fmt: skip
    w = {key: random.normal(size=shape) / math.sqrt(4) for key, shape in shapes.items()}
    w["patch"] = random.normal(size=(WIDTH, 3, 2, 2)) / 3
    w["head"] = random.normal(size=(5, WIDTH))
    const = {key: net.builder.constant(key, value) for key, value in w.items() if key not in ("patch", "head")}

    def heads(name: str, x: str, perm: tuple[int, ...]) -> str:
        made = net.add("Reshape", f"{name}/heads", net.add("MatMul", name, x, const[name[-1]]),
                       shape=(TOKENS, HEADS, WIDTH // HEADS))  # fmt: skip
        return net.add("Transpose", f"{name}/turned", made, perm=perm)

    h = net.conv("patches", "x", w["patch"], strides=(2, 2), pads=(0,) * 4)
    h = net.add("Transpose", "tokens", net.add("Reshape", "rows", h, shape=(WIDTH, PATCHES)), perm=(0, 2, 1))
    h = net.add("Sum", "placed", net.add("Concat", "with-token", const["token"], h, axis=1), const["place"])
    n = net.add("LayerNormalization", "norm1", h, const["g1"], const["b1"], axis=-1, epsilon=1e-5)
    scores = net.add("BilinearMatMul", "qk", heads("att/q", n, (0, 2, 1, 3)), heads("att/k", n, (0, 2, 3, 1)))
    scaled = net.add("Mul", "scaled", scores, net.builder.constant("scale", np.array([0.5])))
    mixed = net.add("BilinearMatMul", "av", net.add("Softmax", "softmax", scaled, axis=-1),
                    heads("att/v", n, (0, 2, 1, 3)))  # fmt: skip
    joined = net.add("Reshape", "joined", net.add("Transpose", "back", mixed, perm=(0, 2, 1, 3)), shape=(TOKENS, WIDTH))
    h = net.add("Sum", "add1", h, net.add("MatMul", "att/o", joined, const["o"], const["ob"]))
    n = net.add("LayerNormalization", "norm2", h, const["g2"], const["b2"], axis=-1, epsilon=1e-5)
    m = net.add("Gelu", "gelu", net.add("MatMul", "mlp/up", n, const["up"], const["upb"]), approximate="none")
    h = net.add("Sum", "add2", h, net.add("MatMul", "mlp/down", m, const["down"]))
    token = net.add("Gather", "class", h, axis=1, indices=(0,), indices_shape=())
    return net.finish(net.dense("head", token, w["head"])), w


def derivative_form(x: np.ndarray, w: dict[str, np.ndarray], target: int) -> np.ndarray:
    """The rules of Achtibat et al. 2024 as input times a changed derivative, for one image (3, 4, 6).

    With ε = 0, relevance of a tensor is its value times g, where g goes back as the derivative does but for: spreads of
    layer norms are constants; a Gelu hands on g y / x; each factor of a product of two tensors gets half.
    """

    def normal(h: np.ndarray, k: str) -> tuple[np.ndarray, np.ndarray]:
        spread = np.sqrt(h.var(-1, keepdims=True) + 1e-5)
        return (h - h.mean(-1, keepdims=True)) / spread * w[f"g{k}"] + w[f"b{k}"], spread

    def normal_back(g: np.ndarray, spread: np.ndarray, k: str) -> np.ndarray:
        g = g * w[f"g{k}"] / spread
        return g - g.mean(-1, keepdims=True)

    patches = x.reshape(3, 2, 2, 3, 2).transpose(1, 3, 0, 2, 4).reshape(PATCHES, 12)
    h0 = np.concatenate([w["token"][0], patches @ w["patch"].reshape(WIDTH, 12).T]) + w["place"][0]
    n1, spread1 = normal(h0, "1")
    size = WIDTH // HEADS
    q, k, v = ((n1 @ w[key]).reshape(TOKENS, HEADS, size).swapaxes(0, 1) for key in "qkv")
    a = np.exp(0.5 * q @ k.swapaxes(1, 2))
    a /= a.sum(-1, keepdims=True)
    joined = (a @ v).swapaxes(0, 1).reshape(TOKENS, WIDTH)
    h1 = h0 + joined @ w["o"] + w["ob"]
    n2, spread2 = normal(h1, "2")
    u = n2 @ w["up"] + w["upb"]
    phi = 0.5 * (1 + np.vectorize(math.erf)(u / math.sqrt(2)))

    g = np.zeros((TOKENS, WIDTH))
    g[0] = w["head"][target]
    g = g + normal_back((g @ w["down"].T * phi) @ w["up"].T, spread2, "2")
    mixed = (g @ w["o"].T).reshape(TOKENS, HEADS, size).swapaxes(0, 1)
    ga, gv = mixed @ v.swapaxes(1, 2) / 2, a.swapaxes(1, 2) @ mixed / 2
    gs = a * (ga - (a * ga).sum(-1, keepdims=True)) * 0.5 / 2
    gq, gk = gs @ k, gs.swapaxes(1, 2) @ q
    into = sum(part.swapaxes(0, 1).reshape(TOKENS, WIDTH) @ w[key].T for part, key in ((gq, "q"), (gk, "k"), (gv, "v")))
    g = g + normal_back(into, spread1, "1")
    pixels = g[1:] @ w["patch"].reshape(WIDTH, 12)
    return x * pixels.reshape(2, 3, 3, 2, 2).transpose(2, 0, 3, 1, 4).reshape(3, 4, 6)


def test_a_transformer_agrees_with_the_derivative_form() -> None:
    graph, weights = transformer()
    exact = ["Conv", "Gemm", "MatMul", "Sum"]
    others = {"LayerNormalization": "detached", "BilinearMatMul": "attnlrp"}
    rows = [Row(Match(op=tuple(exact)), Rule.of("epsilon", epsilon=0))]
    rows += [Row(Match(op=(op,)), Rule.of(rule, epsilon=0)) for op, rule in others.items()]
    program = Program(canonise(graph), Composite("exact", tuple(rows)), threads=1)
    x = np.random.default_rng(8).normal(size=(2, 3, 4, 6)).astype(np.float32)
    activations = program.forward(x)
    scores = activations[graph.output]
    found = program.backward(activations, initial_relevance(scores, np.array([1, 3])))["x"]
    for image, relevance, target in zip(x.astype(float), found, (1, 3), strict=True):
        wanted = derivative_form(image, weights, target)
        np.testing.assert_allclose(relevance, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_with_constant_attention_queries_and_keys_get_nothing() -> None:
    graph, _ = transformer()
    rows = [Row(Match(op=("Conv", "Gemm", "MatMul")), Rule.of("epsilon"))]
    rows += [Row(Match(op=("Softmax",)), Rule.of("cp-lrp")), Row(Match(name=("av",)), Rule.of("cp-lrp"))]
    program = Program(canonise(graph), Composite("cp", tuple(rows)), threads=1)
    activations = program.forward(np.random.default_rng(8).normal(size=(1, 3, 4, 6)).astype(np.float32))
    relevance = initial_relevance(activations[graph.output], np.array([2]))
    kept = program.backward(activations, relevance, keep=("av", "softmax", "att/q", "att/v"))
    assert not kept["softmax"].any()
    assert not kept["att/q"].any()
    np.testing.assert_allclose(kept["att/v"].sum(), kept["av"].sum(), rtol=1e-3)


def test_every_operator_has_a_derivative() -> None:
    """So that the composites of gradient methods hold for whole networks."""
    linear = {
        "Conv",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "AveragePool",
        "GlobalAveragePool",
        "Sum",
        "BatchNormalization",
    }
    linear |= {"ReduceMean", "ReduceSum"}
    for op in known_operators():
        assert ("gradient" in operator(op).treatments) != (op in linear)
