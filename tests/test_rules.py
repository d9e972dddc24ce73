"""Every share rule on every kind of layer against the textbook; the kernels under random geometry."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrptool.engine import ShareStep
from lrptool.engine.shares import reads_input, reads_output
from lrptool.errors import ConfigError
from lrptool.kernels import Geometry
from lrptool.ops import LinearMap, WeightKind, WeightPart
from lrptool.ops.conv import ConvMap
from lrptool.ops.dense import DenseMap
from lrptool.rules import CATALOGUE, Rule
from tests import oracle

ALL = WeightPart("all")
TOLERANCES = {np.float64: 1e-9, np.float32: 1e-5}
dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
fuzz = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Layer:
    """A layer with its data; ``geometry`` is None for a dense one. The oracle's convolution gives it its shape."""

    x: np.ndarray
    w: np.ndarray
    b: np.ndarray | None
    geometry: Geometry | None
    r: np.ndarray

    @classmethod
    def dense(cls, seed: int, batch: int, inside: int, out: int, *, bias: bool = True) -> Layer:
        random = np.random.default_rng(seed)
        x, w = random.normal(size=(batch, inside)), random.normal(size=(out, inside))
        return cls(x, w, random.normal(size=out) if bias else None, None, random.normal(size=(batch, out)))

    @classmethod
    def conv(
        cls,
        seed: int,
        x_shape: tuple[int, int, int, int],
        out: int,
        kernel: tuple[int, int],
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilations: tuple[int, int] = (1, 1),
        group: int = 1,
        *,
        bias: bool = True,
    ) -> Layer:
        random = np.random.default_rng(seed)
        x, w = random.normal(size=x_shape), random.normal(size=(out, x_shape[1] // group, *kernel))
        y = oracle.conv2d(x, w, strides=strides, pads=pads, dilations=dilations, group=group)
        geometry = Geometry(x_shape[2:], y.shape[2:], kernel, strides, pads, dilations, group)
        return cls(x, w, random.normal(size=out) if bias else None, geometry, random.normal(size=y.shape))

    def apply(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The oracle's layer, without bias."""
        g = self.geometry
        if g is None:
            return x @ w.T
        return oracle.conv2d(x, w, strides=g.strides, pads=g.pads, dilations=g.dilations, group=g.group)

    def matrix(self, w: np.ndarray) -> np.ndarray:
        return oracle.dense_matrix(lambda x: self.apply(x, w), self.x.shape[1:])

    @functools.cached_property
    def W(self) -> np.ndarray:
        """The layer as a matrix."""
        return self.matrix(self.w)

    @functools.cached_property
    def connected(self) -> np.ndarray:
        """The same with every weight 1."""
        return self.matrix(np.ones_like(self.w))

    def per_output(self, b: np.ndarray) -> np.ndarray:
        """One number per channel, for every output of an item, flattened."""
        return np.broadcast_to(b.reshape(-1, *[1] * (self.r.ndim - 2)), self.r.shape[1:]).ravel()

    def linear(self, dtype: type) -> LinearMap:
        w, b = (None if a is None else a.astype(dtype) for a in (self.w, self.b))
        return DenseMap(w, b) if self.geometry is None else ConvMap(lambda: w, b, self.geometry)

    def z(self, linear: LinearMap, x: np.ndarray) -> np.ndarray:
        z = linear.forward([x], ALL)
        bias = linear.bias(ALL, z)
        return z if bias is None else z + bias


ODD = {"kernel": (3, 2), "strides": (2, 1), "pads": (1, 0, 2, 1)}
LAYERS = {
    "dense": Layer.dense(1, 2, 7, 5),
    "dense-nobias": Layer.dense(2, 3, 4, 6, bias=False),
    "conv": Layer.conv(3, (2, 3, 7, 6), 5, **ODD),
    "conv-nobias": Layer.conv(4, (2, 3, 7, 6), 5, **ODD, bias=False),
    "conv-groups": Layer.conv(5, (2, 4, 7, 6), 6, **ODD, group=2),
    "conv-dilated": Layer.conv(6, (2, 3, 7, 6), 5, **ODD, dilations=(1, 3)),
    "conv-depthwise": Layer.conv(7, (2, 3, 7, 6), 6, **ODD, dilations=(2, 1), group=3),
    "conv-stride-beyond-kernel": Layer.conv(8, (2, 3, 7, 6), 5, (1, 2), (3, 4), (0, 1, 1, 0)),
}
LOW, HIGH = -4.0, 4.5

Oracle = Callable[..., np.ndarray]
STABILISERS: list[dict[str, Any]] = [
    {"epsilon": 0.25},
    {"epsilon": 0.5, "clip": True},
    {"epsilon": 0.1, "relative": True},
    {"epsilon": 0.3, "clip": True, "relative": True},
]
# rule, its parameters, and the oracle's function (W, x, b, R) with the parameters it shares with no other rule
RULES: list[tuple[str, dict[str, Any], Oracle]] = [
    ("epsilon", {"epsilon": 0.05}, oracle.epsilon),
    *[("epsilon", stabiliser, oracle.epsilon) for stabiliser in STABILISERS],
    ("zplus", {}, oracle.zplus),
    ("zplus", STABILISERS[3], oracle.zplus),
    ("zplus-literal", {"epsilon": 0.25}, oracle.zplus_literal),
    ("alpha-beta", {"alpha": 2, "beta": 1}, functools.partial(oracle.alpha_beta, alpha=2, beta=1)),
    ("alpha-beta", {"alpha": 1, "beta": 0}, functools.partial(oracle.alpha_beta, alpha=1, beta=0)),
    ("alpha-beta", {"alpha": 0, "beta": -1}, functools.partial(oracle.alpha_beta, alpha=0, beta=-1)),
    ("alpha-beta", {"alpha": 1.5, "beta": 0.5}, functools.partial(oracle.alpha_beta, alpha=1.5, beta=0.5)),
    ("gamma", {"gamma": 0.25, "epsilon": 0.01}, functools.partial(oracle.gamma, gamma=0.25)),
    ("gamma", {"gamma": 3, **STABILISERS[1]}, functools.partial(oracle.gamma, gamma=3)),
    ("gamma-literal", {"gamma": 0.5, "epsilon": 0.25}, functools.partial(oracle.gamma_literal, gamma=0.5)),
    ("zbox", {"low": LOW, "high": HIGH}, functools.partial(oracle.zbox, low=LOW, high=HIGH)),
    ("wsquare", {"bias": True}, oracle.wsquare),
    ("wsquare", {}, oracle.wsquare),
    ("flat", {}, oracle.flat),
    ("flat", {"epsilon": 0.25}, oracle.flat),
    ("gradient", {}, oracle.gradient),
    ("proportion", {"bias": False, "epsilon": 0.25}, oracle.proportion),
]
WITHOUT_BIAS = [
    (name, {**parameters, "bias": False}, function)
    for name, parameters, function in RULES
    if name in ("epsilon", "zplus", "zplus-literal", "alpha-beta", "gamma", "gamma-literal")
    and (name not in ("epsilon", "gamma") or parameters["epsilon"] >= 0.25)
]


def expected(layer: Layer, x: np.ndarray, rule: Rule, function: Oracle) -> np.ndarray:
    """The textbook's relevance, item by item."""
    W, R = layer.W, layer.r.reshape(len(layer.r), -1)
    bias = None if layer.b is None else layer.per_output(layer.b)
    b = bias if not rule.takes("bias") or rule["bias"] else None
    more: dict[str, Any] = {key: rule[key] for key in ("epsilon", "clip", "relative") if rule.takes(key)}
    if rule.name == "flat":
        more["connected"] = layer.connected
    if rule.name == "gamma":
        more["sign_bias"] = bias
    return np.stack([function(W, xn, b, Rn, **more) for xn, Rn in zip(x.reshape(len(x), -1), R, strict=True)]).reshape(
        x.shape
    )


def close(actual: np.ndarray, wanted: np.ndarray, dtype: type) -> None:
    assert actual.dtype == dtype
    assert actual.shape == wanted.shape
    assert np.abs(actual - wanted).max() <= TOLERANCES[dtype] * np.abs(wanted).max()


def frozen(*arrays: np.ndarray | None) -> list[np.ndarray]:
    """Copies nobody can write to."""
    copies = [array.copy() for array in arrays if array is not None]
    for copy in copies:
        copy.flags.writeable = False
    return copies


def test_every_share_rule_is_tried() -> None:
    assert {name for name, _, _ in RULES} == {name for name in CATALOGUE if Rule.of(name).shares}


@dtypes
@pytest.mark.parametrize("sign", ["mixed", "nonnegative"])
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize(
    ("name", "parameters", "function"),
    RULES + WITHOUT_BIAS,
    ids=[str(Rule.of(name, **parameters)).replace(" ", "") for name, parameters, _ in RULES + WITHOUT_BIAS],
)
def test_rule_on_layer(
    name: str, parameters: dict[str, Any], function: Oracle, layer: Layer, sign: str, dtype: type
) -> None:
    rule, linear = Rule.of(name, **parameters), layer.linear(dtype)
    shape = [layer.x.shape[1:]]
    x = np.maximum(layer.x, 0) if sign == "nonnegative" else layer.x
    wanted = expected(layer, x, rule, function)
    xs, z, r = frozen(x.astype(dtype), layer.z(linear, x.astype(dtype)), layer.r.astype(dtype))
    general = ShareStep(rule, linear, shape, nonnegative=False)
    (relevance,) = general([xs], z, r)
    close(relevance, wanted, dtype)
    # what a step says it does not read it does not need
    needed = [xs] if reads_input(general.shares) else []
    (again,) = general(needed, z if reads_output(general.shares) else None, r)
    np.testing.assert_array_equal(again, relevance)
    if sign == "nonnegative":
        (short,) = ShareStep(rule, linear, shape, nonnegative=True)([xs], z, r)
        close(short, wanted, dtype)


@pytest.mark.parametrize("factor", [2.0, -0.5, 0.0])
@pytest.mark.parametrize("name", sorted({name for name, _, _ in RULES}))
def test_scaling_relevance_scales_its_shares_exactly(name: str, factor: float) -> None:
    layer = LAYERS["conv"]
    linear = layer.linear(np.float64)
    z = layer.z(linear, layer.x)
    step = ShareStep(Rule.of(name), linear, [layer.x.shape[1:]], nonnegative=False, bounds=(LOW, HIGH))
    once, scaled = (step([layer.x], z, r)[0] for r in (layer.r, layer.r * factor))
    # powers of two: no rounding
    np.testing.assert_array_equal(scaled, once * factor)
    assert np.abs(once).max() > 0


@pytest.mark.parametrize(("alpha", "beta", "wanted"), [(1, 0, [-1, 0]), (2, 1, [-2, 0.5])])
def test_bias_belongs_to_the_share_of_its_sign(alpha: float, beta: float, wanted: list[float]) -> None:
    linear = DenseMap(np.array([[1.0, -1.0]]), np.array([-1.0]))
    step = ShareStep(Rule.of("alpha-beta", alpha=alpha, beta=beta, epsilon=0), linear, [(2,)], nonnegative=True)
    np.testing.assert_array_equal(step([np.ones((1, 2))], np.array([[-1.0]]), np.array([[-1.0]]))[0], [wanted])


def test_zero_counts_as_positive_in_the_stabiliser_and_as_neither_in_gamma() -> None:
    linear, x = DenseMap(np.array([[1.0, -1.0]]), None), np.array([[1.0, 1.0]])
    z, r = np.array([[0.0]]), np.array([[3.0]])
    (relevance,) = ShareStep(Rule.of("epsilon", epsilon=0.5), linear, [(2,)], nonnegative=True)([x], z, r)
    np.testing.assert_array_equal(relevance, [[6, -6]])
    (relevance,) = ShareStep(Rule.of("gamma", gamma=1), linear, [(2,)], nonnegative=True)([x], z, r)
    np.testing.assert_array_equal(relevance, [[0, 0]])


def test_zbox_takes_bounds_of_its_own_before_those_of_the_preprocessing() -> None:
    layer = LAYERS["conv"]
    linear, shape = layer.linear(np.float64), [layer.x.shape[1:]]
    low, high = np.array([-4.0, -5.0, -6.0]), np.array([4.0, 6.0, 5.0])
    given = (low[:, None, None], high[:, None, None])
    per_input = {key: np.repeat(bound, layer.x[0, 0].size) for key, bound in (("low", low), ("high", high))}
    wanted = expected(layer, layer.x, Rule.of("zbox"), functools.partial(oracle.zbox, **per_input))
    for rule, bounds in ((Rule.of("zbox"), given), (Rule.of("zbox", low=low.tolist(), high=high.tolist()), (0.0, 0.0))):
        step = ShareStep(rule, linear, shape, nonnegative=False, bounds=bounds)
        close(step([layer.x], layer.z(linear, layer.x), layer.r)[0], wanted, np.float64)
    with pytest.raises(ConfigError, match="smallest and largest value of a pixel"):
        ShareStep(Rule.of("zbox"), linear, shape, nonnegative=False)


@pytest.mark.parametrize("name", ["flat", "wsquare", "zbox"])
def test_what_a_step_keeps_from_one_batch_serves_the_next(name: str) -> None:
    """Products the picture plays no part in are computed once: they must fit other batches and other dtypes."""
    layer = LAYERS["conv"]
    shape, linear = [layer.x.shape[1:]], layer.linear(np.float64)
    z = layer.z(linear, layer.x)
    rule = Rule.of(name, **({"low": LOW, "high": HIGH} if name == "zbox" else {}))
    fresh, used = (ShareStep(rule, linear, shape, nonnegative=False) for _ in range(2))
    wanted = fresh([layer.x], z, layer.r)[0]
    used([layer.x[:1].astype(np.float32)], z[:1].astype(np.float32), layer.r[:1].astype(np.float32))
    np.testing.assert_array_equal(used([layer.x], z, layer.r)[0], wanted)
    np.testing.assert_array_equal(used([layer.x[1:]], z[1:], layer.r[1:])[0], wanted[1:])


def test_a_rule_that_leaves_nothing_gives_zeros() -> None:
    layer = LAYERS["conv"]
    linear = ConvMap(lambda: -np.abs(layer.w), None, layer.geometry)
    step = ShareStep(Rule.of("zplus"), linear, [(3, 7, 6)], nonnegative=True)
    (relevance,) = step([np.abs(layer.x)], None, layer.r)
    np.testing.assert_array_equal(relevance, np.zeros_like(layer.x))


@st.composite
def convolutions(draw: st.DrawFn) -> Layer:
    """Any geometry that leaves an output."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 4))
    kernel, strides, dilations = draw(pair), draw(pair), draw(pair)
    pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
    group, inside, out = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    sizes = []
    for axis, most in ((0, 7), (1, 9)):
        reach = (kernel[axis] - 1) * dilations[axis] + 1 - pads[axis] - pads[axis + 2]
        sizes.append(draw(st.integers(max(1, reach), max(1, reach) + most)))
    shape = (draw(st.integers(1, 2)), group * inside, *sizes)
    return Layer.conv(draw(st.integers(0, 99)), shape, group * out, kernel, strides, pads, dilations, group)


KINDS: list[WeightKind] = ["all", "pos", "neg", "squared", "one", "gamma-pos", "gamma-neg"]


def part_of(w: np.ndarray, kind: WeightKind, gamma: float) -> np.ndarray:
    return {
        "all": w,
        "pos": oracle.pos(w),
        "neg": oracle.neg(w),
        "squared": w**2,
        "one": np.ones_like(w),
        "gamma-pos": w + gamma * oracle.pos(w),
        "gamma-neg": w + gamma * oracle.neg(w),
    }[kind]


def check_kernels(layer: Layer, kind: WeightKind, dtype: type) -> None:
    """Forward against the oracle; the transpose against its definition, <Wx, s> = <x, Wᵀs>, in every direction x."""
    linear, part, w = layer.linear(dtype), WeightPart(kind, 0.7), part_of(layer.w, kind, 0.7)
    scale = float(np.abs(w).sum()) * max(np.abs(layer.x).max(), np.abs(layer.r).max())
    x, s = frozen(layer.x.astype(dtype), layer.r.astype(dtype))
    y, (t,) = linear.forward([x], part), linear.transpose(s, part)
    assert y.dtype == t.dtype == dtype
    np.testing.assert_allclose(y, layer.apply(layer.x, w), rtol=0, atol=TOLERANCES[dtype] * scale)
    wanted = layer.r.reshape(len(layer.r), -1) @ layer.matrix(w)
    np.testing.assert_allclose(t, wanted.reshape(layer.x.shape), rtol=0, atol=TOLERANCES[dtype] * scale)


@dtypes
@fuzz
@given(layer=convolutions(), kind=st.sampled_from(KINDS))
def test_convolution_kernels_under_any_geometry(dtype: type, layer: Layer, kind: WeightKind) -> None:
    check_kernels(layer, kind, dtype)


@dtypes
@fuzz
@given(
    layer=st.builds(Layer.dense, st.integers(0, 99), st.integers(1, 4), st.integers(1, 40), st.integers(1, 12)),
    kind=st.sampled_from(KINDS),
)
def test_dense_kernels_under_any_shape(dtype: type, layer: Layer, kind: WeightKind) -> None:
    check_kernels(layer, kind, dtype)


@dtypes
def test_kernels_beyond_one_block(dtype: type) -> None:
    """Sizes that cut what a parallel step takes: 256 positions, 1024 dense inputs."""
    check_kernels(Layer.conv(9, (2, 2, 9, 33), 6, (3, 2), (1, 1), (1, 0, 2, 1)), "all", dtype)
    layer = Layer.dense(10, 3, 1030, 9)
    layer.r[:, 4] = 0  # an output without relevance, whose weights are never read
    check_kernels(layer, "gamma-neg", dtype)
