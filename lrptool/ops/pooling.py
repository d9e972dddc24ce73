"""Max and average pooling, windowed and global."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike

from lrptool.errors import ModelError
from lrptool.graph import Attribute, Graph, Node, Shape
from lrptool.kernels import Place, Schedule, TransposedAverage, Windows, add_route, transpose_alone
from lrptool.ops.base import (
    LinearMap,
    OnnxNode,
    Operator,
    Passage,
    Placing,
    Spelling,
    Treatment,
    Values,
    WeightPart,
)
from lrptool.ops.registry import register

Window = tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]
"""Kernel shape, strides, pads."""


def _pooled_size(size: int, kernel: int, stride: int, before: int, after: int, *, ceil: bool) -> int:
    """Number of windows along an axis; with `ceil` the last one starts inside the image or the padding before it."""
    span = size + before + after - kernel
    count = (-(-span // stride) if ceil else span // stride) + 1
    if ceil and (count - 1) * stride >= size + before:
        count -= 1
    return count


def _window(node: Node, graph: Graph) -> Window:
    """Return kernel shape, strides and pads of a node; a global pooling is one window over the whole map."""
    if node.op.startswith("Global"):
        (_, height, width) = graph.tensors[node.inputs[0]].item_shape
        return (height, width), (1, 1), (0, 0, 0, 0)
    (kh, kw), (sy, sx) = node.ints("kernel_shape"), node.ints("strides")
    top, left, bottom, right = node.ints("pads")
    return (kh, kw), (sy, sx), (top, left, bottom, right)


def _explicit_pads(node: Node, graph: Graph) -> tuple[int, ...]:
    """Pads that make a floor-mode pooling produce exactly the node's output size.

    Runtimes differ in how they round with ceil_mode, none in how they round without.
    """
    kernel, strides, pads = _window(node, graph)
    in_size = graph.tensors[node.inputs[0]].item_shape[1:]
    out_size = graph.tensors[node.outputs[0]].item_shape[1:]
    after = [
        (out - 1) * stride + k - size - before
        for out, stride, k, size, before in zip(out_size, strides, kernel, in_size, pads[:2], strict=True)
    ]
    return (*pads[:2], *(max(0, extra) for extra in after))


def _windows(node: Node, graph: Graph) -> Windows:
    """Return the windows of a node as the kernels take them."""
    kernel, strides, pads = _window(node, graph)
    maps, height, width = graph.tensors[node.inputs[0]].item_shape
    (_, out_height, out_width) = graph.tensors[node.outputs[0]].item_shape
    return Windows(maps, (height, width), (out_height, out_width), kernel, strides, pads[:2])


class _Pooling(Operator):
    """What the windowed poolings share."""

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(N, C, H, W) → (N, C, Ho, Wo)."""
        if len(shapes[0]) != 4:
            raise ModelError(f"node {node.name!r}: expected an input (N, C, H, W), found shape {shapes[0]}")
        batch, channels, *size = shapes[0]
        pads = node.ints("pads")
        out = [
            _pooled_size(n or 0, k, s, before, after, ceil=bool(node.integer("ceil_mode")))
            for n, k, s, before, after in zip(
                size, node.ints("kernel_shape"), node.ints("strides"), pads[:2], pads[2:], strict=True
            )
        ]
        if min(out) < 1:
            kernel = node.ints("kernel_shape")
            raise ModelError(f"node {node.name!r}: a window of {kernel} does not fit an input of shape {shapes[0]}")
        return ((batch, channels, *out),)

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """As the input."""
        return inputs[0]


class _GlobalPooling(Operator):
    """What the global poolings share."""

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(N, C, H, W) → (N, C, 1, 1)."""
        if len(shapes[0]) != 4:
            raise ModelError(f"node {node.name!r}: expected an input (N, C, H, W), found shape {shapes[0]}")
        return ((*shapes[0][:2], 1, 1),)

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """As the input."""
        return inputs[0]


def _route(passage: Passage) -> tuple[Values, ...]:
    """All relevance of a window to its first maximum in scan order; overlapping windows add."""
    r = np.ascontiguousarray(passage.relevances[0])
    x = np.ascontiguousarray(passage.xs[0], r.dtype)
    out = np.empty(x.shape, r.dtype)
    schedule = Schedule(len(x), r.dtype)
    places = [schedule.hold(values, values[0].size) for values in (x, r, out)]
    add_route(schedule, _windows(passage.node, passage.graph), *places, accumulate=False)
    schedule.run()
    return (out,)


def _add_route(placing: Placing, node: Node, graph: Graph, arriving: Sequence[Place]) -> None:
    """Add the same to a schedule."""
    out, accumulate = placing.into(node.inputs[0])
    x = placing.activation(node.inputs[0])
    add_route(placing.schedule, _windows(node, graph), x, arriving[0], out, accumulate=accumulate)


_ROUTE = Treatment(_route, reads=frozenset({"inputs"}), at_zero="as behind", add_to=_add_route)


@register
class MaxPool(_Pooling):
    """The largest value of each window; padding never wins."""

    name = "MaxPool"
    default = "route"
    treatments = {"route": _ROUTE, "gradient": _ROUTE}

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """Pad explicitly instead of rounding up."""
        kernel, strides, _ = _window(node, graph)
        pads = _explicit_pads(node, graph)
        return Spelling(
            (
                OnnxNode(
                    "MaxPool",
                    node.inputs,
                    node.outputs,
                    {"kernel_shape": kernel, "strides": strides, "pads": pads},
                ),
            )
        )


@register
class GlobalMaxPool(_GlobalPooling):
    """The largest value of each map."""

    name = "GlobalMaxPool"
    default = "route"
    treatments = {"route": _ROUTE, "gradient": _ROUTE}


class AverageMap:
    """Average pooling as a linear map: W is 1 / divisor inside a window.

    Parameters
    ----------
    windows : Windows
    weight : float64 (Ho, Wo)
        1 / divisor per window.
    """

    def __init__(self, windows: Windows, weight: Values) -> None:
        self._windows, self._weight = windows, weight

    def gather(self, k: int, parts: tuple[WeightPart, ...], dtype: DTypeLike) -> TransposedAverage:
        """Return the kernel that spreads fractions over their windows."""
        return TransposedAverage(self._windows, [part.of(self._weight).astype(dtype) for part in parts])

    def forward(self, xs: Sequence[Values], part: WeightPart) -> Values:
        """Return Ŵ x, (N, C, Ho, Wo)."""
        x, w = xs[0], self._windows
        padding = [
            (before, max(0, (out - 1) * stride + k - size - before))
            for before, out, stride, k, size in zip(w.start, w.out_size, w.strides, w.kernel, w.in_size, strict=True)
        ]
        padded = np.pad(x, ((0, 0), (0, 0), *padding))
        windows = sliding_window_view(padded, w.kernel, axis=(2, 3))[:, :, :: w.strides[0], :: w.strides[1]]
        sums = windows[:, :, : w.out_size[0], : w.out_size[1]].sum(axis=(4, 5))
        mean: Values = sums * part.of(self._weight).astype(x.dtype)
        return mean

    def transpose(self, s: Values, part: WeightPart) -> tuple[Values, ...]:
        """Return Ŵᵀ s, (N, C, H, W)."""
        return (transpose_alone(self.gather(0, (part,), s.dtype), s, (s.shape[1], *self._windows.in_size)),)

    def bias(self, part: WeightPart, like: Values) -> None:
        """There is none."""
        return


def _divisors(node: Node, graph: Graph) -> Values:
    """Number of values each window's mean counts, (Ho, Wo)."""
    kernel, strides, pads = _window(node, graph)
    in_size = graph.tensors[node.inputs[0]].item_shape[1:]
    out_size = graph.tensors[node.outputs[0]].item_shape[1:]
    padded = not node.op.startswith("Global") and bool(node.integer("count_include_pad"))
    counts = []
    for size, out, k, stride, before, after in zip(in_size, out_size, kernel, strides, pads[:2], pads[2:], strict=True):
        start = np.arange(out) * stride - before
        stop = np.minimum(start + k, size + (after if padded else 0))
        counts.append(stop - (start if padded else np.maximum(start, 0)))
    return np.outer(counts[0], counts[1]).astype(np.float64)


def _average_map(node: Node, graph: Graph) -> LinearMap:
    """Return an average pooling as a linear map."""
    return AverageMap(_windows(node, graph), 1.0 / _divisors(node, graph))


@register
class AveragePool(_Pooling):
    """The mean of each window."""

    name = "AveragePool"
    default = "proportion"

    def linear_map(self, node: Node, graph: Graph) -> LinearMap:
        """Return the mean as a linear map."""
        return _average_map(node, graph)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """Pad explicitly; where the divisor is then wrong at a border, a factor per position mends it."""
        kernel, strides, _ = _window(node, graph)
        attributes: dict[str, Attribute] = {
            "kernel_shape": kernel,
            "strides": strides,
            "pads": _explicit_pads(node, graph),
            "count_include_pad": 1,
        }
        full = kernel[0] * kernel[1]
        divisors = _divisors(node, graph)
        if np.all(divisors == full):
            return Spelling((OnnxNode("AveragePool", node.inputs, node.outputs, attributes),))
        raw, factor = f"{node.outputs[0]}/mean", f"{node.outputs[0]}/factor"
        return Spelling(
            (
                OnnxNode("AveragePool", node.inputs, (raw,), attributes),
                OnnxNode("Mul", (raw, factor), node.outputs),
            ),
            {factor: (full / divisors).astype(np.float32)},
        )


@register
class GlobalAveragePool(_GlobalPooling):
    """The mean of each map."""

    name = "GlobalAveragePool"
    default = "proportion"

    def linear_map(self, node: Node, graph: Graph) -> LinearMap:
        """Return the mean as a linear map."""
        return _average_map(node, graph)
