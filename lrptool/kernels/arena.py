"""Where scratch lies: what is never needed at the same time shares memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_GRAIN = 16
"""Scratch begins at multiples of so many values."""


_LINGER = 4
"""Entries a buffer's memory rests before others use it: at once, and these would have to wait for its last readers."""


@dataclass(slots=True)
class Lifetime:
    """How many values a buffer has, and the first and last entry of the schedule that touches it."""

    values: int
    first: int = -1
    last: int = -1

    def touch(self, now: int) -> None:
        """Note a use."""
        self.first = now if self.first < 0 else self.first
        self.last = now

    @property
    def room(self) -> int:
        """Values it takes up."""
        return -(-self.values // _GRAIN) * _GRAIN

    def meets(self, other: Lifetime) -> bool:
        """Whether both are needed at nearly the same time."""
        return self.first <= other.last + _LINGER and other.first <= self.last + _LINGER


@dataclass(frozen=True, slots=True)
class Layout:
    """Result of `lay_out`.

    Parameters
    ----------
    offsets : mapping of int to int
        Where each buffer begins.
    size : int
        Values in all.
    waits : mapping of int to int
        For a buffer that lies where others have been: the last entry that touches one of them.
    """

    offsets: Mapping[int, int]
    size: int
    waits: Mapping[int, int]


def lay_out(buffers: Mapping[int, Lifetime]) -> Layout:
    """Give every buffer a place, the largest first, each as low as what lives at the same time allows."""
    offsets: dict[int, int] = {}
    waits: dict[int, int] = {}
    for number, buffer in sorted(buffers.items(), key=lambda pair: -pair[1].values):
        taken = sorted((offsets[k], offsets[k] + buffers[k].room) for k in offsets if buffers[k].meets(buffer))
        place = 0
        for begin, end in taken:
            if place + buffer.room <= begin:
                break
            place = max(place, end)
        offsets[number] = place
    for number, buffer in buffers.items():
        begin, end = offsets[number], offsets[number] + buffer.room
        before = [
            other.last
            for k, other in buffers.items()
            if other.last < buffer.first and offsets[k] < end and begin < offsets[k] + other.room
        ]
        if before:
            waits[number] = max(before)
    return Layout(offsets, max((offsets[k] + buffers[k].room for k in offsets), default=0), waits)
