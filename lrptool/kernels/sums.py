"""What is weighed value by value or channel by channel, as tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.kernels.entries import Place
from lrptool.kernels.fraction import Fraction
from lrptool.kernels.records import ONE, WEIGH
from lrptool.kernels.schedule import Schedule

Values = NDArray[np.floating[Any]]

_BANDS, _LEAST, _MOST = 4, 1024, 4096
"""Pieces a channel is cut into, so that threads keep to their own parts of maps; values of a piece."""


class TransposedScale:
    """Σ_p ŵ_p s_p for weights that are one number per channel: what a sum or an affine layer hands to its input.

    Parameters
    ----------
    values : int
        Values per channel.
    weights : sequence of array (C,)
        Per part of the weights.
    """

    def __init__(self, values: int, weights: Sequence[Values]) -> None:
        self._values, self._weights = values, weights

    def add_to(
        self, schedule: Schedule, fractions: Sequence[Fraction], x: Place, part: int, out: Place, *, accumulate: bool
    ) -> None:
        """Add the tasks that write x̂ · Σ_p ŵ_p s_p into `out`; arguments as of `TransposedConv`."""
        band = min(_MOST, max(_LEAST, -(-self._values // _BANDS)))
        for k, (fraction, weights) in enumerate(zip(fractions, self._weights, strict=True)):
            schedule.add(
                WEIGH,
                schedule.batch * len(weights) * -(-self._values // band),
                reads=[*fraction.reads(), *([x] if part != ONE else [])],
                writes=out,
                own=band,
                weights=schedule.hold(np.ascontiguousarray(weights, schedule.dtype)),
                x=x,
                out=out,
                channels=len(weights),
                values=self._values,
                band=band,
                part=part,
                accumulate=accumulate or k > 0,
                **fraction.fields(),
            )


def add_copy(schedule: Schedule, values: int, r: Place, out: Place, *, accumulate: bool) -> None:
    """Add the task that copies r (values) into `out`, or adds it there."""
    TransposedScale(values, [np.ones(1)]).add_to(schedule, [Fraction.plain(r)], r, ONE, out, accumulate=accumulate)
