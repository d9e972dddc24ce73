"""Two-dimensional convolution and its transpose, as products over shifted planes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.kernels.product import ROWS, UNROLL, shifted_product

Values = NDArray[np.floating[Any]]
Offsets = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Geometry:
    """Everything about a convolution but its weights.

    Parameters
    ----------
    in_size, out_size : (int, int)
        Height and width of the maps.
    kernel, strides, dilations : (int, int)
    pads : (int, int, int, int)
        Top, left, bottom, right.
    group : int
    """

    in_size: tuple[int, int]
    out_size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    group: int


@dataclass(frozen=True, slots=True)
class Packed:
    """Weights in the order the product reads them, with the table of shifts: weights (G, O, K), offsets (K,)."""

    weights: Values
    offsets: Offsets


def _pack(weights: Values, offsets: list[int]) -> Packed:
    """Pad rows and terms of weights (G, O, K) with zeros to what the product's step takes."""
    groups, rows, terms = weights.shape
    packed = np.zeros((groups, -(-rows // ROWS) * ROWS, -(-terms // UNROLL) * UNROLL), weights.dtype)
    packed[:, :rows, :terms] = weights
    table = np.zeros(packed.shape[2], np.int64)
    table[:terms] = offsets
    return Packed(packed, table)


def _run(packed: Packed, planes: Values, size: int) -> Values:
    """Return the product (N, G, O, size) over planes (N, G, L)."""
    out = np.empty((planes.shape[0], planes.shape[1], packed.weights.shape[1], size), planes.dtype)
    shifted_product(packed.weights, planes, packed.offsets, out)
    return out


class ForwardConv:
    """y = W * x for one array of weights (O, C/group, kh, kw), packed once; float32 or float64.

    A stride splits the padded input into stride² phases, each read at stride 1.
    """

    def __init__(self, weight: Values, geometry: Geometry) -> None:
        self.geometry = g = geometry
        (kh, kw), (sy, sx), (dy, dx) = g.kernel, g.strides, g.dilations
        self._rows = max(g.out_size[0] + (kh - 1) * dy // sy, -(-(g.in_size[0] + g.pads[0]) // sy))
        self._cols = max(g.out_size[1] + (kw - 1) * dx // sx, -(-(g.in_size[1] + g.pads[1]) // sx))
        out_channels, channels = weight.shape[:2]
        plane = self._rows * self._cols
        offsets = [
            (channel * sy * sx + ky * dy % sy * sx + kx * dx % sx) * plane + ky * dy // sy * self._cols + kx * dx // sx
            for channel in range(channels)
            for ky in range(kh)
            for kx in range(kw)
        ]
        self._out_per_group = out_channels // g.group
        self._packed = _pack(weight.reshape(g.group, self._out_per_group, -1), offsets)

    def __call__(self, x: Values) -> Values:
        """Return y (N, O, Ho, Wo) of x (N, C, H, W)."""
        g, (sy, sx) = self.geometry, self.geometry.strides
        (height, width), (top, left) = g.in_size, g.pads[:2]
        batch, channels = x.shape[:2]
        padded = np.zeros((batch, channels, self._rows * sy, self._cols * sx), x.dtype)
        padded[:, :, top : top + height, left : left + width] = x
        phases = padded.reshape(batch, channels, self._rows, sy, self._cols, sx).transpose(0, 1, 3, 5, 2, 4)
        planes = np.ascontiguousarray(phases).reshape(batch, g.group, -1)
        out_height, out_width = g.out_size
        out = np.zeros((batch, g.group, self._packed.weights.shape[1], out_height * self._cols), x.dtype)
        size = (out_height - 1) * self._cols + out_width
        out[..., :size] = _run(self._packed, planes, size)
        maps = out[:, :, : self._out_per_group].reshape(batch, -1, out_height, self._cols)
        return np.ascontiguousarray(maps[..., :out_width])


class TransposedConv:
    """r = Wᵀ s for one array of weights (O, C/group, kh, kw), packed once; float32 or float64.

    With a stride, input positions fall into stride² phases; each takes its own subset of the kernel's taps.
    """

    def __init__(self, weight: Values, geometry: Geometry) -> None:
        self.geometry = g = geometry
        self._shift = tuple((k - 1) * d // s for k, d, s in zip(g.kernel, g.dilations, g.strides, strict=True))
        self._steps = tuple(
            (size + pad - 1) // stride + 1 for size, pad, stride in zip(g.in_size, g.pads[:2], g.strides, strict=True)
        )
        self._rows = self._shift[0] + max(self._steps[0], g.out_size[0])
        self._cols = self._shift[1] + max(self._steps[1], g.out_size[1])
        self._channels = weight.shape[1]
        grouped = weight.reshape(g.group, weight.shape[0] // g.group, *weight.shape[1:])
        self._phases = [
            (a, b, self._pack_phase(grouped, a, b)) for a in range(g.strides[0]) for b in range(g.strides[1])
        ]

    def _taps(self, axis: int, phase: int) -> list[tuple[int, int]]:
        """Taps of one axis that reach input positions of a phase, each with its shift in the padded plane."""
        g = self.geometry
        reach = [(tap, tap * g.dilations[axis]) for tap in range(g.kernel[axis])]
        return [(tap, self._shift[axis] - at // g.strides[axis]) for tap, at in reach if at % g.strides[axis] == phase]

    def _pack_phase(self, grouped: Values, a: int, b: int) -> Packed | None:
        """Pack the taps of phase (a, b); None where no tap falls into it."""
        ys, xs = self._taps(0, a), self._taps(1, b)
        if not ys or not xs:
            return None
        plane = self._rows * self._cols
        taken = grouped[:, :, :, [tap for tap, _ in ys]][..., [tap for tap, _ in xs]]
        rows = taken.transpose(0, 2, 1, 3, 4).reshape(grouped.shape[0], self._channels, -1)
        offsets = [
            channel * plane + shift_y * self._cols + shift_x
            for channel in range(grouped.shape[1])
            for _, shift_y in ys
            for _, shift_x in xs
        ]
        return _pack(rows, offsets)

    def __call__(self, s: Values) -> Values:
        """Return r (N, C, H, W) of s (N, O, Ho, Wo)."""
        g = self.geometry
        batch, out_channels = s.shape[:2]
        padded = np.zeros((batch, out_channels, self._rows, self._cols), s.dtype)
        (top, left), (out_height, out_width) = self._shift, g.out_size
        padded[:, :, top : top + out_height, left : left + out_width] = s
        planes = padded.reshape(batch, g.group, -1)
        r = np.zeros((batch, g.group * self._channels, *g.in_size), s.dtype)
        for (rows, from_rows), (cols, from_cols), packed in self._targets():
            size = (self._steps[0] - 1) * self._cols + self._steps[1]
            out = np.zeros((batch, g.group, packed.weights.shape[1], self._steps[0] * self._cols), s.dtype)
            out[..., :size] = _run(packed, planes, size)
            maps = out[:, :, : self._channels].reshape(batch, -1, self._steps[0], self._cols)
            r[:, :, rows, cols] = maps[:, :, from_rows, from_cols]
        return r

    def _targets(self) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice], Packed]]:
        """Yield per phase where its steps land in the input: (target, source) slices of rows and of columns."""
        for a, b, packed in self._phases:
            if packed is not None:
                yield self._landing(0, a), self._landing(1, b), packed

    def _landing(self, axis: int, phase: int) -> tuple[slice, slice]:
        """Slices (in the input, in the phase's own steps) of one axis: position = stride · step + phase − pad ≥ 0."""
        g = self.geometry
        stride, size, pad = g.strides[axis], g.in_size[axis], g.pads[axis]
        first_step = max(0, -(-(pad - phase) // stride))
        first = stride * first_step + phase - pad
        count = max(0, -(-(size - first) // stride))
        return slice(first, first + (count - 1) * stride + 1 if count else first, stride), slice(
            first_step, first_step + count
        )
