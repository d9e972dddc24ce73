"""What a product reads and where its results land, whatever way it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lrptool.kernels.entries import Place
from lrptool.kernels.records import ALL, ONE, SPLIT


@dataclass(frozen=True, slots=True)
class Landing:
    """Operands of a product's task.

    Parameters
    ----------
    planes : Place
        Packed fractions.
    plane_values : int
        Values of a group's planes.
    flags : int
        Where the flags of the planes begin.
    x : Place
        What results are multiplied by a part of; not looked at where `part` is `ONE`.
    part : int
        `ONE`, `ALL`, `POS`, `NEG` or `SPLIT`.
    out : Place
    size : (int, int)
        Height and width of the maps of x and out.
    group : object
        Names tasks that fill the same `out` together.
    accumulate : bool
        Whether results are added to what is there.
    """

    planes: Place
    plane_values: int
    flags: int
    x: Place
    part: int
    out: Place
    size: tuple[int, int]
    group: object
    accumulate: bool

    @property
    def reads(self) -> Sequence[Place]:
        """What is looked at."""
        return [self.planes, *([self.x] if self.part != ONE else [])]

    def fields(self) -> dict[str, Any]:
        """Return its part of a task's record."""
        return {
            "planes": self.planes,
            "flags": self.flags,
            "x": self.x,
            "out": self.out,
            "height": self.size[0],
            "width": self.size[1],
            "part": ALL if self.part == SPLIT else self.part,
            "split": self.part == SPLIT,
            "accumulate": self.accumulate,
        }
