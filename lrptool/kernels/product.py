"""A convolution's product, as weights packed for its tiles and a task over shifted planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.kernels.landing import Landing
from lrptool.kernels.records import BY_TAPS, PRODUCT
from lrptool.kernels.schedule import Schedule
from lrptool.kernels.shapes import best_shape, extent_of, extent_of_strip, sums_of

Values = NDArray[np.floating[Any]]
Offsets = NDArray[np.int64]

_NEAR = 125_000
"""Values of the planes that stay in a core's cache beside a block of weights, which meets all of them in turn."""
_FAR = 500_000
"""Values of the planes that no core's own cache holds: what the first of many blocks of weights reads is asked for."""
_MANY = 4
"""Blocks of weights among which the time that takes is little."""
_CHUNK = 1536
"""Weights of a block that a core's first cache holds beside what they meet."""
_SUMS = 32768
"""Sums that wait for the next chunk of weights in a core's own cache."""
_STRIP = 256
"""Positions of a block of channels that are stored together: long stretches of maps are read and written faster."""
_FEW = 4
"""Columns so few that a thread takes all of them with a block of weights."""
BANDS = 16
"""Pieces a map is cut into when it is packed: threads keep to their own parts of maps."""


@dataclass(frozen=True, slots=True)
class Axis:
    """How the steps of a product land on one axis of a map: step u on stride · u + start, where low ≤ u < high."""

    steps: int
    stride: int
    start: int
    low: int
    high: int

    def fields(self, axis: str) -> dict[str, int]:
        """Return its part of a task's record."""
        named = {
            "steps": self.steps,
            "stride": self.stride,
            "start": self.start,
            "from": self.low,
            "to": self.high,
        }
        return {f"{name}_{axis}": value for name, value in named.items()}


@dataclass(frozen=True, slots=True)
class Product:
    """Packed weights (G, B, K, rows), the offsets of their terms (slots, taps), and where the steps land.

    With `fill` they are all that lands: what lies between gets zeros.

    Sources of neighbouring columns lie `apart`. Columnar planes are read in order; as whole planes, every term of a
    1 × 1 product would lie on another page. Of the rows of a block the first `kept` have weights. Where it is `merged`
    the product is that of all phases of a stride, see `of`.
    """

    weights: Values
    offsets: Offsets
    shape: int
    channels: int
    y: Axis
    x: Axis
    cols: int
    apart: int
    kept: int
    fill: bool = False
    merged: bool = False

    @classmethod
    def of(
        cls,
        terms: Values,
        offsets: Offsets,
        y: Axis,
        x: Axis,
        cols: int,
        *,
        columnar: bool = False,
        split: bool = False,
        merged: bool = False,
    ) -> Product:
        """Choose a tile for terms (G, K, I) and cut them into its blocks, the last one filled up with zeros.

        Where x is `split`, the second half of the terms' channels is for what is not positive of it. Where all phases
        are `merged`, I counts rows of phases, channels, these halves, and columns of phases; of each channel's row of
        results the columns are taken in turn.
        """
        groups, count, channels = terms.shape
        halves = 2 if split else 1
        unit = halves * x.stride if merged else channels if split else 1
        shape = best_shape(channels, y.steps * cols, count, unit=unit)
        rows, width = extent_of(shape, terms.dtype.itemsize)
        kept = rows // unit * unit
        blocks = -(-channels // kept)
        weights = np.zeros((groups, blocks, count, rows), terms.dtype)
        for block in range(blocks):
            part = terms[..., block * kept : (block + 1) * kept]
            weights[:, block, :, : part.shape[-1]] = part
        if columnar:
            offsets = np.arange(len(offsets))[:, None] * width + np.zeros_like(offsets)
        channels //= halves * (y.stride * x.stride if merged else 1)
        apart = len(offsets) * width if columnar else width
        return cls(weights, offsets, shape, channels, y, x, cols, apart, kept, merged=merged)

    def add_to(self, schedule: Schedule, landing: Landing) -> None:
        """Add the task."""
        groups, blocks = self.weights.shape[:2]
        slots, taps = self.offsets.shape
        width = extent_of(self.shape, schedule.dtype.itemsize)[1]
        columns = -(-((self.y.steps - 1) * self.cols + self.x.steps) // width)
        met = slots * len(np.unique(self.offsets[:1] // self.cols)) * width
        together = max(1, min(columns, _NEAR // max(1, met)))
        if self.weights.size <= _NEAR:
            together = min(together, -(-columns // BANDS))
        own, scratch = self._scratch(together, width)
        (height, wide), steps = landing.size, (self.y.stride, self.x.stride, self.y.start, self.x.start)
        direct = steps == (1, 1, 0, 0) and self.cols == wide and self.y.high >= height and self.x.high >= wide
        schedule.add(
            PRODUCT,
            schedule.batch * groups * blocks * columns,
            reads=landing.reads,
            writes=landing.out,
            group=landing.group,
            own=own,
            # A block of weights should not be read by one thread for every column.
            grain=together if together <= _FEW else 1,
            weights=schedule.hold(self.weights),
            table=schedule.table(self.offsets),
            apart=self.apart,
            channels=self.channels,
            groups=groups,
            blocks=blocks,
            slots=slots,
            taps=taps,
            plane_values=landing.plane_values,
            tile=self.shape,
            cols=self.cols,
            **landing.fields(),
            **self.y.fields("y"),
            **self.x.fields("x"),
            together=together,
            foresee=taps > 1 and blocks >= _MANY and landing.plane_values > _FAR,
            fill=self.fill,
            method=BY_TAPS,
            merged=self.merged,
            kept=self.kept,
            **scratch,
            direct=direct,
        )

    def _scratch(self, together: int, width: int) -> tuple[int, dict[str, int]]:
        """Return the values a thread needs for strips of columns, and what a task's record says of them."""
        slots, taps = self.offsets.shape
        strip = max(1, min(together, _STRIP // width))
        rows, wide = extent_of_strip(self.shape, strip)
        sums = sums_of(self.shape)
        chunk = max(1, _CHUNK // (rows * max(1, taps))) * max(1, taps)
        strips = 1 if slots * taps <= chunk else max(1, _SUMS // (rows * wide))
        lines = 2 * self.x.stride * wide if self.merged else 0
        fields = {"chunk": chunk, "strip": strip, "strips": strips, "wide": wide, "sums": sums}
        return strips * (rows * wide + strip * sums) + lines, fields
