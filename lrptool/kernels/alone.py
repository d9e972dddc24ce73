"""One gathering kernel carried out by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lrptool.kernels.entries import Place
from lrptool.kernels.fraction import Fraction
from lrptool.kernels.records import ONE
from lrptool.kernels.schedule import Schedule

Values = NDArray[np.floating[Any]]


class Gather(Protocol):
    """x̂ · Σ_p Ŵ_pᵀ s_p for one input of a layer, with the fractions s_p formed on the way; see `TransposedConv`."""

    def add_to(
        self, schedule: Schedule, fractions: Sequence[Fraction], x: Place, part: int, out: Place, *, accumulate: bool
    ) -> None:
        """Add the tasks that write the result into `out`, or add it there."""


def transpose_alone(gather: Gather, s: Values, shape: Sequence[int]) -> Values:
    """Return Ŵᵀ s (N, *shape), for a gather over one part of the weights."""
    s = np.ascontiguousarray(s)
    out = np.empty((len(s), *shape), s.dtype)
    schedule = Schedule(len(s), s.dtype)
    source, target = schedule.hold(s, s[0].size), schedule.hold(out, out[0].size)
    gather.add_to(schedule, [Fraction.plain(source)], target, ONE, target, accumulate=False)
    schedule.run()
    return out
