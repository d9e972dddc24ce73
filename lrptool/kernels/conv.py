"""Transposed convolution in two dimensions, with the fractions before it and the factor behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.kernels.jit import get_threads
from lrptool.kernels.product import ONE, SLACK, best_shape, product, rows_of
from lrptool.kernels.schedule import APART

Values = NDArray[np.floating[Any]]
Offsets = NDArray[np.int64]

_MOST_FRACTIONS = 2
"""No rule has more shares with one part of the input."""


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
class Fraction:
    """coefficient · r / stabilised denominator, for one part of the weights.

    Parameters
    ----------
    r, denominator, z : array (N, O, Ho, Wo)
        Denominator and z may be (1, O, Ho, Wo). Neither is looked at where `normalised` is false, or `where` is 0.
    epsilon : array (N,)
    clip, normalised : bool
    where : int
        `EVERYWHERE`, `POSITIVE` or `NEGATIVE`: outputs taken, by the sign of z.
    coefficient : float
    """

    r: Values
    denominator: Values
    z: Values
    epsilon: Values
    clip: bool
    normalised: bool
    where: int
    coefficient: float


class ForwardConv:
    """y = W * x for one array of weights (O, C/group, kh, kw), packed once; float32 or float64.

    A stride splits the padded input into stride² phases, each read at stride 1. The engine lets onnxruntime do the
    products that depend on the picture; this one is for those that do not, and for float64.
    """

    def __init__(self, weight: Values, geometry: Geometry) -> None:
        self._geometry = g = geometry
        (kh, kw), (sy, sx), (dy, dx) = g.kernel, g.strides, g.dilations
        self._rows = max(g.out_size[0] + (kh - 1) * dy // sy, -(-(g.in_size[0] + g.pads[0]) // sy))
        self._cols = max(g.out_size[1] + (kw - 1) * dx // sx, -(-(g.in_size[1] + g.pads[1]) // sx))
        plane = self._rows * self._cols
        self._offsets = np.array(
            [
                (channel * sy * sx + ky * dy % sy * sx + kx * dx % sx) * plane
                + ky * dy // sy * self._cols
                + kx * dx // sx
                for channel in range(weight.shape[1])
                for ky in range(kh)
                for kx in range(kw)
            ],
            np.int64,
        ).reshape(weight.shape[1], -1)
        self._shape = best_shape(weight.shape[0] // g.group, g.out_size[0] * self._cols)
        terms = weight.reshape(g.group, weight.shape[0] // g.group, -1).transpose(0, 2, 1)
        self._weights = _blocks(terms, rows_of(self._shape))
        self._channels = weight.shape[0]

    def __call__(self, x: Values) -> Values:
        """Return y (N, O, Ho, Wo) of x (N, C, H, W)."""
        g, (sy, sx) = self._geometry, self._geometry.strides
        (height, width), (top, left) = g.in_size, g.pads[:2]
        batch, channels = x.shape[:2]
        padded = np.zeros((batch, channels, self._rows * sy, self._cols * sx), x.dtype)
        padded[:, :, top : top + height, left : left + width] = x
        phases = padded.reshape(batch, channels, self._rows, sy, self._cols, sx).transpose(0, 1, 3, 5, 2, 4)
        planes = np.pad(phases.reshape(batch, g.group, -1), ((0, 0), (0, 0), (0, SLACK)))
        out = np.empty((batch, self._channels, *g.out_size), x.dtype)
        steps, landing = g.out_size, (0, g.out_size[0], 0, g.out_size[1])
        nothing = out[:, :0]
        product(
            self._shape,
            np.empty((0, 4)),
            nothing,
            (nothing, nothing),
            nothing,
            np.empty((2, 0), x.dtype),
            (0, self._cols, 0, 0),
            planes,
            np.ones((1, 1, len(self._offsets)), np.bool_),
            self._weights,
            self._offsets,
            steps,
            (1, 0, 1, 0),
            landing,
            out,
            ONE,
            out,
            False,  # noqa: FBT003  (numba takes no keywords)
            np.zeros(3 * APART, np.int64),
            get_threads(),
        )
        return out


@dataclass(frozen=True, slots=True)
class _Phase:
    """One subset of the kernel's taps, and where its steps land: weights (G, B, K, rows), offsets (planes, taps)."""

    weights: Values
    offsets: Offsets
    shape: int
    first: tuple[int, int, int, int]
    last: tuple[int, int, int, int]


class TransposedConv:
    """Σ_p Ŵ_pᵀ s_p for parts Ŵ_p (O, C/group, kh, kw) of a convolution's weights, packed once; float32 or float64.

    With a stride, input positions fall into stride² phases; each takes its own subset of the kernel's taps and reads
    the same zero-padded planes.
    """

    def __init__(self, parts: Sequence[Values], geometry: Geometry) -> None:
        self.geometry = g = geometry
        self._shift = tuple((k - 1) * d // s for k, d, s in zip(g.kernel, g.dilations, g.strides, strict=True))
        self._steps = tuple(
            (size + pad - 1) // stride + 1 for size, pad, stride in zip(g.in_size, g.pads[:2], g.strides, strict=True)
        )
        self._rows = self._shift[0] + max(self._steps[0], g.out_size[0])
        self._cols = self._shift[1] + max(self._steps[1], g.out_size[1])
        out_channels, self._channels = parts[0].shape[:2]
        self._planes = len(parts) * out_channels // g.group
        grouped = [part.reshape(g.group, out_channels // g.group, *part.shape[1:]) for part in parts]
        stacked = np.concatenate(grouped, axis=1)
        phases = [self._phase(stacked, a, b) for a in range(g.strides[0]) for b in range(g.strides[1])]
        self._phases = [phase for phase in phases if phase is not None]
        self._covered = len(self._phases) == len(phases)

    def plane_values(self, batch: int) -> int:
        """Values the buffer of planes holds for a batch."""
        values: int = batch * self.geometry.group * (self._planes * self._rows * self._cols + SLACK)
        return values

    def __call__(
        self,
        fractions: Sequence[Fraction],
        x: Values,
        part: int,
        out: Values,
        planes: Values,
        *,
        accumulate: bool,
    ) -> None:
        """Write x̂ · Σ_p Ŵ_pᵀ s_p into `out` (N, C, H, W), or add it.

        Parameters
        ----------
        fractions : sequence of Fraction
            One per part of the weights.
        x : array (N, C, H, W) or (1, C, H, W)
        part : int
            `ONE`, `ALL`, `POS` or `NEG`: what x̂ is of x.
        planes : array
            Flat scratch of at least `plane_values` values.
        """
        if not 1 <= len(fractions) <= _MOST_FRACTIONS:
            raise ValueError(f"expected 1 to {_MOST_FRACTIONS} fractions, found {len(fractions)}")
        batch, group = len(out), self.geometry.group
        shaped = planes[: self.plane_values(batch)].reshape(batch, group, -1)
        shaped[:, :, -SLACK:] = 0
        one, other = fractions[0], fractions[-1]
        rows = [(f.coefficient, f.where, f.clip, f.normalised) for f in fractions]
        pack = np.array(rows, np.float64)
        epsilons = np.stack([one.epsilon, other.epsilon])
        alive = np.empty((batch, group, self._planes), np.bool_)
        if not self._covered and not accumulate:
            out[...] = 0
        for phase in self._phases:
            product(
                phase.shape,
                pack,
                one.r,
                (one.denominator, other.denominator),
                one.z,
                epsilons,
                (self._rows, self._cols, *self._shift),
                shaped,
                alive,
                phase.weights,
                phase.offsets,
                self._steps,
                phase.first,
                phase.last,
                x,
                part,
                out,
                accumulate,
                np.zeros(3 * APART, np.int64),
                get_threads(),
            )
            pack = pack[:0]  # the other phases read the same planes

    def _taps(self, axis: int, phase: int) -> list[tuple[int, int]]:
        """Taps of one axis that reach input positions of a phase, each with its shift in the padded plane."""
        g = self.geometry
        reach = [(tap, tap * g.dilations[axis]) for tap in range(g.kernel[axis])]
        return [(tap, self._shift[axis] - at // g.strides[axis]) for tap, at in reach if at % g.strides[axis] == phase]

    def _landing(self, axis: int, phase: int) -> tuple[int, int, int, int]:
        """Stride and start of one axis, and the steps [from, to) that land inside: position = stride · step + start."""
        g = self.geometry
        stride, start = g.strides[axis], phase - g.pads[axis]
        return stride, start, max(0, -(start // stride)), -(-(g.in_size[axis] - start) // stride)

    def _phase(self, grouped: Values, a: int, b: int) -> _Phase | None:
        """Pack the taps of phase (a, b); None where no tap falls into it."""
        ys, xs = self._taps(0, a), self._taps(1, b)
        if not ys or not xs:
            return None
        taken = grouped[:, :, :, [tap for tap, _ in ys]][..., [tap for tap, _ in xs]]
        terms = taken.transpose(0, 1, 3, 4, 2).reshape(grouped.shape[0], -1, self._channels)
        plane = self._rows * self._cols
        taps = [shift_y * self._cols + shift_x for _, shift_y in ys for _, shift_x in xs]
        offsets = np.arange(grouped.shape[1])[:, None] * plane + np.array(taps, np.int64)
        shape = best_shape(self._channels, self._steps[0] * self._cols)
        (sy, y0, u0, u1), (sx, x0, v0, v1) = self._landing(0, a), self._landing(1, b)
        last = (u0, min(u1, self._steps[0]), v0, min(v1, self._steps[1]))
        return _Phase(_blocks(terms, rows_of(shape)), offsets, shape, (sy, y0, sx, x0), last)


def _blocks(terms: Values, rows: int) -> Values:
    """Cut (G, K, I) into blocks of `rows` channels, the last one filled up with zeros: (G, B, K, rows)."""
    groups, count, channels = terms.shape
    blocks = -(-channels // rows)
    padded = np.zeros((groups, count, blocks * rows), terms.dtype)
    padded[..., :channels] = terms
    return np.ascontiguousarray(padded.reshape(groups, count, blocks, rows).transpose(0, 2, 1, 3))
