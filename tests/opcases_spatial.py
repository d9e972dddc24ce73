"""Convolutions, poolings of all ranks and resizing to try."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from tests import oracle
from tests.opcases import EPSILON, Case, Relevance, normal


def kernel_case(op: str, note: str, x: str, weight: tuple[int, ...], bias: bool, **steps: Any) -> Case:
    """`weight` is (O, C / group, k...), or (C, O / group, k...) of a transposed convolution."""
    w, rank, transposed = normal(*weight), len(weight) - 2, op == "ConvTranspose"
    geometry = {"strides": (1,) * rank, "dilations": (1,) * rank, "pads": (0,) * 2 * rank, "group": 1} | steps
    if transposed:
        geometry = {"output_padding": (0,) * rank} | geometry
    constants = (w, normal(weight[1] * geometry["group"] if transposed else weight[0])) if bias else (w,)
    compute = oracle.conv_transpose if transposed else oracle.conv_nd
    expected = functools.partial(compute, w=w, b=constants[1] if bias else None, **geometry)
    return Case(op, expected, (x,), geometry | {"kernel_shape": weight[2:]}, constants, note=note, sign="lost")


def windows(
    size: tuple[int, ...], kernel: tuple[int, ...], strides: Any, pads: Any, dilations: Any, ceil: int
) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]], int]]:
    """Each window's place, the positions inside the image in scan order, and how many lie within the padded border."""
    rank, axes = len(size), []
    for n, k, s, d, begin, end in zip(size, kernel, strides, dilations, pads[:rank], pads[rank:], strict=True):
        count = oracle.pooled_size(n, (k - 1) * d + 1, s, begin, end, ceil=bool(ceil))
        axes.append(
            [[i * s - begin + t * d for t in range(k) if i * s - begin + t * d < n + end] for i in range(count)]
        )
    for places in product(*(list(enumerate(axis)) for axis in axes)):
        taps = [at for _, at in places]
        inside = [p for p in product(*taps) if all(0 <= a < n for a, n in zip(p, size, strict=True))]
        yield tuple(i for i, _ in places), inside, math.prod(map(len, taps))


def pool_nd(x: np.ndarray, reduce: Callable[[np.ndarray, int], np.ndarray], *geometry: Any) -> np.ndarray:
    made = {}
    for place, inside, area in windows(x.shape[2:], *geometry):
        made[place] = reduce(np.stack([x[(..., *p)] for p in inside], -1), area)
    shape = tuple(max(place[k] for place in made) + 1 for k in range(x.ndim - 2))
    return np.stack([made[place] for place in np.ndindex(shape)], -1).reshape(*x.shape[:2], *shape)


def lp_share(geometry: tuple[Any, ...], p: int, xs: list[np.ndarray], rs: list[np.ndarray]) -> list[np.ndarray]:
    """Window by window, in proportion to the powers."""
    parts, back = np.abs(xs[0]) ** p, np.zeros_like(xs[0])
    for place, inside, _ in windows(xs[0].shape[2:], *geometry):
        total = sum(parts[(..., *position)] for position in inside)
        for position in inside:
            back[(..., *position)] += parts[(..., *position)] * rs[0][(..., *place)] / (total + EPSILON)
    return [back]


def pool_case(op: str, note: str, x: str, kernel: tuple[int, ...], **more: Any) -> Case:
    rank = len(kernel)
    plain = {"strides": (1,) * rank, "pads": (0,) * 2 * rank, "dilations": (1,) * rank, "ceil_mode": 0}
    attributes = {"kernel_shape": kernel} | plain | more
    geometry = tuple(attributes[key] for key in ("kernel_shape", "strides", "pads", "dilations", "ceil_mode"))
    padded, p = attributes.get("count_include_pad"), attributes.get("p", 1)
    reduce: Callable[[np.ndarray, int], np.ndarray] = {
        "MaxPool": lambda values, _: values.max(-1),
        "AveragePool": lambda values, area: values.sum(-1) / (area if padded else values.shape[-1]),
        "LpPool": lambda values, _: (np.abs(values) ** p).sum(-1) ** (1 / p),
    }[op]
    relevance: dict[str, Relevance] = {"proportion": functools.partial(lp_share, geometry, p)}
    return Case(op, lambda x: pool_nd(x, reduce, *geometry), (x,), attributes, note=note, relevance=relevance,
                sign="always" if op == "LpPool" else "kept")  # fmt: skip


def pool_cases(op: str, **more: Any) -> list[Case]:
    """A line, a volume, gaps in an image, a last window that reaches beyond the padding."""
    return [
        pool_case(op, "line", "line", (3,), strides=(2,), pads=(1, 2), **more),
        pool_case(op, "line-ceil", "line", (4,), strides=(5,), pads=(1, 1), ceil_mode=1, **more),
        pool_case(op, "volume", "cube", (2, 3, 2), strides=(2, 1, 3), pads=(1, 0, 1, 0, 2, 0), **more),
        pool_case(op, "volume-ceil", "cube", (2, 2, 3), strides=(2, 3, 2), ceil_mode=1, **more),
        pool_case(op, "gaps", "x", (3, 2), strides=(1, 2), pads=(1, 0, 2, 1), dilations=(2, 3), **more),
    ]


def resize_case(mode: str, how: str, scales: Any, sizes: Any = (), rounding: str = "round_prefer_floor") -> Case:
    out = tuple(sizes[1:]) or tuple(math.floor(n * s) for n, s in zip((4, 7, 6), scales[1:], strict=True))
    real = tuple(o / n for o, n in zip(out, (4, 7, 6), strict=True)) if sizes else scales[1:]
    attributes = {
        "mode": mode,
        "coordinate_transformation_mode": how,
        "nearest_mode": rounding,
        "scales": scales,
        "sizes": sizes,
    }
    expected = functools.partial(oracle.resize, out=out, scales=real, mode=mode, how=how, rounding=rounding)
    note = "-".join(map(str, (mode, how, rounding, *out)))
    wanted = {"proportion": lambda xs, rs: route_by_copies(expected, xs[0], rs[0])} if mode == "nearest" else {}
    return Case("Resize", expected, attributes=attributes, note=note, relevance=wanted)


def route_by_copies(move: Callable[[np.ndarray], np.ndarray], x: np.ndarray, r: np.ndarray) -> list[np.ndarray]:
    """Where each value came from, asked of an array of positions."""
    origin = move(np.arange(x[0].size, dtype=float).reshape(1, *x.shape[1:])).astype(int).ravel()
    back = np.zeros((len(x), x[0].size))
    for k, source in enumerate(origin):
        back[:, source] += r.reshape(len(x), -1)[:, k]
    return [back.reshape(x.shape)]


ODD = {"strides": (2, 1), "pads": (1, 0, 2, 1), "dilations": (1, 3), "output_padding": (1, 0)}
UP, DOWN, ODDLY = (1.0, 1.0, 2.0, 3.0), (1.0, 1.0, 0.5, 0.35), (1.0, 1.0, 1.3, 0.7)
CASES = [
    kernel_case("ConvTranspose", "plain", "x", (4, 5, 3, 2), bias=True),
    kernel_case("ConvTranspose", "odd", "x", (4, 5, 3, 2), bias=True, **ODD),
    kernel_case("ConvTranspose", "groups-nobias", "x", (4, 3, 2, 3), bias=False, group=2, strides=(2, 3)),
    kernel_case("ConvTranspose", "depthwise", "x", (4, 1, 4, 4), bias=False, group=4, strides=(2, 2), pads=(1,) * 4),
    kernel_case("ConvTranspose", "line", "line", (4, 2, 3), bias=True, strides=(3,), pads=(1, 2), output_padding=(2,)),
    kernel_case("ConvTranspose", "volume", "cube", (2, 3, 2, 3, 2), bias=True, strides=(2, 1, 2),
                pads=(1, 0, 1, 0, 2, 0), dilations=(1, 2, 1), output_padding=(1, 0, 0)),
    kernel_case("Conv", "line", "line", (6, 2, 3), bias=True, strides=(2,), pads=(1, 3), dilations=(2,), group=2),
    kernel_case("Conv", "line-nobias", "line", (3, 4, 5), bias=False),
    kernel_case("Conv", "volume", "cube", (3, 2, 2, 3, 2), bias=True, strides=(2, 1, 3), pads=(2, 0, 1, 1, 2, 0),
                dilations=(1, 1, 2)),
    kernel_case("Conv", "volume-groups", "cube", (4, 1, 2, 2, 3), bias=False, group=2, dilations=(2, 1, 1)),
    *pool_cases("MaxPool"),
    *pool_cases("AveragePool", count_include_pad=1),
    *pool_cases("AveragePool", count_include_pad=0),
    *pool_cases("LpPool", p=2),
    pool_case("LpPool", "image", "x", (2, 3), strides=(2, 1), pads=(0, 1, 1, 0), p=3),
    pool_case("LpPool", "absolute", "x", (2, 3), strides=(2, 2), p=1),
    Case("GlobalMaxPool", lambda x: x.max(2, keepdims=True), ("line",), note="line"),
    Case("GlobalMaxPool", lambda x: x.max((2, 3, 4), keepdims=True), ("cube",), note="volume"),
    Case("GlobalAveragePool", lambda x: x.mean(2, keepdims=True), ("line",), note="line"),
    Case("GlobalAveragePool", lambda x: x.mean((2, 3, 4), keepdims=True), ("cube",), note="volume"),
    *[
        resize_case("linear", how, scales)
        for how in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
        for scales in (UP, DOWN, ODDLY)
    ],
    resize_case("linear", "align_corners", (1.0,) * 4, (1, 4, 13, 11)),
    resize_case("linear", "half_pixel", (1.0,) * 4, (1, 4, 1, 9)),
    resize_case("linear", "pytorch_half_pixel", (1.0,) * 4, (1, 4, 1, 9)),
    *[resize_case("nearest", "half_pixel", ODDLY, (), rounding) for rounding in ("floor", "ceil", "round_prefer_ceil")],
    resize_case("nearest", "asymmetric", UP, (), "floor"),
    resize_case("nearest", "asymmetric", DOWN),
    resize_case("nearest", "half_pixel", UP),
    resize_case("nearest", "align_corners", (1.0,) * 4, (1, 4, 5, 11)),
]  # fmt: skip
