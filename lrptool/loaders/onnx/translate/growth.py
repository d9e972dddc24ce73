"""How large a tensor becomes, for operators that may make much of little: asked before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from lrptool.graph import Shape

MOST_VALUES = 2**28
"""Of one image in one tensor: beyond it a size is a slip, and memory would run out."""
_Numbers = list[float]


def _padded(sizes: _Numbers, attributes: Mapping[str, Any]) -> _Numbers:
    """Every axis longer by what is put at its ends."""
    pads = attributes["pads"]
    return [size + begin + end for size, begin, end in zip(sizes, pads, pads[len(sizes) :], strict=False)]


def _tiled(sizes: _Numbers, attributes: Mapping[str, Any]) -> _Numbers:
    """Every axis so many times as long."""
    return [size * count for size, count in zip(sizes, attributes["repeats"], strict=False)]


def _resized(sizes: _Numbers, attributes: Mapping[str, Any]) -> _Numbers:
    """Every axis longer by a factor."""
    return [size * scale for size, scale in zip(sizes, attributes["scales"], strict=False)]


_GROWTH: dict[str, Callable[[_Numbers, Mapping[str, Any]], _Numbers]] = {
    "Pad": _padded,
    "Tile": _tiled,
    "Resize": _resized,
    "Expand": lambda _, attributes: list(attributes["shape"]),
}


def values_made(op: str, shape: Shape, attributes: Mapping[str, Any]) -> float:
    """Return the number of values an operator makes of one image, 0 for operators that make no more than they read."""
    if op not in _GROWTH:
        return 0
    return prod(_GROWTH[op]([float(size or 1) for size in shape], attributes))
