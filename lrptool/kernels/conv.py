"""Convolution in two dimensions, transposed, as tasks over packed planes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.kernels.entries import Place
from lrptool.kernels.fraction import Fraction
from lrptool.kernels.geometry import Geometry, Padding
from lrptool.kernels.landing import Landing
from lrptool.kernels.memory import give_back
from lrptool.kernels.product import BANDS, Axis, Product
from lrptool.kernels.records import BY_TAPS, FILTERED, PACK, SCATTERED
from lrptool.kernels.scattered import Scattered
from lrptool.kernels.schedule import Schedule
from lrptool.kernels.scratch import SLACK
from lrptool.kernels.shapes import STEP, extent_of, fits_one
from lrptool.kernels.winograd import Winograd

Values = NDArray[np.floating[Any]]

_LEAST = 512
"""Values worth a piece of packing."""
_LARGE = 1 << 22
"""Bytes of weights after whose packing the system gets back what was needed for it."""
_FEW = 4
"""Channels so few that a phase of theirs fills no tile: with a stride, all phases are one product."""


@dataclass(frozen=True, slots=True)
class _Packed:
    """Packed weights of every phase, output channels, planes per group and part.

    With `summed` the channels of a group are one plane. With `columnar` planes lie side by side, column by column.
    """

    phases: Sequence[Product | Winograd | Scattered]
    channels: int
    slots: int
    summed: bool
    columnar: bool

    def written(self, *, accumulate: bool) -> Sequence[Product | Winograd | Scattered]:
        """Phases that have to be carried out; one without taps writes zeros, and adds nothing."""
        full = [phase for phase in self.phases if phase.offsets.size]
        if accumulate or len(full) == len(self.phases):
            return full
        first = full[0]
        if isinstance(first, Product) and len(full) == 1 and first.y.start == first.x.start == 0:
            return [replace(first, fill=True)]
        return self.phases

    def column(self, itemsize: int) -> int:
        """Values of a column, as wide as the tiles; 0 where planes are kept whole."""
        first = self.phases[0]
        return 0 if isinstance(first, Scattered) or not self.columnar else extent_of(first.shape, itemsize)[1]


class TransposedConv:
    """Σ_p Ŵ_pᵀ s_p for parts Ŵ_p (O, C/group, kh, kw) of a convolution's weights, packed once; float32 or float64.

    With a stride, input positions fall into stride² phases; each takes its own subset of the kernel's taps and reads
    the same zero-padded planes. The phases of few channels are one product. Where all output channels of a group have
    the same weights, as for a part that is one everywhere, their fractions are summed before the product.

    Parameters
    ----------
    parts : callable
        Returns the parts.
    geometry : Geometry
    others : callable, optional
        Returns the parts for those inputs that are not positive; x is `SPLIT` then.
    method : int
        `BY_TAPS`, `FILTERED` where that is faster, or `SCATTERED`; see `filtered` and `scattered`.
    """

    def __init__(
        self,
        parts: Callable[[], Sequence[Values]],
        geometry: Geometry,
        others: Callable[[], Sequence[Values]] | None = None,
        *,
        method: int = BY_TAPS,
    ) -> None:
        self._parts, self._others, self._geometry = parts, others, geometry.flat()
        self._method = method
        height, width = self._geometry.out_size
        if method == SCATTERED:
            self._y, self._x = (Padding(steps, 0, 0, 0) for steps in (height, width))
        else:
            self._y, self._x = (Padding.of(self._geometry, axis) for axis in (0, 1))
        self._rows = max(self._y.steps + self._y.reach, self._y.before + height)
        # What reaches beyond a row meets the zeros before the next one, so that these serve both; behind the last row
        # stand as many.
        self._cols = max(self._x.steps + self._x.reach - self._x.before, self._x.before + width)
        self._plane = self._rows * self._cols + self._x.before

    @cached_property
    def summed(self) -> bool:
        """Whether the output channels of a group have the same weights; packs nothing."""
        return all(_same(grouped) for grouped in self._grouped())

    @cached_property
    def filtered(self) -> TransposedConv:
        """The same by minimal filtering, which takes fewer multiplications; itself where that is not possible.

        Its rounding errors are small beside the largest fraction in the neighbourhood of an output, not beside every
        contribution to it: fractions should be of like size.
        """
        possible = _is_square(self._geometry) and self._others is None
        return TransposedConv(self._parts, self._geometry, method=FILTERED) if possible else self

    @cached_property
    def scattered(self) -> TransposedConv:
        """The same from what is not zero, which is quicker where little is; itself where that is not possible.

        A fraction that is not finite reaches up to a few pixels beyond its kernel.
        """
        few = Scattered.suits(self._geometry) and self._parts()[0].shape[1] <= _FEW and not self.summed
        return TransposedConv(self._parts, self._geometry, self._others, method=SCATTERED) if few else self

    def beside(self, other: TransposedConv) -> TransposedConv | None:
        """Return one that does for x > 0 what this does for all x, and for the rest what the other does.

        Both share their fractions, so that these are packed and read once. None where a tile does not hold both.
        """
        channels = self._parts()[0].shape[1]
        together = self._geometry.strides[1] if self._merges(channels) else channels
        # Minimal filtering knows one result per input.
        method = SCATTERED if self._method == SCATTERED else BY_TAPS
        held = method == SCATTERED or fits_one(2 * together)
        if self._geometry.group > 1 or self.summed or other.summed or not held:
            return None
        return TransposedConv(self._parts, self._geometry, other._parts, method=method)

    def _grouped(self) -> list[Values]:
        """The parts of the weights, (G, O/G, C/G, kh, kw), behind them along C those of the others."""
        group, parts = self._geometry.group, self._parts()
        if self._others is not None:
            parts = [np.concatenate(both, axis=1) for both in zip(parts, self._others(), strict=True)]
        return [part.reshape(group, part.shape[0] // group, *part.shape[1:]) for part in parts]

    @cached_property
    def _packed(self) -> _Packed:
        """The weights as the tiles read them; packed on first use, when a session has its own copies behind it."""
        g, grouped = self._geometry, self._grouped()
        channels = g.group * grouped[0].shape[1]
        summed = all(_same(part) for part in grouped)
        if summed:
            grouped = [part[:, :1] for part in grouped]
        stacked = grouped[0] if len(grouped) == 1 else np.concatenate(grouped, axis=1)
        columnar = g.single and not summed
        halves = 1 if self._others is None else 2
        phases: list[Product | Winograd | Scattered]
        if self._method == SCATTERED:
            phases = [Scattered.of(stacked, g, halves=halves)]
        elif self._merges(stacked.shape[2] // halves):
            phases = [self._merged(stacked)]
        else:
            phases = [
                self._phase(stacked, a, b, columnar=columnar) for a in range(g.strides[0]) for b in range(g.strides[1])
            ]
        packed = _Packed(phases, channels, grouped[0].shape[1], summed, columnar)
        if stacked.nbytes >= _LARGE:
            del grouped, stacked
            give_back()
        return packed

    def add_to(
        self, schedule: Schedule, fractions: Sequence[Fraction], x: Place, part: int, out: Place, *, accumulate: bool
    ) -> None:
        """Add the tasks that write x̂ · Σ_p Ŵ_pᵀ s_p into `out` (N, C, H, W), or add it there.

        Parameters
        ----------
        fractions : sequence of Fraction
            One per part of the weights.
        x : Place
            The input (N, C, H, W), not looked at where `part` is `ONE`.
        part : int
            `ONE`, `ALL`, `POS`, `NEG` or `SPLIT`: what x̂ is of x.
        """
        g, packed = self._geometry, self._packed
        slots = packed.slots * len(fractions)
        values = self._group_values(slots, schedule.dtype.itemsize)
        # Tiles of two rows reach below a map of an odd height.
        planes = schedule.scratch(g.group * values, SLACK + STEP * self._cols)
        flags = schedule.flags(schedule.batch * g.group * slots)
        for number, fraction in enumerate(fractions):
            self._add_packing(schedule, fraction, planes, flags, slots, number * packed.slots)
        landing = Landing(planes, values, flags, x, part, out, g.in_size, object(), accumulate)
        for phase in packed.written(accumulate=accumulate):
            phase.add_to(schedule, landing)

    def _add_packing(
        self, schedule: Schedule, fraction: Fraction, planes: Place, flags: int, slots: int, slot: int
    ) -> None:
        """Add the task that writes one fraction into its planes."""
        g, packed = self._geometry, self._packed
        height, width = g.out_size
        column = packed.column(schedule.dtype.itemsize)
        rows = max(1, max(height * width // BANDS, _LEAST) // width)
        if column:
            band = column * -(-max(height * width // BANDS, _LEAST) // column)
        else:
            band = rows if packed.summed else rows * width
        maps = g.group * -(-height // rows) if packed.summed else packed.channels * -(-height * width // band)
        schedule.add(
            PACK,
            schedule.batch * maps,
            reads=fraction.reads(),
            writes=planes,
            own=width,
            group="packing",
            planes=planes,
            flags=flags,
            channels=packed.channels,
            summed=packed.summed,
            groups=g.group,
            slots=slots,
            slot=slot,
            height=height,
            width=width,
            plane_values=self._group_values(slots, schedule.dtype.itemsize) if column else self._plane,
            cols=self._cols,
            top=self._y.before,
            left=self._x.before,
            band=band,
            column=column,
            **fraction.fields(),
        )

    def _group_values(self, slots: int, itemsize: int) -> int:
        """Values of a group's planes."""
        column = self._packed.column(itemsize)
        if not column:
            return slots * self._plane
        return slots * column * -(-prod(self._geometry.out_size) // column)

    def _taps(self, axis: int, phase: int) -> list[tuple[int, int]]:
        """Taps of one axis that reach input positions of a phase, each with its shift in the padded plane."""
        g = self._geometry
        reach = (self._y, self._x)[axis].reach
        places = [(tap, tap * g.dilations[axis]) for tap in range(g.kernel[axis])]
        return [(tap, reach - at // g.strides[axis]) for tap, at in places if at % g.strides[axis] == phase]

    def _landing(self, axis: int, phase: int) -> Axis:
        """How a phase lands on one axis."""
        g, padding = self._geometry, (self._y, self._x)[axis]
        steps, stride = padding.steps, g.strides[axis]
        start = phase - g.pads[axis] + stride * padding.skipped
        inside = -(-(g.in_size[axis] - start) // stride)
        return Axis(steps, stride, start, max(0, -(start // stride)), min(steps, inside))

    def _phase(self, grouped: Values, a: int, b: int, *, columnar: bool) -> Product | Winograd:
        """Return the product of phase (a, b); it may be without a tap, and writes zeros then."""
        ys, xs = self._taps(0, a), self._taps(1, b)
        taken = grouped
        if (len(ys), len(xs)) != grouped.shape[3:]:
            taken = grouped[:, :, :, [tap for tap, _ in ys]][..., [tap for tap, _ in xs]]
        groups, slots, channels = grouped.shape[:3]
        if self._method == FILTERED and Winograd.suits(taken, self._geometry.in_size):
            return Winograd.of(taken[..., ::-1, ::-1], self._geometry.in_size, self._cols)
        terms = taken.transpose(0, 1, 3, 4, 2).reshape(groups, slots * len(ys) * len(xs), channels)
        taps = np.array([shift_y * self._cols + shift_x for _, shift_y in ys for _, shift_x in xs], np.int64)
        offsets = np.arange(slots)[:, None] * self._plane + taps
        landing = self._landing(0, a), self._landing(1, b)
        split = self._others is not None
        return Product.of(terms, offsets, *landing, self._cols, columnar=columnar, split=split)

    def _merges(self, channels: int) -> bool:
        """Whether all phases are one product."""
        g = self._geometry
        strided = g.group == 1 and g.strides != (1, 1) and not g.single
        return strided and channels <= _FEW and fits_one(g.strides[1])

    def _merged(self, grouped: Values) -> Product:
        """Return the product of all phases at once; a tap that one of them has not is without weight there.

        So a fraction that is not finite reaches a pixel or two beyond its kernel.
        """
        (sy, sx), (_, slots, channels) = self._geometry.strides, grouped.shape[:3]
        halves = 1 if self._others is None else 2
        ys, xs = ([self._taps(axis, phase) for phase in range((sy, sx)[axis])] for axis in (0, 1))
        rows, cols = (sorted({shift for taps in phases for _, shift in taps}) for phases in (ys, xs))
        terms = np.zeros((slots, len(rows), len(cols), sy, channels // halves, halves, sx), grouped.dtype)
        for a, b in np.ndindex(sy, sx):
            for (ky, shift_y), (kx, shift_x) in product(ys[a], xs[b]):
                weights = grouped[0, :, :, ky, kx].reshape(slots, halves, channels // halves)
                terms[:, rows.index(shift_y), cols.index(shift_x), a, :, :, b] = weights.transpose(0, 2, 1)
        taps = np.array([row * self._cols + col for row in rows for col in cols], np.int64)
        return Product.of(
            terms.reshape(1, slots * taps.size, -1),
            np.arange(slots)[:, None] * self._plane + taps,
            self._landing(0, 0),
            self._landing(1, 0),
            self._cols,
            split=halves > 1,
            merged=True,
        )


def _is_square(g: Geometry) -> bool:
    """Whether an output's neighbours are those of its inputs, in a kernel of 3 × 3."""
    return (g.kernel, g.strides, g.dilations) == ((3, 3), (1, 1), (1, 1)) and max(g.pads[:2]) <= STEP


def _same(grouped: Values) -> bool:
    """Whether all output channels of a group (G, O, C, kh, kw) have the same weights; quick where they do not."""
    return bool((grouped[:, :2] == grouped[:, :1]).all() and (grouped == grouped[:, :1]).all())
