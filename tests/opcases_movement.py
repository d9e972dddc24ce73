"""Operators to try that move, cut, repeat and reduce."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.opcases import EPSILON, Case, normal


def slice_case(note: str, expected: Callable[..., np.ndarray], *cuts: tuple[int, ...]) -> Case:
    return Case(
        "Slice", expected, attributes=dict(zip(("starts", "ends", "axes", "steps"), cuts, strict=True)), note=note
    )


def pad_case(note: str, pads: tuple[int, ...], mode: str, value: float = 0.0, sign: str = "kept") -> Case:
    widths = list(zip(pads[:4], pads[4:], strict=True))
    how: dict[str, Any] = {"mode": mode} | ({"constant_values": value} if mode == "constant" else {})
    attributes = {"pads": pads, "mode": mode, "value": value}
    return Case("Pad", lambda x: np.pad(x, widths, **how), attributes=attributes, note=note, sign=sign)


def depth_to_space(x: np.ndarray, mode: str) -> np.ndarray:
    """Pixel by pixel."""
    n, c, h, w = x.shape
    y = np.zeros((n, c // 4, 2 * h, 2 * w))
    for o, a, b in np.ndindex(c // 4, 2, 2):
        source = (a * 2 + b) * (c // 4) + o if mode == "DCR" else o * 4 + a * 2 + b
        y[:, o, a::2, b::2] = x[:, source]
    return y


def space_to_depth(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x[:, :, a::2, b::2] for a in (0, 1) for b in (0, 1)], 1)


def reduce_case(op: str, expected: Callable[..., np.ndarray], axes: tuple[int, ...], keepdims: int, sign: str) -> Case:
    def reduce(x: np.ndarray) -> np.ndarray:
        return expected(x, axis=axes, keepdims=bool(keepdims))

    def share_out(xs: list[np.ndarray], rs: list[np.ndarray]) -> list[np.ndarray]:
        parts = np.abs(xs[0]) ** (1 if op == "ReduceL1" else 2)
        shape = [1 if axis in {a % 4 for a in axes} else size for axis, size in enumerate(xs[0].shape)]
        return [parts / (parts.sum(axes, keepdims=True) + EPSILON) * rs[0].reshape(shape)]

    attributes = {"axes": axes, "keepdims": keepdims}
    note = f"{'-'.join(map(str, axes))}-{keepdims}"
    return Case(op, reduce, attributes=attributes, note=note, sign=sign, relevance={"proportion": share_out})


def l1(x: np.ndarray, **how: Any) -> np.ndarray:
    return np.abs(x).sum(**how)


def squares(x: np.ndarray, **how: Any) -> np.ndarray:
    return (x**2).sum(**how)


def l2(x: np.ndarray, **how: Any) -> np.ndarray:
    return np.sqrt(squares(x, **how))


TOKEN = normal(1, 2, 28)
AXES = [((1,), 1), ((-1, 2), 0), ((1, 2, 3), 1), ((3, 1, 2), 0)]
REDUCTIONS = {
    "ReduceSum": (np.sum, "kept"),
    "ReduceMean": (np.mean, "kept"),
    "ReduceMax": (np.max, "kept"),
    "ReduceMin": (np.min, "kept"),
    "ReduceL1": (l1, "always"),
    "ReduceL2": (l2, "always"),
    "ReduceSumSquare": (squares, "always"),
}
CASES = [
    Case("Concat", lambda x: np.concatenate([np.repeat(TOKEN, 2, 0)[: len(x)], x], 1), ("c0", "tokens"), {"axis": 1},
         constants=(TOKEN,), note="constant", sign="lost"),
    Case("Transpose", lambda x: x.transpose(0, 2, 3, 1), attributes={"perm": (0, 2, 3, 1)}),
    Case("Transpose", lambda x: x.transpose(0, 4, 2, 1, 3), ("cube",), {"perm": (0, 4, 2, 1, 3)}, note="cube"),
    slice_case("one-axis", lambda x: x[:, :, 2:5], (2,), (5,), (2,), (1,)),
    slice_case("steps", lambda x: x[:, 1:4:2, :, 4:0:-3], (1, 4), (4, 0), (1, -1), (2, -3)),
    slice_case("all-the-way-back", lambda x: x[:, :, ::-1], (-1,), (-100,), (2,), (-1,)),
    slice_case("from-the-end", lambda x: x[:, :, -3:, :-2], (-3, 0), (1000, -2), (2, 3), (1, 1)),
    Case("Gather", lambda x: x[:, :, 3], attributes={"axis": 2, "indices": (3,), "indices_shape": ()}, note="scalar"),
    Case("Gather", lambda x: x[:, [[2, 0, 2], [3, 1, -1]]],
         attributes={"axis": 1, "indices": (2, 0, 2, 3, 1, -1), "indices_shape": (2, 3)}, note="repeats"),
    Case("Gather", lambda x: x[..., [5, 0]], attributes={"axis": -1, "indices": (5, 0), "indices_shape": (2,)}),
    pad_case("zeros", (0, 0, 1, 2, 0, 1, 0, 3), "constant"),
    pad_case("value", (0, 1, 0, 0, 0, 0, 2, 1), "constant", 0.5),
    pad_case("negative-value", (0, 0, 0, 0, 0, 0, 2, 1), "constant", -0.5, "lost"),
    pad_case("reflect", (0, 0, 6, 2, 0, 0, 1, 5), "reflect"),
    pad_case("edge", (0, 2, 3, 0, 0, 0, 1, 4), "edge"),
    Case("Expand", lambda x: np.broadcast_to(x, (len(x), 4, 5, 3)), ("mean",), {"shape": (4, 5, 3)}),
    Case("Expand", lambda x: x, ("x",), {"shape": (1, 7, 1)}, note="smaller"),
    Case("Tile", lambda x: np.tile(x, (1, 2, 1, 3)), attributes={"repeats": (1, 2, 1, 3)}),
    Case("DepthToSpace", lambda x: depth_to_space(x, "DCR"), ("eight",), {"blocksize": 2, "mode": "DCR"}),
    Case("DepthToSpace", lambda x: depth_to_space(x, "CRD"), ("eight",), {"blocksize": 2, "mode": "CRD"}, note="crd"),
    Case("SpaceToDepth", space_to_depth, ("even",), {"blocksize": 2}),
    *[
        reduce_case(op, expected, axes, keepdims, sign)
        for op, (expected, sign) in REDUCTIONS.items()
        for axes, keepdims in AXES
    ],
]  # fmt: skip
