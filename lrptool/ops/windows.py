"""Sums and maxima over windows along any number of axes, one axis after the other, dilated where wanted.

The poolings of images have loops of their own; these are for lines, volumes and dilated windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.graph import Attribute, Graph, Node, Shape
from lrptool.ops.base import Values, misfit
from lrptool.ops.spelling import Words


@dataclass(frozen=True, slots=True)
class Axis:
    """The windows along one axis.

    Parameters
    ----------
    size, out : int
        Values of the input and number of windows.
    kernel, stride, dilation : int
    begin, end : int
        Padding; with rounding up, the last window may reach beyond it.
    """

    size: int
    out: int
    kernel: int
    stride: int
    dilation: int
    begin: int
    end: int

    @property
    def reach(self) -> int:
        """Positions from a window's first tap to its last."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def span(self) -> int:
        """Positions from the first window's first tap to the last window's last one."""
        return (self.out - 1) * self.stride + self.reach

    def padded(self, values: NDArray[Any], axis: int, fill: float) -> NDArray[Any]:
        """Return values with enough around them for every tap."""
        widths = [(0, 0)] * values.ndim
        widths[axis] = (self.begin, max(0, self.span - self.begin - self.size))
        return np.pad(values, widths, constant_values=fill)

    def cropped(self, padded: NDArray[Any], axis: int) -> NDArray[Any]:
        """Return what lies inside."""
        return np.take(padded, range(self.begin, self.begin + self.size), axis=axis)

    def taps(self, padded: NDArray[Any], axis: int) -> Iterator[NDArray[Any]]:
        """Yield, tap by tap, a view of the values at this tap of every window."""
        for tap in range(self.kernel):
            start = tap * self.dilation
            at = slice(start, start + (self.out - 1) * self.stride + 1, self.stride)
            yield padded[(*(slice(None),) * axis, at)]

    def counts(self, *, padding: bool) -> NDArray[np.int64]:
        """Return how many values each window holds, those of the padding among them or not."""
        inside = np.zeros(max(self.span, self.begin + self.size + self.end), np.int64)
        begin, end = (0, self.end) if padding else (self.begin, 0)
        inside[begin : self.begin + self.size + end] = 1
        counts: NDArray[np.int64] = np.sum(list(self.taps(inside, 0)), axis=0)
        return counts


def axes_of(node: Node, shape: Shape) -> tuple[Axis, ...]:
    """Return the windows along every axis behind the channels.

    Raises
    ------
    ModelError
        Attributes that do not fit the input.
    """
    kernel, pads, rank = node.ints("kernel_shape"), node.ints("pads"), len(shape) - 2
    dilations = node.ints("dilations") if "dilations" in node.attributes else (1,) * len(kernel)
    strides = node.ints("strides")
    if not len(kernel) == len(strides) == len(dilations) == len(pads) // 2 == rank or rank < 1:
        raise misfit(node, f"a window of {kernel} does not fit an input of shape {shape}")
    axes = []
    steps = zip(shape[2:], kernel, strides, dilations, pads[:rank], pads[rank:], strict=True)
    for size, k, stride, dilation, begin, end in steps:
        room = (size or 0) + begin + end - (k - 1) * dilation - 1
        count = (-(-room // stride) if node.integer("ceil_mode") else room // stride) + 1
        if node.integer("ceil_mode") and (count - 1) * stride >= (size or 0) + begin:
            count -= 1
        if room < 0 or count < 1:
            raise misfit(node, f"a window of {kernel} does not fit an input of shape {shape}")
        axes.append(Axis(size or 0, count, k, stride, dilation, begin, end))
    return tuple(axes)


def sum_over(values: Values, axes: Sequence[Axis]) -> Values:
    """Return the sum of every window of (N, C, size…)."""
    for number, axis in enumerate(axes, 2):
        padded = axis.padded(values, number, 0)
        values = np.sum(list(axis.taps(padded, number)), axis=0, dtype=values.dtype)
    return values


def spread_over(sums: Values, axes: Sequence[Axis]) -> Values:
    """Return, for every value of (N, C, size…), the sum over the windows that hold it: the transpose of `sum_over`."""
    for number, axis in reversed(list(enumerate(axes, 2))):
        shape = list(sums.shape)
        shape[number] = max(axis.span, axis.begin + axis.size)
        padded = np.zeros(shape, sums.dtype)
        for view in axis.taps(padded, number):
            np.add(view, sums, out=view)
        sums = axis.cropped(padded, number)
    return sums


def route_over(x: Values, r: Values, axes: Sequence[Axis]) -> Values:
    """Return all relevance of each window at its first maximum in scan order."""
    winners = []
    for number, axis in reversed(list(enumerate(axes, 2))):
        first, *others = axis.taps(axis.padded(x, number, -inf), number)
        x, winner = first.copy(), np.zeros(first.shape, np.int32)
        for tap, values in enumerate(others, 1):
            wins = values > x
            x, winner = np.where(wins, values, x), np.where(wins, np.int32(tap), winner)
        winners.append(winner)
    for (number, axis), winner in zip(enumerate(axes, 2), reversed(winners), strict=True):
        shape = list(r.shape)
        shape[number] = max(axis.span, axis.begin + axis.size)
        padded = np.zeros(shape, r.dtype)
        for tap, view in enumerate(axis.taps(padded, number)):
            np.add(view, np.where(winner == tap, r, r.dtype.type(0)), out=view)
        r = axis.cropped(padded, number)
    return r


def explicit(axes: Sequence[Axis]) -> dict[str, Attribute]:
    """Return ONNX's attributes of a pooling that need no rounding up."""
    return {
        "kernel_shape": tuple(axis.kernel for axis in axes),
        "strides": tuple(axis.stride for axis in axes),
        "pads": (*(axis.begin for axis in axes), *(max(0, axis.span - axis.size - axis.begin) for axis in axes)),
    }


def add_sum(words: Words, x: str, axes: Sequence[Axis], graph: Graph, tensor: str) -> tuple[str, float]:
    """Spell the sum of every window; return the tensor that holds it and what it has to be multiplied by.

    Parameters
    ----------
    words : Words
    x : str
        What is summed.
    axes : sequence of Axis
    graph : Graph
    tensor : str
        A tensor of the graph that has x's shape.
    """
    if all(axis.dilation == 1 for axis in axes):
        mean = words.add("AveragePool", x, count_include_pad=1, **explicit(axes))
        return mean, float(prod(axis.kernel for axis in axes))
    # ONNX's average has no dilations before opset 19; a convolution of each channel by itself has.
    channels = graph.tensors[tensor].shape[1] or 1
    ones = words.array("ones", np.ones((channels, 1, *(axis.kernel for axis in axes)), np.float32))
    dilations = tuple(axis.dilation for axis in axes)
    return words.add("Conv", x, ones, group=channels, dilations=dilations, **explicit(axes)), 1.0
