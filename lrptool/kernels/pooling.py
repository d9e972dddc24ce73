"""Pooling as tasks: relevance to the maximum of a window, or spread over the window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lrptool.kernels.entries import Place
from lrptool.kernels.fraction import Fraction
from lrptool.kernels.records import FORMS, ONE, OTHERS, ROUTE, SPREAD
from lrptool.kernels.schedule import Schedule
from lrptool.kernels.simd import REGISTER

Values = NDArray[np.floating[Any]]

_TOGETHER = 2048
"""Windows that make a loop long enough, and fit a core's nearest cache with all their scratch."""
_LONG = 48
"""Windows of a row from which on a map is worked on row by row."""


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of a pooling over maps.

    Parameters
    ----------
    maps : int
        Maps per item.
    in_size, out_size : (int, int)
        Height and width of the maps.
    kernel, strides : (int, int)
    start : (int, int)
        Rows and columns of padding before the map.
    """

    maps: int
    in_size: tuple[int, int]
    out_size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    start: tuple[int, int]

    def fields(self) -> dict[str, int]:
        """Return its part of a task's record."""
        return {
            "planes": self.maps,
            "height": self.in_size[0],
            "width": self.in_size[1],
            "out_height": self.out_size[0],
            "out_width": self.out_size[1],
            "kernel_y": self.kernel[0],
            "kernel_x": self.kernel[1],
            "stride_y": self.strides[0],
            "stride_x": self.strides[1],
            "top": self.start[0],
            "left": self.start[1],
        }

    def layout(self) -> int:
        """Windows there is room for in a map of them: every place of the last ones and the whole map are in it."""
        rows, cols = self._layout()
        return rows * cols

    def _layout(self) -> tuple[int, int]:
        """Rows and columns of them."""
        rows, cols = (
            max(out + (k - 1) // stride, -(-(start + size) // stride))
            for out, k, stride, start, size in zip(
                self.out_size, self.kernel, self.strides, self.start, self.in_size, strict=True
            )
        )
        return rows, cols

    @property
    def form(self) -> int:
        """The number of windows that there is code of their own for; `OTHERS` for all others."""
        square = self.kernel[0] == self.kernel[1] and self.strides[0] == self.strides[1]
        return FORMS.get((self.kernel[0], self.strides[0]), OTHERS) if square else OTHERS

    @property
    def by_rows(self) -> bool:
        """Whether rows are long enough to be worked on one by one, in a core's nearest cache."""
        return self.form != OTHERS and self.out_size[1] >= _LONG

    def together(self) -> int:
        """Maps that are worked on at a time."""
        return max(1, _TOGETHER // self.layout())

    def places(self, maps: int, dtype: DTypeLike) -> tuple[NDArray[np.int64], Values]:
        """Return tables of the places of a window, and of who has which, where so many maps lie in one go.

        Rows of the tables: where the values of a place begin; place by place in the order of the values that have them,
        how many windows before the value's own the place is of; and where the places of each kind of value begin, by
        the phases of its row and column. Rows of the numbers: of the places, in either order.
        """
        (rows, cols), (sy, sx), (ky, kx) = self._layout(), self.strides, self.kernel
        phase = maps * rows * cols * sx
        in_scan_order = list(np.ndindex(ky, kx))
        by_kind = sorted(in_scan_order, key=lambda place: (place[0] % sy, place[1] % sx))
        tables = np.zeros((3, ky * kx + sy * sx + 1), np.int64)
        tables[0, : ky * kx] = [y % sy * phase + x % sx + (y // sy * cols + x // sx) * sx for y, x in in_scan_order]
        tables[1, : ky * kx] = [y // sy * cols + x // sx for y, x in by_kind]
        kinds = [y % sy * sx + x % sx for y, x in by_kind]
        tables[2, : sy * sx + 1] = np.searchsorted(kinds, np.arange(sy * sx + 1))
        return tables, np.array([range(ky * kx), [y * kx + x for y, x in by_kind]], dtype)

    def scratch(self, maps: int) -> int:
        """Values of scratch maps need: two copies with what is around them, two of their windows, one as it stands.

        Before windows stand as many values as lie before the last place of a window, and there is room for registers
        that reach beyond.
        """
        places = self.strides[0] * self.strides[1]
        size = self.in_size[0] * self.in_size[1]
        return maps * (2 * places + 2) * self.layout() + 2 * self.layout() + size + 2 * REGISTER

    def scratch_by_rows(self) -> int:
        """Values of scratch a map needs that is worked on row by row: its windows twice, some of its rows, and itself.

        Before windows stand as many values as lie before the last place of a window.
        """
        _, cols = self._layout()
        rows, wide = self.kernel[0] + self.strides[0], cols * self.strides[1] + REGISTER
        return 2 * (self.layout() + 2 * cols + 2) + rows * wide + self.in_size[0] * self.in_size[1] + 2 * REGISTER


def add_route(schedule: Schedule, windows: Windows, x: Place, r: Place, out: Place, *, accumulate: bool) -> None:
    """Add the task that hands relevance r (maps, Ho, Wo) to the first maximum, in scan order, of each window of x."""
    tables, numbers = windows.places(windows.together(), schedule.dtype)
    schedule.add(
        ROUTE,
        schedule.batch * windows.maps,
        reads=[x, r],
        writes=out,
        own=windows.scratch_by_rows() if windows.by_rows else windows.scratch(windows.together()),
        x=x,
        r=r,
        out=out,
        part=ONE,
        accumulate=accumulate,
        together=windows.together(),
        form=windows.form,
        by_rows=windows.by_rows,
        tables=schedule.hold(tables),
        numbers=schedule.hold(numbers),
        **windows.fields(),
    )


class TransposedAverage:
    """Σ_p Ŵ_pᵀ s_p for an average pooling: fractions spread over their windows.

    Parameters
    ----------
    windows : Windows
    factors : sequence of array (Ho, Wo)
        Per part of the weights, the weight of every value in a window.
    """

    def __init__(self, windows: Windows, factors: Sequence[Values]) -> None:
        self._windows, self._factors = windows, [np.ascontiguousarray(factor) for factor in factors]

    def add_to(
        self, schedule: Schedule, fractions: Sequence[Fraction], x: Place, part: int, out: Place, *, accumulate: bool
    ) -> None:
        """Add the tasks that write x̂ · Σ_p Ŵ_pᵀ s_p into `out`; arguments as of `TransposedConv`."""
        windows = self._windows
        size = windows.in_size[0] * windows.in_size[1] + windows.out_size[0] * windows.out_size[1]
        tables, numbers = (schedule.hold(table) for table in windows.places(1, schedule.dtype))
        for k, (fraction, factor) in enumerate(zip(fractions, self._factors, strict=True)):
            schedule.add(
                SPREAD,
                schedule.batch * windows.maps,
                reads=[*fraction.reads(), *([x] if part != ONE else [])],
                writes=out,
                own=windows.scratch(1) + size,
                factor=schedule.hold(factor),
                tables=tables,
                numbers=numbers,
                x=x,
                out=out,
                part=part,
                accumulate=accumulate or k > 0,
                **windows.fields(),
                **fraction.fields(),
            )
