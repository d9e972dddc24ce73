"""Sums value by value, as tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lrptool.kernels.fraction import Fraction
from lrptool.kernels.pieces.weigh import CHUNK
from lrptool.kernels.records import ONE, WEIGH
from lrptool.kernels.schedule import Place, Schedule


class TransposedSum:
    """Σ_p ŵ_p s_p for weights that are single numbers: what a sum hands to each of its inputs.

    Parameters
    ----------
    values : int
        Values per item.
    weights : sequence of float
        Per part of the weights.
    """

    def __init__(self, values: int, weights: Sequence[float]) -> None:
        self._values, self._weights = values, weights

    def add_to(
        self, schedule: Schedule, fractions: Sequence[Fraction], x: Place, part: int, out: Place, *, accumulate: bool
    ) -> None:
        """Add the tasks that write x̂ · Σ_p ŵ_p s_p into `out`; arguments as of `TransposedConv`."""
        for k, (fraction, weight) in enumerate(zip(fractions, self._weights, strict=True)):
            weighed = replace(fraction, coefficient=fraction.coefficient * weight)
            schedule.add(
                WEIGH,
                schedule.batch * -(-self._values // CHUNK),
                reads=[*weighed.reads(), *([x] if part != ONE else [])],
                writes=out,
                own=CHUNK,
                x=x,
                out=out,
                values=self._values,
                part=part,
                accumulate=accumulate or k > 0,
                **weighed.fields(),
            )


def add_copy(schedule: Schedule, values: int, r: Place, out: Place, *, accumulate: bool) -> None:
    """Add the task that copies r (values) into `out`, or adds it there."""
    TransposedSum(values, (1.0,)).add_to(schedule, [Fraction.plain(r)], r, ONE, out, accumulate=accumulate)
