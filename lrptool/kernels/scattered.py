"""A product of few channels from fractions that are mostly zero, as weights of windows and a task over bare planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.kernels.geometry import Geometry
from lrptool.kernels.landing import Landing
from lrptool.kernels.records import PRODUCT, SCATTERED, SPLIT
from lrptool.kernels.schedule import Schedule
from lrptool.kernels.scratch import LINE, scratch_of_band, values_at_a_time
from lrptool.kernels.team import get_threads

Values = NDArray[np.floating[Any]]

_WASTE = 2
"""Values of a line for one that has weight beyond which products tap by tap are quicker."""
_SHARES = 3
"""Bands for each thread: those that meet at a border compute windows twice."""
_LEAST = 4
"""Windows' heights a band has at least."""
_AS_IT_IS = {
    **{f"{name}_{axis}": 0 for name in ("from", "to") for axis in "yx"},
    **dict.fromkeys(("tile", "taps", "apart", "together", "strips", "sums", "groups"), 1),
    **dict.fromkeys(("foresee", "direct", "fill", "merged"), 0),
    "method": SCATTERED,
}
"""Fields of a product's record that say nothing of one from what is not zero, but what it is."""


@dataclass(frozen=True, slots=True)
class Scattered:
    """Windows (parts, slots, values at a time), of lines (kernel's rows, channels) of `line` values."""

    weights: Values
    offsets: NDArray[np.int64]
    geometry: Geometry
    channels: int
    line: int

    @staticmethod
    def suits(geometry: Geometry) -> bool:
        """Whether windows are compact enough; channels should be few."""
        g = geometry
        return g.group == 1 and g.dilations == (1, 1) and _padded(g.kernel[1]) <= _WASTE * g.kernel[1]

    @classmethod
    def of(cls, grouped: Values, geometry: Geometry, *, halves: int) -> Scattered:
        """Lay out weights (1, K, C, kh, kw); of C, `halves` are for parts of the input."""
        _, slots, lines, kh, kw = grouped.shape
        line, each = _padded(kw), values_at_a_time(grouped.dtype.itemsize)
        parts = -(-kh * lines * line // each)
        padded = np.zeros((slots, kh, lines, line), grouped.dtype)
        padded[..., :kw] = grouped[0].transpose(0, 2, 1, 3)
        windows = np.zeros((slots, parts * each), grouped.dtype)
        windows[:, : kh * lines * line] = padded.reshape(slots, -1)
        weights = np.ascontiguousarray(windows.reshape(slots, parts, each).transpose(1, 0, 2))
        return cls(weights, np.arange(slots)[:, None], geometry, lines // halves, line)

    def add_to(self, schedule: Schedule, landing: Landing) -> None:
        """Add the task."""
        g, (parts, slots, each) = self.geometry, self.weights.shape
        lines = self.channels * (2 if landing.part == SPLIT else 1)
        wide = max(g.strides[1] * (g.out_size[1] - 1) + self.line, g.pads[1] + landing.size[1])
        bands = -(-_SHARES * get_threads() // schedule.batch)
        strip = max(-(-landing.size[0] // bands), min(_LEAST * g.kernel[0], landing.size[0]))
        schedule.add(
            PRODUCT,
            schedule.batch * -(-landing.size[0] // strip),
            reads=landing.reads,
            writes=landing.out,
            group=landing.group,
            own=scratch_of_band((g.kernel[0] * lines + 1) * wide, parts * each, slots, schedule.dtype.itemsize),
            weights=schedule.hold(self.weights),
            table=schedule.table(self.offsets),
            channels=self.channels,
            blocks=parts,
            slots=slots,
            plane_values=landing.plane_values // slots,
            cols=g.out_size[1],
            steps_y=g.out_size[0],
            steps_x=g.out_size[1],
            stride_y=g.strides[0],
            stride_x=g.strides[1],
            start_y=-g.pads[0],
            start_x=-g.pads[1],
            kept=g.kernel[0],
            chunk=self.line,
            strip=strip,
            wide=wide,
            **landing.fields(),
            **_AS_IT_IS,
        )


def _padded(width: int) -> int:
    """Values of a line of a window."""
    return -(-width // LINE) * LINE
