"""What is divided by what before a product: operands and form of one share's fraction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lrptool.kernels.entries import Place
from lrptool.kernels.records import EVERYWHERE


@dataclass(frozen=True, slots=True)
class Fraction:
    """coefficient · r / stabilised denominator, for one part of the weights.

    Parameters
    ----------
    r, denominator, z : Place
        Relevance, denominator and pre-activation of the outputs. Neither of the last two is looked at where
        `normalised` is false; z is not where `where` is `EVERYWHERE`.
    epsilon : Place
        One value per item.
    clip, normalised : bool
        Whether the denominator is clipped at ± epsilon instead of shifted by it; whether there is one.
    where : int
        `EVERYWHERE`, `POSITIVE` or `NEGATIVE`: outputs taken, by the sign of z. `REST`: all, and z − denominator is
        what is divided by.
    coefficient : float
    """

    r: Place
    denominator: Place
    z: Place
    epsilon: Place
    clip: bool
    normalised: bool
    where: int
    coefficient: float

    @classmethod
    def plain(cls, r: Place) -> Fraction:
        """Return r as it stands."""
        return cls(r, r, r, r, clip=False, normalised=False, where=EVERYWHERE, coefficient=1.0)

    def reads(self) -> Sequence[Place]:
        """Return what is looked at."""
        return (self.r, *((self.denominator, self.z, self.epsilon) if self.normalised else ()))

    def fields(self) -> dict[str, Any]:
        """Return its part of a task's record."""
        return {
            "r": self.r,
            "den": self.denominator,
            "z": self.z,
            "epsilon": self.epsilon,
            "clip": self.clip,
            "where": self.where if self.normalised else EVERYWHERE,
            "normalised": self.normalised,
            "coefficient": self.coefficient,
        }
