"""Normalisations by an item's own values to try."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests import oracle
from tests.opcases import EPSILON, Case, Relevance, normal


def detached(expected: Callable[..., np.ndarray], spread: Callable[[np.ndarray], np.ndarray]) -> Relevance:
    """The epsilon rule on the dense matrix of the normalisation, its spread (per value) a constant."""

    def relevance(xs: list[np.ndarray], rs: list[np.ndarray]) -> list[np.ndarray]:
        back = []
        for x, r in zip(xs[0], rs[0], strict=True):
            fixed = spread(x[None])
            bias = expected(np.zeros((1, *x.shape)), fixed)
            M = oracle.dense_matrix(lambda u, fixed=fixed, bias=bias: expected(u, fixed) - bias, x.shape)
            back.append(oracle.epsilon(M, x.ravel(), bias.ravel(), r.ravel(), epsilon=EPSILON).reshape(x.shape))
        return [np.stack(back)]

    return relevance


def centred_case(
    op: str,
    grouped: Callable[[np.ndarray], np.ndarray],
    attributes: dict[str, Any],
    constants: tuple[np.ndarray, ...] = (),
    affine: tuple[Any, Any] = (1.0, 0.0),
    *,
    inputs: tuple[str, ...] = ("x",),
    note: str = "",
    root_first: bool = False,
    varied: bool = True,
) -> Case:
    """`grouped` views values as (…, those normalised together)."""
    epsilon, (scale, shift) = attributes["epsilon"], affine

    def centre(x: np.ndarray) -> np.ndarray:
        groups = grouped(x)
        return (groups - groups.mean(-1, keepdims=True)).reshape(x.shape)

    def spread(x: np.ndarray) -> np.ndarray:
        groups = grouped(x)
        variance = np.broadcast_to(groups.var(-1, keepdims=True), groups.shape).reshape(x.shape)
        if not varied:
            return np.ones_like(x)
        return np.sqrt(variance) + epsilon if root_first else np.sqrt(variance + epsilon)

    def expected(x: np.ndarray, fixed: np.ndarray | None = None) -> np.ndarray:
        return centre(x) / (spread(x) if fixed is None else fixed) * scale + shift

    relevance = {"detached": detached(expected, spread)}
    return Case(op, expected, inputs, attributes, constants, note=note, sign="lost", relevance=relevance)


def channels_together(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def maps(x: np.ndarray) -> np.ndarray:
    return x.reshape(*x.shape[:2], -1)


def pairs_of_maps(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), 2, -1)


def rows(x: np.ndarray) -> np.ndarray:
    return x


def l2_case(axes: tuple[int, ...], scale: np.ndarray | None, note: str) -> Case:
    factor: Any = 1.0 if scale is None else scale[:, None, None]
    constants = () if scale is None else (scale,)
    attributes = {"axes": axes, "epsilon": 0.5}

    def expected(x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).sum(axes, keepdims=True) + 0.5) * factor

    sign = "kept" if scale is None or scale.min() >= 0 else "lost"
    return Case("L2Normalize", expected, ("x",), attributes, constants, note=note, sign=sign)


SCALE, SHIFT = normal(4), normal(4)
CHANNELS = (SCALE[:, None, None], SHIFT[:, None, None])
FEATURES = (normal(28), normal(28))
TAIL = (normal(7, 6), normal(7, 6))
ROOT = normal(28)
CASES = [
    centred_case("InstanceNormalization", maps, {"epsilon": 0.1}, (SCALE, SHIFT), CHANNELS),
    centred_case("InstanceNormalization", maps, {"epsilon": 0.1}, (SCALE, SHIFT), (SCALE[:, None], SHIFT[:, None]),
                 inputs=("line",), note="line"),
    centred_case("GroupNormalization", pairs_of_maps, {"epsilon": 0.1, "num_groups": 2}, (SCALE, SHIFT), CHANNELS),
    centred_case("LayerNormalization", rows, {"epsilon": 0.1, "axis": -1}, FEATURES, FEATURES, inputs=("tokens",)),
    centred_case("LayerNormalization", maps, {"epsilon": 0.1, "axis": 2}, TAIL, TAIL, note="two-axes"),
    centred_case("LayerNormalization", rows, {"epsilon": 0.1, "axis": 2}, FEATURES[:1], (FEATURES[0], 0.0),
                 inputs=("tokens",), note="nobias"),
    centred_case("MVN", maps, {"epsilon": 0.1, "axes": (2, 3), "normalize_variance": 1}, root_first=True),
    centred_case("MVN", channels_together, {"epsilon": 0.1, "axes": (1, 2, 3), "normalize_variance": 1},
                 root_first=True, note="across"),
    centred_case("MVN", maps, {"epsilon": 0.1, "axes": (2, 3), "normalize_variance": 0}, varied=False, note="mean"),
    Case("RMSNormalization", lambda x: x / np.sqrt((x**2).mean(-1, keepdims=True) + 0.1) * ROOT, ("tokens",),
         {"axis": -1, "epsilon": 0.1}, (ROOT,), sign="lost"),
    Case("RMSNormalization", lambda x: x / np.sqrt((x**2).mean((1, 2, 3), keepdims=True) + 0.1), ("x",),
         {"axis": 1, "epsilon": 0.1}, note="bare"),
    l2_case((1,), None, "channels"),
    l2_case((1,), SCALE, "scaled"),
    l2_case((1, 2, 3), np.abs(SCALE[:1]), "whole"),
]  # fmt: skip
