"""A share rule on a layer with gathering kernels: fractions, product and factor as tasks, one product per part of x."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrptool.kernels import (
    ALL,
    EVERYWHERE,
    NEG,
    NEGATIVE,
    ONE,
    POS,
    POSITIVE,
    REST,
    SPLIT,
    Fraction,
    Gather,
    Place,
    Schedule,
    TransposedConv,
)
from lrptool.ops import LinearMap, Values, WeightPart
from lrptool.rules import InputPart, Share, Stabiliser

_PARTS: dict[InputPart, int] = {"one": ONE, "all": ALL, "pos": POS, "neg": NEG, "low": ALL, "high": ALL}
_WHERE = {"everywhere": EVERYWHERE, "positive": POSITIVE, "negative": NEGATIVE}

Source = tuple[int, WeightPart, float]
"""Number of a share, part of the weights, and what its fraction is multiplied by."""


def by_part(shares: Sequence[Share]) -> dict[InputPart, list[Source]]:
    """Return the terms of all shares by the part of x they are multiplied by: each group is one product."""
    groups: dict[InputPart, list[Source]] = {}
    for number, share in enumerate(shares):
        for term in share.terms:
            groups.setdefault(term.x, []).append((number, term.w, term.sign * share.coefficient))
    return groups


@dataclass(frozen=True, slots=True)
class Operands:
    """What lies where when a layer hands relevance back.

    Parameters
    ----------
    r, z : Place
        Relevance and pre-activation; z is not looked at where no share asks for its sign.
    denominators, epsilons : sequence of Place
        One per share.
    rests : set of int
        Shares whose denominator is what the one that is here leaves of z, no less than nothing.
    doubled : set of int
        Shares whose denominator and ε are twice as large here.
    """

    r: Place
    z: Place
    denominators: Sequence[Place]
    epsilons: Sequence[Place]
    rests: AbstractSet[int] = frozenset()
    doubled: AbstractSet[int] = frozenset()


class FusedStep:
    """One layer's shares through its gathering kernels.

    Parameters
    ----------
    shares : sequence of Share
    linear : LinearMap
        With a kernel for every input.
    stabiliser : Stabiliser
    steady : bool
        Whether fractions are of like size in every neighbourhood, so that errors may be as large as those of the
        largest.
    sparse : bool
        Whether most of them are zero.
    """

    def __init__(
        self,
        shares: Sequence[Share],
        linear: LinearMap,
        stabiliser: Stabiliser,
        *,
        steady: bool = False,
        sparse: bool = False,
    ) -> None:
        self._shares, self._linear, self._stabiliser = shares, linear, stabiliser
        self._steady, self._sparse = steady, sparse
        self._groups = by_part(shares)
        self._both: dict[tuple[int, np.dtype[Any]], TransposedConv | None] = {}

    def add_to(
        self,
        schedule: Schedule,
        k: int,
        operands: Operands,
        x: Place | None,
        constants: Mapping[InputPart, Values],
        out: Place,
        *,
        accumulate: bool,
    ) -> None:
        """Add the tasks that write input k's relevance into `out`, or add it there.

        Parameters
        ----------
        x : Place or None
            The input; None where no share looks at it.
        constants : mapping
            Parts of x that do not depend on the picture, (1, …).
        """
        for kernel, part, sources, factor in self._products(schedule, k, x, constants):
            kernel.add_to(
                schedule,
                [self._fraction(source, operands) for source in sources],
                out if factor is None else factor,
                part,
                out,
                accumulate=accumulate,
            )
            accumulate = True

    def _products(
        self, schedule: Schedule, k: int, x: Place | None, constants: Mapping[InputPart, Values]
    ) -> Iterator[tuple[Gather, int, Sequence[Source], Place | None]]:
        """Yield what is carried out one after the other: a kernel, its part of x, its sources and x."""
        rest = dict(self._groups)
        split = self._split(schedule, k)
        if split is not None:
            yield split, SPLIT, rest.pop("pos"), x
            del rest["neg"]
        for part, sources in rest.items():
            factor = schedule.hold(constants[part]) if part in constants else x
            yield self._kernel(schedule, k, sources), _PARTS[part], sources, factor

    def _split(self, schedule: Schedule, k: int) -> Gather | None:
        """Return the kernel for positive and negative inputs at once, where their fractions are the same."""
        positive, negative = (self._groups.get(part, []) for part in ("pos", "neg"))
        if not positive or [(n, c) for n, _, c in positive] != [(n, c) for n, _, c in negative]:
            return None
        key = (k, schedule.dtype)
        if key not in self._both:
            one, other = (self._kernel(schedule, k, sources) for sources in (positive, negative))
            if isinstance(one, TransposedConv) and isinstance(other, TransposedConv):
                self._both[key] = one.beside(other)
            else:
                self._both[key] = None
        return self._both[key]

    @property
    def packs(self) -> bool:
        """Whether all kernels are transposed convolutions that pack every output channel by itself."""
        kernels = [
            self._linear.gather(0, tuple(part for _, part, _ in sources), np.float32)
            for sources in self._groups.values()
        ]
        return all(isinstance(kernel, TransposedConv) and not kernel.summed for kernel in kernels)

    def _kernel(self, schedule: Schedule, k: int, sources: Sequence[Source]) -> Gather:
        """Return the kernel over the parts of the weights a group needs."""
        gather = self._linear.gather(k, tuple(part for _, part, _ in sources), schedule.dtype)
        if gather is None:
            raise TypeError("the layer has no gathering kernel")
        if not isinstance(gather, TransposedConv):
            return gather
        scattered = gather.scattered if self._sparse else gather
        return gather.filtered if self._steady and scattered is gather else scattered

    def _fraction(self, source: Source, operands: Operands) -> Fraction:
        """Describe one share's fraction for the kernel."""
        number, _, coefficient = source
        share = self._shares[number]
        return Fraction(
            r=operands.r,
            denominator=operands.denominators[number],
            z=operands.z,
            epsilon=operands.epsilons[number],
            clip=self._stabiliser.clip,
            normalised=share.normalised,
            where=REST if number in operands.rests else _WHERE[share.where] if share.normalised else EVERYWHERE,
            coefficient=coefficient * (2 if number in operands.doubled else 1),
        )
