"""Convolution in one to three dimensions as a linear map, and its transpose.

Everything is done by the two-dimensional convolution: a line is an image of height 1, and the depth taps of a volume
stand beside each other as channels of its slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lrptool.graph import Graph, Node, Shape
from lrptool.kernels import Geometry
from lrptool.ops.axes import per_channel
from lrptool.ops.base import LinearMap, Values, WeightPart, misfit
from lrptool.ops.conv import Conv, ConvMap
from lrptool.ops.registry import register


@dataclass(frozen=True, slots=True)
class Volume:
    """Everything about a convolution of any rank but its weights, lifted to three axes: depth, height, width.

    Parameters
    ----------
    rank : int
        Number of axes it really has.
    in_size, out_size, kernel, strides, dilations, begins, ends : (int, int, int)
    group : int
    """

    rank: int
    in_size: tuple[int, ...]
    out_size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    group: int

    @classmethod
    def of(cls, node: Node, graph: Graph, wide: str, narrow: str) -> Volume:
        """Return the geometry of a node; `wide` is the tensor a convolution reads, `narrow` the one it writes."""
        rank, pads = len(node.ints("kernel_shape")), node.ints("pads")

        def lifted(values: Sequence[int], fill: int) -> tuple[int, ...]:
            return (*(fill,) * (3 - rank), *values)

        return cls(
            rank,
            in_size=lifted(graph.tensors[wide].item_shape[1:], 1),
            out_size=lifted(graph.tensors[narrow].item_shape[1:], 1),
            kernel=lifted(node.ints("kernel_shape"), 1),
            strides=lifted(node.ints("strides"), 1),
            dilations=lifted(node.ints("dilations"), 1),
            begins=lifted(pads[:rank], 0),
            ends=lifted(pads[rank:], 0),
            group=node.integer("group"),
        )

    def flat(self) -> Geometry:
        """Return the geometry of one slice."""
        return Geometry(
            in_size=(self.in_size[1], self.in_size[2]),
            out_size=(self.out_size[1], self.out_size[2]),
            kernel=(self.kernel[1], self.kernel[2]),
            strides=(self.strides[1], self.strides[2]),
            dilations=(self.dilations[1], self.dilations[2]),
            pads=(self.begins[1], self.begins[2], self.ends[1], self.ends[2]),
            group=self.group,
        )

    def slices(self) -> list[slice]:
        """Return, for each depth tap, the padded slices it reads."""
        stride, count = self.strides[0], self.out_size[0]
        starts = (tap * self.dilations[0] for tap in range(self.kernel[0]))
        return [slice(start, start + (count - 1) * stride + 1, stride) for start in starts]

    @property
    def padded_depth(self) -> int:
        """Number of slices with the padding before and behind, none of it left unread."""
        reach = self.slices()[-1].stop
        return max(int(reach), self.begins[0] + self.in_size[0])


class ConvNdMap:
    """A convolution of one to three dimensions as a linear map.

    Parameters
    ----------
    weight : float32 or float64 (O, C/group, k…)
    bias : same dtype (O,), or None
    volume : Volume
    """

    def __init__(self, weight: NDArray[Any], bias: Values | None, volume: Volume) -> None:
        out, inside = weight.shape[:2]
        self._volume, self._bias = volume, bias
        flat = np.ascontiguousarray(weight.reshape(out, inside * volume.kernel[0], *volume.kernel[1:]))
        self._map = ConvMap(lambda: flat, None, volume.flat())

    def gather(self, k: int, parts: tuple[WeightPart, ...], dtype: DTypeLike) -> None:
        """Return nothing: `transpose` will do."""
        return

    def forward(self, xs: Sequence[Values], part: WeightPart) -> Values:
        """Return Ŵ * x, (N, O, size…)."""
        x, v = xs[0], self._volume
        y = self._map.forward([self._unfold(x)], part)
        apart = y.reshape(len(x), v.out_size[0], -1, *v.out_size[1:]).swapaxes(1, 2)
        return np.ascontiguousarray(apart).reshape(len(x), -1, *v.out_size[3 - v.rank :])

    def transpose(self, s: Values, part: WeightPart) -> tuple[Values, ...]:
        """Return Ŵᵀ s, (N, C, size…)."""
        items, v = len(s), self._volume
        slices = s.reshape(items, -1, *v.out_size).swapaxes(1, 2).reshape(-1, s.shape[1], *v.out_size[1:])
        (back,) = self._map.transpose(np.ascontiguousarray(slices), part)
        return (self._fold(back.reshape(items, v.out_size[0], -1, v.kernel[0], *v.in_size[1:])),)

    def bias(self, part: WeightPart, like: Values) -> Values | None:
        """Return the bias' part, (O, 1, …)."""
        if self._bias is None:
            return None
        return per_channel(part.of(self._bias.astype(like.dtype, copy=False)), self._volume.rank + 2)

    def _unfold(self, x: Values) -> Values:
        """Return the slices every output slice reads, taps beside channels: (N · Do, C · kd, H, W)."""
        items, channels = x.shape[:2]
        v = self._volume
        begin, depth = v.begins[0], v.in_size[0]
        padded = np.zeros((items, v.padded_depth, channels, *v.in_size[1:]), x.dtype)
        padded[:, begin : begin + depth] = x.reshape(items, channels, *v.in_size).swapaxes(1, 2)
        taps = np.stack([padded[:, taken] for taken in v.slices()], axis=3)
        return taps.reshape(items * v.out_size[0], channels * v.kernel[0], *v.in_size[1:])

    def _fold(self, taps: Values) -> Values:
        """Add up (N, Do, C, kd, H, W) where the slices came from: (N, C, size…)."""
        v, (items, _, channels) = self._volume, taps.shape[:3]
        padded = np.zeros((items, v.padded_depth, channels, *v.in_size[1:]), taps.dtype)
        for tap, taken in enumerate(v.slices()):
            padded[:, taken] += taps[:, :, :, tap]
        inside = padded[:, v.begins[0] : v.begins[0] + v.in_size[0]].swapaxes(1, 2)
        return np.ascontiguousarray(inside).reshape(items, channels, *v.in_size[3 - v.rank :])


class ConvTransposeMap:
    """The transpose of a convolution as a linear map.

    Parameters
    ----------
    weight : float32 or float64 (C, O/group, k…)
    bias : same dtype (O,), or None
    volume : Volume
        Of the convolution it transposes: from this map's output to its input.
    """

    def __init__(self, weight: NDArray[Any], bias: Values | None, volume: Volume) -> None:
        self._conv, self._bias, self._rank = ConvNdMap(weight, None, volume), bias, volume.rank

    def gather(self, k: int, parts: tuple[WeightPart, ...], dtype: DTypeLike) -> None:
        """Return nothing: `transpose` will do."""
        return

    def forward(self, xs: Sequence[Values], part: WeightPart) -> Values:
        """Return Ŵ x, (N, O, size…)."""
        return self._conv.transpose(xs[0], part)[0]

    def transpose(self, s: Values, part: WeightPart) -> tuple[Values, ...]:
        """Return Ŵᵀ s, (N, C, size…): a convolution."""
        return (self._conv.forward([s], part),)

    def bias(self, part: WeightPart, like: Values) -> Values | None:
        """Return the bias' part, (O, 1, …)."""
        if self._bias is None:
            return None
        return per_channel(part.of(self._bias.astype(like.dtype, copy=False)), self._rank + 2)


@register
class ConvNd(Conv):
    """Convolution in one to three dimensions."""

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(N, C, size…) → (N, O, size…)."""
        rank, kernel = len(shapes[0]) - 2, node.ints("kernel_shape")
        if rank == len(kernel) == 2:
            return super().infer(node, shapes)
        (batch, channels, *size), (out, inside, *taps), group = shapes[0], shapes[1], node.integer("group")
        if not 1 <= rank <= 3 or len(taps) != rank or (inside or 0) * group != channels or (out or 0) % group:
            raise misfit(node, f"weights {shapes[1]} in {group} group(s) do not fit an input of shape {shapes[0]}")
        if tuple(taps) != kernel or any(shape != (out,) for shape in shapes[2:]):
            raise misfit(
                node,
                f"expected weights of kernel_shape {kernel} and a bias of shape ({out},), "
                f"found {', '.join(map(str, shapes[1:]))}",
            )
        pads = node.ints("pads")
        steps = zip(size, kernel, node.ints("strides"), node.ints("dilations"), pads[:rank], pads[rank:], strict=True)
        result = [((n or 0) + begin + end - (k - 1) * d - 1) // s + 1 for n, k, s, d, begin, end in steps]
        if min(result) < 1:
            raise misfit(node, f"a kernel of {kernel} does not fit an input of shape {shapes[0]}")
        return ((batch, out, *result),)

    def linear_map(self, node: Node, graph: Graph) -> LinearMap:
        """Return the convolution over the graph's own weights."""
        if len(node.ints("kernel_shape")) == 2:
            return super().linear_map(node, graph)
        bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 else None
        volume = Volume.of(node, graph, wide=node.inputs[0], narrow=node.outputs[0])
        return ConvNdMap(graph.constants[node.inputs[1]], bias, volume)
