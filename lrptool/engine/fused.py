"""A share rule on a layer with a gathering kernel: fractions, product and factor in one pass per part of the input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrptool.kernels import ALL, EVERYWHERE, MEMORY, NEG, NEGATIVE, ONE, POS, POSITIVE, Fraction
from lrptool.ops import Gather, LinearMap, Values, WeightPart
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


class FusedStep:
    """One layer's shares through its gathering kernels.

    Parameters
    ----------
    shares : sequence of Share
    linear : LinearMap
        With a kernel for every input.
    stabiliser : Stabiliser
    """

    def __init__(self, shares: Sequence[Share], linear: LinearMap, stabiliser: Stabiliser) -> None:
        self._shares, self._linear, self._stabiliser = shares, linear, stabiliser
        self._groups = by_part(shares)

    def __call__(
        self,
        k: int,
        x: Values | None,
        constants: dict[InputPart, Values],
        denominators: Sequence[Values],
        z: Values | None,
        r: Values,
        shape: tuple[int, ...],
    ) -> Values:
        """Return input k's relevance (N, *shape).

        Parameters
        ----------
        x : array or None
            The input; None where no share looks at it.
        constants : dict
            Parts of x that do not depend on the picture, (1, …).
        denominators : sequence of array
            One per share, not stabilised, r's shape or (1, …).
        z : array or None
            The pre-activation, where a share asks for its sign.
        r : array
        """
        out = MEMORY.take((len(r), *shape), r.dtype)
        accumulate = False
        for part, sources in self._groups.items():
            gather = self._kernel(k, sources, r.dtype)
            factor = constants.get(part, x)
            planes = MEMORY.take((gather.plane_values(len(r)),), r.dtype)
            fractions = [self._fraction(source, denominators, z, r) for source in sources]
            gather(
                fractions,
                np.ascontiguousarray(factor) if factor is not None else out,
                _PARTS[part],
                out,
                planes,
                accumulate=accumulate,
            )
            accumulate = True
        return out

    def _kernel(self, k: int, sources: Sequence[Source], dtype: np.dtype[np.floating]) -> Gather:
        """Return the kernel over the parts of the weights a group needs."""
        gather = self._linear.gather(k, tuple(part for _, part, _ in sources), dtype)
        if gather is None:
            raise TypeError("the layer has no gathering kernel")
        return gather

    def _fraction(self, source: Source, denominators: Sequence[Values], z: Values | None, r: Values) -> Fraction:
        """Describe one share's fraction for the kernel."""
        number, _, coefficient = source
        share, denominator = self._shares[number], denominators[number]
        return Fraction(
            r=r,
            denominator=denominator if share.normalised else r,
            z=r if z is None else z,
            epsilon=self._epsilon(denominator, r),
            clip=self._stabiliser.clip,
            normalised=share.normalised,
            where=_WHERE[share.where] if share.normalised else EVERYWHERE,
            coefficient=coefficient,
        )

    def _epsilon(self, denominator: Values, r: Values) -> Values:
        """ε per item; in units of the root mean square of the denominator where it is relative."""
        epsilon = np.full(len(r), self._stabiliser.epsilon, r.dtype)
        if self._stabiliser.relative:
            squares = np.mean(denominator.astype(np.float64) ** 2, axis=tuple(range(1, denominator.ndim)))
            epsilon *= np.sqrt(squares).astype(r.dtype)
        return epsilon
