"""Convolution in two dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lrptool.errors import ModelError
from lrptool.graph import Graph, Node, Shape
from lrptool.kernels import ForwardConv, Geometry, TransposedConv, transpose_alone
from lrptool.ops.base import LinearMap, Operator, Values, WeightPart
from lrptool.ops.registry import register


class ConvMap:
    """A convolution as a linear map; every part of its weights is packed once, on first use.

    Parameters
    ----------
    weight : callable
        Returns the weights, float32 or float64 (O, C/group, kh, kw): once they are packed, nobody else may need them.
    bias : same dtype (O,), or None
    geometry : Geometry
    """

    def __init__(self, weight: Callable[[], Values], bias: Values | None, geometry: Geometry) -> None:
        self._weight, self._bias, self._geometry = weight, bias, geometry
        self._channels = weight().shape[1] * geometry.group
        self._forward: dict[tuple[WeightPart, np.dtype[Any]], ForwardConv] = {}
        self._gather: dict[tuple[tuple[WeightPart, ...], np.dtype[Any]], TransposedConv] = {}

    def gather(self, k: int, parts: tuple[WeightPart, ...], dtype: DTypeLike) -> TransposedConv:
        """Return the transposed convolution over the sum of some parts of the weights."""
        key = (parts, np.dtype(dtype))
        if key not in self._gather:
            self._gather[key] = TransposedConv(lambda: self._parts(parts, key[1]), self._geometry)
        return self._gather[key]

    def _parts(self, parts: tuple[WeightPart, ...], dtype: DTypeLike) -> list[Values]:
        """Return some parts of the weights."""
        weight = self._weight().astype(dtype, copy=False)
        return [part.of(weight) for part in parts]

    def forward(self, xs: Sequence[Values], part: WeightPart) -> Values:
        """Return Ŵ * x, (N, O, Ho, Wo)."""
        x = xs[0]
        key = (part, x.dtype)
        if key not in self._forward:
            self._forward[key] = ForwardConv(part.of(self._weight().astype(x.dtype, copy=False)), self._geometry)
        return self._forward[key](np.ascontiguousarray(x))

    def transpose(self, s: Values, part: WeightPart) -> tuple[Values, ...]:
        """Return Ŵᵀ s, (N, C, H, W)."""
        gather = self.gather(0, (part,), s.dtype)
        return (transpose_alone(gather, s, (self._channels, *self._geometry.in_size)),)

    @property
    def single(self) -> bool:
        """Whether every output looks at one place of all channels of its input."""
        return self._geometry.kernel == (1, 1) and self._geometry.group == 1

    def narrowed(self, channels: NDArray[np.int64]) -> LinearMap:
        """Return the map to some channels of its output; only where it is `single`."""
        weight = self._weight()[channels]
        return _NarrowMap(lambda: weight, None if self._bias is None else self._bias[channels], self._geometry)

    def bias(self, part: WeightPart, like: Values) -> Values | None:
        """Return the bias' part, (O, 1, 1)."""
        return None if self._bias is None else part.of(self._bias.astype(like.dtype, copy=False))[:, None, None]


_SUMMED = 64
"""Channels that are added up one after the other; sums of sums have smaller errors."""


class _NarrowMap(ConvMap):
    """Some outputs of a convolution of single values: so few that no tile is worth it.

    Each is a sum of its own: none depends, to the bit, on which others are asked for. Not by a BLAS, whose threads wait
    for more on the cores that the way back needs.
    """

    def forward(self, xs: Sequence[Values], part: WeightPart) -> Values:
        """Return Ŵ x, (N, O, H, W)."""
        x, g = xs[0], self._geometry
        weight = part.of(self._weight().astype(x.dtype, copy=False))[:, :, 0, 0]
        product = np.zeros((len(x), len(weight), *g.out_size), x.dtype)
        (ours, rows), (sides, columns) = (_inside(g, axis) for axis in (0, 1))
        read = np.ascontiguousarray(x[:, :, rows, columns])
        inside = product[:, :, ours, sides]
        for begin in range(0, x.shape[1], _SUMMED):
            some = slice(begin, begin + _SUMMED)
            for n, inputs in enumerate(read[:, some]):
                inside[n] += np.einsum("oc,cyx->oyx", weight[:, some], inputs)
        return product


def _inside(g: Geometry, axis: int) -> tuple[slice, slice]:
    """Return the outputs along an axis that look at no padding, and what they look at; the kernel is a single value."""
    pad, stride = g.pads[axis], g.strides[axis]
    begin = max(0, -(-pad // stride))
    count = max(0, min(g.out_size[axis], -(-(g.in_size[axis] + pad) // stride)) - begin)
    first = begin * stride - pad
    return slice(begin, begin + count), slice(first, first + max(0, (count - 1) * stride + 1), stride)


@register
class Conv(Operator):
    """Cross-correlation with a bank of kernels, in groups."""

    name = "Conv"
    default = None
    weighted = True
    packed = (1,)

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(N, C, H, W) → (N, O, Ho, Wo)."""
        batch, channels, *size = shapes[0]
        out, per_group, *kernel = shapes[1]
        group = node.integer("group")
        if channels is None or out is None or per_group is None or per_group * group != channels or out % group:
            raise ModelError(
                f"node {node.name!r}: weights {shapes[1]} in {group} group(s) do not fit an input of shape {shapes[0]}"
            )
        if tuple(kernel) != node.ints("kernel_shape"):
            raise ModelError(f"node {node.name!r}: kernel_shape {node.ints('kernel_shape')}, weights have {kernel}")
        if len(shapes) > 2 and shapes[2] != (out,):
            raise ModelError(f"node {node.name!r}: expected a bias of shape ({out},), found {shapes[2]}")
        pads = node.ints("pads")
        sizes = zip(size, kernel, node.ints("strides"), node.ints("dilations"), pads[:2], pads[2:], strict=True)
        result = [((n or 0) + before + after - (k or 0) * d + d - 1) // s + 1 for n, k, s, d, before, after in sizes]
        if min(result) < 1:
            raise ModelError(f"node {node.name!r}: a kernel of {kernel} does not fit an input of shape {shapes[0]}")
        return ((batch, out, *result),)

    def macs(self, node: Node, graph: Graph) -> int:
        """One per weight and output position."""
        weight = graph.constants[node.inputs[1]]
        return prod(graph.tensors[node.outputs[0]].item_shape) * prod(weight.shape[1:])

    def linear_map(self, node: Node, graph: Graph) -> LinearMap:
        """Return the convolution over the graph's own weights."""
        bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 else None
        return ConvMap(lambda: graph.constants[node.inputs[1]], bias, geometry(node, graph))


def geometry(node: Node, graph: Graph) -> Geometry:
    """Return the geometry of a Conv node."""
    pairs = {key: node.ints(key) for key in ("kernel_shape", "strides", "dilations")}
    (_, height, width) = graph.tensors[node.inputs[0]].item_shape
    (_, out_height, out_width) = graph.tensors[node.outputs[0]].item_shape
    top, left, bottom, right = node.ints("pads")
    return Geometry(
        in_size=(height, width),
        out_size=(out_height, out_width),
        kernel=(pairs["kernel_shape"][0], pairs["kernel_shape"][1]),
        strides=(pairs["strides"][0], pairs["strides"][1]),
        dilations=(pairs["dilations"][0], pairs["dilations"][1]),
        pads=(top, left, bottom, right),
        group=node.integer("group"),
    )
