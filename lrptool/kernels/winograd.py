"""A 3 × 3 product by minimal filtering, as transformed weights packed for their tiles and a task over padded planes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.kernels.landing import Landing
from lrptool.kernels.records import FILTERED, PRODUCT, SPLIT
from lrptool.kernels.schedule import Schedule
from lrptool.kernels.scratch import scratch_of_column
from lrptool.kernels.shapes import FREQUENCIES, STEP, best_shape, extent_of, extent_of_strip, narrowest

Values = NDArray[np.floating[Any]]

_SLOTS, _CHANNELS, _TILES = 16, 8, 40
"""Planes, channels and tiles below which transforms, or reading 16 weights for 9, take longer than what is saved."""
_LEAST_WEIGHT = 0.01
"""Part of a channel's largest weight below which a tap has none to speak of, and of the largest of all a channel."""
_NEAR = 16384
"""Values of a frequency in a column of tiles that a core's own cache holds for all frequencies: 1 MB of float32."""
_PIECES = 48
"""Pieces that keep all threads busy to the end."""
_ROWS = 56
"""Channels per piece beside which the transform of its column takes little time."""
_AS_IT_IS = {
    **{f"{name}_{axis}": value for name, value in (("stride", 1), ("start", 0), ("from", 0)) for axis in "yx"},
    "apart": 0,
    "taps": 1,
    "foresee": False,
    "direct": True,
    "fill": False,
    "method": FILTERED,
    "merged": False,
    "strip": 1,
    "strips": 1,
    "sums": 0,
}
"""Fields of a product's record that say nothing of one by minimal filtering, but what it is."""
_TRANSFORM = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
"""G: three weights of a kernel become four."""


def _has_every_tap(kernels: Values) -> bool:
    """Whether every channel that counts has weight at each of its taps, for some plane."""
    most = np.maximum(kernels.max(axis=1), -kernels.min(axis=1))
    least, largest = most.min(axis=(2, 3)), most.max(axis=(2, 3))
    return bool(((least > _LEAST_WEIGHT * largest) | (largest < _LEAST_WEIGHT * largest.max())).all())


@dataclass(frozen=True, slots=True)
class Winograd:
    """Transformed weights (G, B, frequencies, slots, rows), and the tiles their products are computed for."""

    weights: Values
    offsets: NDArray[np.int64]
    shape: int
    channels: int
    tiles: tuple[int, int]
    cols: int

    @staticmethod
    def suits(kernels: Values, size: tuple[int, int]) -> bool:
        """Whether maps of a size take less time this way, with kernels (G, K, I, 3, 3), and errors do no harm.

        Of too many planes not even the narrowest column stays in a core's own cache. An error is that of the largest
        value a kernel meets: where a whole tap is without weight, nothing large need arrive to measure it against.
        """
        slots, channels = kernels.shape[1:3]
        tiles = prod(-(-length // STEP) for length in size)
        enough = slots >= _SLOTS and channels >= _CHANNELS and tiles >= _TILES
        return enough and slots * narrowest() <= _NEAR and _has_every_tap(kernels)

    @classmethod
    def of(cls, kernels: Values, size: tuple[int, int], cols: int) -> Winograd:
        """Transform kernels (G, K, I, 3, 3) that are shifted along planes of `cols`, for maps of a size."""
        groups, slots, channels = kernels.shape[:3]
        tiles = (-(-size[0] // STEP), -(-size[1] // STEP))
        shape = best_shape(channels, tiles[0] * tiles[1], slots, widest=_NEAR // slots)
        rows = extent_of(shape, kernels.dtype.itemsize)[0]
        blocks = -(-channels // rows)
        weights = np.zeros((groups, blocks, FREQUENCIES, slots, rows), kernels.dtype)
        for block in range(blocks):  # one by one: in float64, and all at once, they take up four times as much
            part = kernels[:, :, block * rows : (block + 1) * rows].astype(np.float64)
            terms = np.einsum("ya,gkiab,xb->gyxki", _TRANSFORM, part, _TRANSFORM, optimize=True)
            weights[:, block, ..., : part.shape[2]] = terms.reshape(groups, FREQUENCIES, slots, -1)
        return cls(weights, np.arange(slots)[:, None], shape, channels, tiles, cols)

    def add_to(self, schedule: Schedule, landing: Landing) -> None:
        """Add the task; its x cannot be `SPLIT`."""
        if landing.part == SPLIT:
            raise ValueError("minimal filtering has one result per input, not one for x > 0 and one for the rest")
        groups, blocks = self.weights.shape[:2]
        slots = len(self.offsets)
        rows, width = extent_of(self.shape, schedule.dtype.itemsize)
        columns = -(-self.tiles[0] * self.tiles[1] // width)
        chunks = -(-_PIECES // (columns * groups * schedule.batch))
        together = min(blocks, max(-(-blocks // chunks), -(-_ROWS // rows)))
        schedule.add(
            PRODUCT,
            schedule.batch * groups * columns * -(-blocks // together),
            reads=landing.reads,
            writes=landing.out,
            group=landing.group,
            own=scratch_of_column(self.shape, slots),
            weights=schedule.hold(self.weights),
            table=schedule.table(self.offsets),
            channels=self.channels,
            groups=groups,
            blocks=blocks,
            slots=slots,
            plane_values=landing.plane_values // slots,
            tile=self.shape,
            cols=self.cols,
            steps_y=self.tiles[0],
            steps_x=self.tiles[1],
            to_y=self.tiles[0],
            to_x=self.tiles[1],
            together=together,
            kept=rows,
            chunk=slots,
            wide=STEP * extent_of_strip(self.shape, 1)[1],
            **landing.fields(),
            **_AS_IT_IS,
        )
