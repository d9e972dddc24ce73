"""Dense layers as tasks over the weights as they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.kernels.entries import Place
from lrptool.kernels.fraction import Fraction
from lrptool.kernels.machine_code import MACHINE_CODE
from lrptool.kernels.records import DENSE, ONE
from lrptool.kernels.schedule import Schedule
from lrptool.kernels.scratch import scratch_of_columns
from lrptool.kernels.sums import TransposedScale
from lrptool.kernels.team import TEAM, counters, get_threads

Values = NDArray[np.floating[Any]]


_SHARES = 2
"""Pieces of work for each thread."""
_BLOCKS = (256, 4096)
"""Fewest and most columns in one."""
_MULTIPLE = 64
"""Of which columns are a multiple but for the last piece: small, so that this is hardly smaller than the others."""


def _block(columns: int) -> int:
    """Return the columns of a piece: a long run of a row is read faster, and no result depends on it."""
    low, high = _BLOCKS
    share = -(-columns // (_SHARES * get_threads()))
    return min(max(-(-share // _MULTIPLE) * _MULTIPLE, low), high)


@dataclass(frozen=True, slots=True)
class Signed:
    """A part of the weights as factors by their sign.

    Parameters
    ----------
    positive, negative : float
        What weights > 0 and < 0 are multiplied by.
    power : {1, 2, 0}
        1: weights as they stand. 2: squared weights, 0: ones; both times `positive`.
    """

    positive: float
    negative: float
    power: int = 1

    @property
    def code(self) -> int:
        """How `pieces.dense` calls the power."""
        return {1: 0, 2: 1, 0: 2}[self.power]


class TransposedDense:
    """Σ_p Ŵ_pᵀ s_p for parts of a dense layer's weights; these are read once, and no part is ever formed.

    Parameters
    ----------
    weight : array (O, K)
    parts : sequence of Signed
    """

    def __init__(self, weight: Values, parts: Sequence[Signed]) -> None:
        self._weight, self._parts = weight, parts

    def add_to(
        self, schedule: Schedule, fractions: Sequence[Fraction], x: Place, part: int, out: Place, *, accumulate: bool
    ) -> None:
        """Add the tasks that write x̂ · Σ_p Ŵ_pᵀ s_p into `out` (N, K); arguments as of `TransposedConv`."""
        s = [self._fractions(schedule, fraction) for fraction in fractions]
        if len({signed.power for signed in self._parts}) == 1 and len(s) <= 2:
            self._add(schedule, s, self._parts, x, part, out, accumulate=accumulate)
            return
        for k, (one, signed) in enumerate(zip(s, self._parts, strict=True)):
            self._add(schedule, [one], [signed], x, part, out, accumulate=accumulate or k > 0)

    def _fractions(self, schedule: Schedule, fraction: Fraction) -> Place:
        """Add the task that forms one fraction of all outputs."""
        count = self._weight.shape[0]
        s = schedule.scratch(count)
        TransposedScale(count, [np.ones(1)]).add_to(schedule, [fraction], s, ONE, s, accumulate=False)
        return s

    def _add(
        self,
        schedule: Schedule,
        s: Sequence[Place],
        parts: Sequence[Signed],
        x: Place,
        part: int,
        out: Place,
        *,
        accumulate: bool,
    ) -> None:
        """Add the product of one or two vectors with their parts of the weights."""
        rows, columns = self._weight.shape
        block = _block(columns)
        other = parts[1] if len(parts) > 1 else Signed(0.0, 0.0)
        schedule.add(
            DENSE,
            -(-columns // block),
            reads=[*s, *([x] if part != ONE else [])],
            writes=out,
            own=scratch_of_columns(schedule.batch * block, schedule.dtype.itemsize),
            first=s[0],
            second=s[-1],
            weights=schedule.hold(self._weight),
            x=x,
            out=out,
            rows=rows,
            columns=columns,
            block=block,
            items=schedule.batch,
            squared=parts[0].code,
            part=part,
            accumulate=accumulate,
            first_positive=parts[0].positive,
            first_negative=parts[0].negative,
            second_positive=other.positive,
            second_negative=other.negative,
        )


def forward_dense(x: Values, weight: Values, part: Signed) -> Values:
    """Return x Ŵᵀ (N, O) for x (N, K) and weight (O, K) of one dtype."""
    threads, (rows, columns) = get_threads(), weight.shape
    out = np.empty((x.shape[0], rows), x.dtype)
    factors = np.array([part.positive, part.negative], x.dtype)
    own, sizes, dealt = np.empty((threads, columns), x.dtype), np.array([len(x), rows, columns]), counters(1)
    arrays = np.ascontiguousarray(x), np.ascontiguousarray(weight), factors, out, own, sizes, dealt
    x_at, weight_at, factors_at, out_at, own_at, sizes_at, dealt_at = (array.ctypes.data for array in arrays)
    operands = x_at, weight_at, factors_at, part.code, out_at, own_at, sizes_at, dealt_at
    TEAM.run(MACHINE_CODE.function("forward_dense", x.dtype), threads, 0, *operands, keeps=arrays)
    return out
