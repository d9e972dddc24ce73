"""The oracle against numbers worked out by hand, against its own definitions, and against other implementations."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests import golden, oracle
from tests.golden import LayerCase

TOLERANCE = 1e-9
A = np.array
LAYER_CASES, STABILISER_CASES = golden.layer_cases(), golden.stabiliser_cases()
needs_golden = pytest.mark.skipif(not LAYER_CASES, reason="reference data (../shared/golden) is not here")


def named(cases: list) -> list:
    """Cases as parameters by name; one stand-in, which a skip mark keeps from running, where there are none."""
    return [pytest.param(case, id=case.id) for case in cases] or [pytest.param(None, id="none")]


def close(actual: np.ndarray, expected: np.ndarray) -> bool:
    """Within TOLERANCE of the largest expected value; NaN is never close."""
    return bool(np.abs(actual - expected).max() <= TOLERANCE * np.abs(expected).max())


W1, X1, B1, R1 = A([[1.0, -1.0]]), A([1.0, 1.0]), A([-1.0]), A([-1.0])
# Products 6, -1 and -12, -1; with the bias z = (6, -15).
W2, X2, B2, R2 = A([[2.0, 1.0], [-4.0, 1.0]]), A([3.0, -1.0]), A([1.0, -2.0]), A([6.0, 30.0])


@pytest.mark.parametrize(
    ("relevance", "expected"),
    [
        pytest.param(oracle.alpha_beta(W1, X1, B1, R1, 1, 0, epsilon=0), [-1, 0], id="alpha1-beta0"),
        pytest.param(oracle.alpha_beta(W1, X1, B1, R1, 2, 1, epsilon=0), [-2, 0.5], id="alpha2-beta1"),
        pytest.param(oracle.zplus(W1, X1, B1, R1, epsilon=0), [-1, 0], id="zplus"),
        # products of positive weights 6 - 1 = 5 and -1, with the bias 6 and -3
        pytest.param(oracle.zplus_literal(W2, X2, B2, R2, epsilon=0), [6, -1 + 10], id="zplus-literal"),
        # fractions 6/6, -1/6 and -12/-15, -1/-15
        pytest.param(oracle.epsilon(W2, X2, B2, R2, epsilon=0), [6 + 24, -1 + 2], id="epsilon"),
        # z + sign(z) 5 = (11, -20)
        pytest.param(oracle.epsilon(W2, X2, B2, R2, epsilon=5), [36 / 11 + 18, -6 / 11 + 1.5], id="epsilon-5"),
        # positive: 6 + bias 1 = 7 for the first output, nothing for the second
        pytest.param(oracle.zplus(W2, X2, B2, R2, epsilon=1e-13), [36 / 7, 0], id="zplus-nothing-positive"),
        # negative: -1 for the first; -12 - 1 + bias -2 = -15 for the second
        pytest.param(
            oracle.alpha_beta(W2, X2, B2, R2, 2, 1, epsilon=1e-13),
            [2 * 36 / 7 - 24, -(6 + 2)],
            id="alpha-beta-both-signs",
        ),
        # z0 > 0: 6*2 - 1 + 1*2 = 13; z1 < 0: (-12 - 1 - 2) * 2 = -30
        pytest.param(oracle.gamma(W2, X2, B2, R2, 1.0, epsilon=0), [72 / 13 + 24, -6 / 13 + 2], id="gamma"),
        # W + W+ = [[4, 2], [-4, 2]], z = 12 - 2 + 1 = 11 and -12 - 2 - 2 = -16
        pytest.param(
            oracle.gamma_literal(W2, X2, B2, R2, 1.0, epsilon=0), [72 / 11 + 22.5, -12 / 11 + 3.75], id="gamma-literal"
        ),
        # low -2, high 4: z0 = 5 - (2*-2 + 1*-2) = 11: (6+4, -1+2); z1 = -13 - (-4*4 + 1*-2) = 5: (-12+16, -1+2)
        pytest.param(oracle.zbox(W2, X2, B2, R2, -2.0, 4.0, epsilon=0), [60 / 11 + 24, 6 / 11 + 6], id="zbox"),
        pytest.param(oracle.wsquare(W2, X2, None, R2, epsilon=0), [4.8 + 480 / 17, 1.2 + 30 / 17], id="wsquare"),
        pytest.param(oracle.wsquare(W2, X2, B2, R2, epsilon=0), [4 + 480 / 21, 1 + 30 / 21], id="wsquare-bias"),
        pytest.param(oracle.flat(W2, X2, B2, R2, A([[1, 1], [0, 1]]), epsilon=0), [3, 33], id="flat"),
        pytest.param(oracle.gradient(W2, X2, B2, R2), [12 - 120, 6 + 30], id="gradient"),
        pytest.param(oracle.proportion(A([[0.5, 0.5]]), A([3, 1]), None, A([8]), epsilon=0), [6, 2], id="proportion"),
    ],
)
def test_rule_gives_the_numbers_worked_out_by_hand(relevance: np.ndarray, expected: list[float]) -> None:
    np.testing.assert_allclose(relevance, expected, rtol=1e-10, atol=1e-10)


def test_gamma_passes_nothing_on_from_an_output_of_exactly_zero() -> None:
    W, x = A([[1.0, -1.0], [2.0, -1.0]]), A([1.0, 1.0])
    # the second output: raised 4 - 1 = 3
    np.testing.assert_allclose(oracle.gamma(W, x, None, A([1.0, 3.0]), 1.0, epsilon=1e-13), [4, -1])


def test_gamma_without_bias_in_its_shares_still_takes_the_sign_of_the_whole_output() -> None:
    # z = 2 - 0.75 - 2 < 0: weights (2, -1) become (2, -2), products 2 and -1.5
    W, x = A([[2.0, -1.0]]), A([1.0, 0.75])
    np.testing.assert_allclose(oracle.gamma(W, x, None, A([1.0]), 1.0, A([-2.0]), epsilon=0), [2 / 0.5, -1.5 / 0.5])


def test_stabiliser_options() -> None:
    z = A([3.0, -4.0, 0.0, -0.0])  # root mean square 2.5
    np.testing.assert_allclose(oracle.stabilise(z, 0.5), [3.5, -4.5, 0.5, 0.5])
    np.testing.assert_allclose(oracle.stabilise(z, 3.5, clip=True), [3.5, -4, 3.5, 3.5])
    np.testing.assert_allclose(oracle.stabilise(z, 0.2, relative=True), [3.5, -4.5, 0.5, 0.5])
    np.testing.assert_allclose(oracle.stabilise(z, 1.4, clip=True, relative=True), [3.5, -4, 3.5, 3.5])


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(oracle.epsilon, id="epsilon"),
        pytest.param(oracle.zplus, id="zplus"),
        pytest.param(functools.partial(oracle.alpha_beta, alpha=3, beta=2), id="alpha-beta"),
        pytest.param(functools.partial(oracle.gamma, gamma=0.5), id="gamma"),
        pytest.param(functools.partial(oracle.gamma_literal, gamma=0.5), id="gamma-literal"),
        pytest.param(functools.partial(oracle.zbox, low=-4.0, high=5.0), id="zbox"),
        pytest.param(oracle.wsquare, id="wsquare"),
        pytest.param(oracle.flat, id="flat"),
    ],
)
def test_without_bias_and_stabiliser_relevance_is_conserved(rule: Callable[..., np.ndarray]) -> None:
    random = np.random.default_rng(0)
    W, x, R = random.normal(size=(4, 9)), random.normal(size=9), random.normal(size=4)
    assert rule(W, x, None, R, epsilon=0.0).sum() == pytest.approx(R.sum(), rel=1e-10)
    assert rule(W, x, None, R, epsilon=0.5).sum() != pytest.approx(R.sum(), rel=1e-3)


def test_convolution_with_every_axis_different() -> None:
    x = np.arange(2 * 2 * 3 * 4, dtype=float).reshape(2, 2, 3, 4)
    w = A([[[[1.0, 10.0]]], [[[100.0, 1000.0]]]])  # one group per channel, kernel 1 x 2
    y = oracle.conv2d(x, w, A([0.5, 0.0]), strides=(2, 1), pads=(1, 0, 0, 2), dilations=(1, 3), group=2)
    assert y.shape == (2, 2, 2, 3)
    # rows -1 and 1; columns 0..2 and three further on, of which only column 3 exists
    np.testing.assert_array_equal(y[0, 0], [[0.5] * 3, [4 + 70 + 0.5, 5.5, 6.5]])
    np.testing.assert_array_equal(y[1, 1, 1], [100 * 40 + 1000 * 43, 4100, 4200])


def test_dense_matrix_is_the_linear_function() -> None:
    random = np.random.default_rng(1)
    x, w = random.normal(size=(3, 4, 7, 6)), random.normal(size=(6, 2, 3, 2))
    conv = functools.partial(oracle.conv2d, w=w, strides=(2, 1), pads=(1, 0, 2, 1), dilations=(1, 2), group=2)
    W = oracle.dense_matrix(conv, x.shape[1:])
    np.testing.assert_allclose((x.reshape(3, -1) @ W.T).reshape(conv(x).shape), conv(x), atol=1e-12)


def test_pooling_in_ceil_mode() -> None:
    x = np.arange(1.0, 21.0).reshape(1, 1, 4, 5)
    shape = {"kernel": (3, 2), "strides": (2, 2), "ceil": True}
    # rows 0-2, 2-3 of 2-4; columns 0-1, 2-3, 4 of 4-5
    np.testing.assert_array_equal(oracle.max_pool(x, **shape)[0, 0], [[12, 14, 15], [17, 19, 20]])
    mean = oracle.average_pool(x, **shape)[0, 0]
    # without padding nothing beyond the image counts: the last window is the mean of 15 and 20
    np.testing.assert_array_equal(mean, [[6.5, 8.5, 10], [14, 16, 17.5]])
    padded = oracle.average_pool(x, kernel=(3, 3), strides=(2, 3), pads=(1, 1, 1, 1), ceil=True)[0, 0]
    # rows -1-1, 1-3, 3-4 of 3-5; columns -1-1, 2-4. The last row's windows end at the padded border: 2 x 3 positions
    np.testing.assert_array_equal(padded[:, 0], [16 / 9, (6 + 7 + 11 + 12 + 16 + 17) / 9, 33 / 6])
    bare = oracle.average_pool(x, kernel=(3, 3), strides=(2, 3), pads=(1, 1, 1, 1), ceil=True, count_pad=False)[0, 0]
    np.testing.assert_array_equal(bare[:, 0], [16 / 4, 69 / 6, 33 / 2])


def test_max_pooling_routes_to_the_first_maximum() -> None:
    x = A([[[[1.0, 5.0, 5.0], [5.0, 2.0, 5.0]]]])
    R = A([[[[10.0, 100.0]]]])
    routed = oracle.max_pool_route(x, R, kernel=(2, 2), strides=(1, 1))
    np.testing.assert_array_equal(routed[0, 0], [[0, 110, 0], [0, 0, 0]])


LRN = {"b": 0.3, "beta": 0.75, "k": 1.5}


def test_lrn_windows() -> None:
    across = oracle.lrn_windows((5, 2, 3), 3).reshape(5, 2, 3, 5, 2, 3)
    assert [list(np.flatnonzero(across[c, 1, 2, :, 1, 2])) for c in (0, 2, 4)] == [[0, 1], [1, 2, 3], [3, 4]]
    assert across[2, 1, 2].sum() == 3
    even = oracle.lrn_windows((5, 1, 1), 4)
    assert list(np.flatnonzero(even[2])) == [1, 2, 3, 4]
    within = oracle.lrn_windows((2, 4, 5), 3, within=True).reshape(2, 4, 5, 2, 4, 5)
    assert np.argwhere(within[1, 0, 2]).tolist() == [[1, y, x] for y in (0, 1) for x in (1, 2, 3)]


def test_lrn_gradient_is_the_slope() -> None:
    random = np.random.default_rng(2)
    windows, x = oracle.lrn_windows((4, 2, 3), 3), random.normal(size=24)
    np.testing.assert_allclose(oracle.lrn(A([2.0, 1.0]), np.ones((2, 2)), **LRN), A([2, 1]) / 3**0.75)
    h = 1e-6 * np.eye(24)
    slope = [(oracle.lrn(x + step, windows, **LRN) - oracle.lrn(x - step, windows, **LRN)) / 2e-6 for step in h]
    np.testing.assert_allclose(oracle.lrn_jacobian(x, windows, **LRN), A(slope).T, atol=1e-8)


def test_lrn_taylor_terms_are_the_expansion_towards_the_lone_input() -> None:
    random = np.random.default_rng(3)
    windows, x = oracle.lrn_windows((3, 3, 2), 3, within=True), random.normal(size=18)
    terms, slope = oracle.lrn_taylor_terms(x, windows, **LRN), oracle.lrn_jacobian(x, windows, **LRN)
    for k in range(18):
        alone = np.where(np.arange(18) == k, x, 0.0)
        expected = slope[k] * (x - alone) + oracle.lrn(alone, windows, **LRN)[k] * (alone != 0)
        np.testing.assert_allclose(terms[k], expected, atol=1e-12)


def test_lrn_taylor_by_hand_and_conserved() -> None:
    windows, x, R = np.ones((2, 2)), A([2.0, 1.0]), A([5.0, 7.0])
    # b = beta = k = 1, scale 6: own terms 2/5 and 1/2; others -2*2*1/36 = -1/9 (from 2 to 1) and -2*1*4/36 = -2/9
    expected = [0.4 / (13 / 45) * 5 - 2 / 9 / (5 / 18) * 7, 0.5 / (5 / 18) * 7 - 1 / 9 / (13 / 45) * 5]
    relevance = oracle.lrn_taylor(x, R, windows, b=1.0, beta=1.0, k=1.0, epsilon=0.0)
    np.testing.assert_allclose(relevance, expected, rtol=1e-12)
    assert relevance.sum() == pytest.approx(12.0)


@functools.cache
def _matrix(geometry: golden.Geometry, shape: tuple[int, ...], weight: bytes, weight_shape: tuple[int, ...]) -> Any:
    w = np.frombuffer(weight).reshape(weight_shape)
    steps = {"strides": geometry.strides, "pads": geometry.pads, "dilations": geometry.dilations}
    return oracle.dense_matrix(lambda x: oracle.conv2d(x, w, group=geometry.group, **steps), shape)


def _windows(case: LayerCase) -> dict[str, Any]:
    g = case.geometry
    return {"kernel": g.kernel, "strides": g.strides, "pads": g.pads, "ceil": g.ceil}


def dense_layer(case: LayerCase, w: np.ndarray | None) -> np.ndarray:
    """The case's layer as a matrix; `w` takes the place of its weights."""
    shape = case.x.shape[1:]
    if case.layer == "conv":
        return _matrix(case.geometry, shape, w.tobytes(), w.shape)
    if case.layer == "avgpool":
        pooled = functools.partial(oracle.average_pool, count_pad=case.geometry.count_pad, **_windows(case))
        return oracle.dense_matrix(pooled, shape)
    return w if case.layer == "dense" else oracle.dense_matrix(lambda x: oracle.sum_pool(x, **_windows(case)), shape)


def per_channel(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A number, or one per channel, for every element of a sample of `shape`, flattened."""
    value = np.asarray(value, dtype=float).reshape(-1, *[1] * (len(shape) - 1))
    return np.broadcast_to(value, shape).reshape(-1)


RULES = {
    "alpha-beta": oracle.alpha_beta,
    "epsilon": oracle.epsilon,
    "flat": oracle.flat,
    "gamma": oracle.gamma,
    "gamma-literal": oracle.gamma_literal,
    "proportion": oracle.proportion,
    "wsquare": oracle.wsquare,
    "zbox": oracle.zbox,
    "zplus": oracle.zplus,
    "zplus-literal": oracle.zplus_literal,
}


def explain(case: LayerCase, rule: Callable[..., np.ndarray] | None = None, **changed: Any) -> np.ndarray:
    """Relevance by the oracle, sample by sample; `rule`(W, x, b, R, ...) takes the place of the case's own."""
    p = {**case.parameters, **changed}
    W = dense_layer(case, case.w)
    bias = None if case.b is None else per_channel(case.b, case.y.shape[1:])
    b = None if p.pop("zero_bias", False) else bias
    if case.rule == "flat":
        p["connected"] = dense_layer(case, None if case.w is None else np.ones_like(case.w))
    if case.rule == "zbox":
        p |= {name: per_channel(p[name], case.x.shape[1:]) for name in ("low", "high")}
    if case.rule == "gamma":
        p["sign_bias"] = bias
    samples = zip(case.x.reshape(len(case.x), -1), case.R_out.reshape(len(case.x), -1), strict=True)
    return A([(rule or RULES[case.rule])(W, x, b, R, **p) for x, R in samples]).reshape(case.x.shape)


def by_rule(case: LayerCase) -> np.ndarray:
    if case.rule == "pass":
        return case.R_out
    return oracle.max_pool_route(case.x, case.R_out, **_windows(case)) if case.rule == "route" else explain(case)


@needs_golden
@pytest.mark.parametrize("case", named([case for case in LAYER_CASES if not case.differs]))
def test_oracle_agrees_with_the_other_implementation(case: LayerCase) -> None:
    assert close(by_rule(case), case.R_in)


@needs_golden
@pytest.mark.parametrize("case", named(STABILISER_CASES))
def test_stabiliser_agrees_with_the_other_implementation(case: golden.StabiliserCase) -> None:
    assert close(oracle.stabilise(case.z[0], **case.parameters), case.out[0])


def unstabilised(case: LayerCase) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return explain(case, epsilon=0.0)


def squared_relevance(W: Any, x: Any, b: Any, R: Any, alpha: float, beta: float, **stab: Any) -> np.ndarray:
    positive = oracle.alpha_beta(W, x, b, R, alpha, 0, **stab)
    return positive + oracle.alpha_beta(W, x, b, R * R, 0, beta, **stab)


def shared_maxima(case: LayerCase) -> np.ndarray:
    result = np.zeros(case.x.shape)
    for i, j, rows, columns, _area in oracle.pool_windows(*case.x.shape[2:], **_windows(case)):
        window = case.x[:, :, rows, columns]
        first = window == window.max((2, 3), keepdims=True)
        result[:, :, rows, columns] += first / first.sum((2, 3), keepdims=True) * case.R_out[:, :, i : i + 1, j : j + 1]
    return result


BY_CONVENTION = dict(
    zip(
        golden.DIFFERS,
        [
            unstabilised,
            functools.partial(explain, rule=squared_relevance),
            shared_maxima,
        ],
        strict=True,
    )
)


@needs_golden
@pytest.mark.parametrize("case", named([case for case in LAYER_CASES if case.differs]))
def test_a_differing_fixture_follows_the_stated_convention(case: LayerCase) -> None:
    assert not close(by_rule(case), case.R_in)
    actual, known = BY_CONVENTION[case.differs](case), np.isfinite(case.R_in)
    np.testing.assert_array_equal(np.isfinite(actual), known)
    assert close(actual[known], case.R_in[known])


@needs_golden
def test_every_stated_difference_is_one() -> None:
    assert {case.differs for case in LAYER_CASES} - {None} == set(golden.DIFFERS)


@needs_golden
@pytest.mark.parametrize("case", named(LAYER_CASES))
def test_forward_agrees_with_the_other_implementation(case: LayerCase) -> None:
    if case.layer == "maxpool":
        y = oracle.max_pool(case.x, **_windows(case))
    else:
        flat = case.x.reshape(len(case.x), -1) @ dense_layer(case, case.w).T
        bias = 0.0 if case.b is None else per_channel(case.b, case.y.shape[1:])
        # the toolbox scales a sum over a window by 1 / sqrt(area), and shares relevance out by the plain sum
        scale = np.prod(case.geometry.kernel) ** -0.5 if case.layer == "sumpool" else 1.0
        y = (scale * flat + bias).reshape(case.y.shape)
    assert close(y, case.y)
