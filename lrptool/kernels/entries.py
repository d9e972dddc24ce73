"""Entries of a schedule: what they work on, and who waits for whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lrptool.kernels.records import PACK, PRODUCT, WEIGH

if TYPE_CHECKING:
    from lrptool.kernels.schedule import Run


@dataclass(frozen=True, slots=True)
class Place:
    """Where an operand lies, per item of the batch; see `records`.

    Parameters
    ----------
    buffer : int
    offset, stride : int
        In values: from the buffer's beginning to the first item, and from an item to the next.
    """

    buffer: int
    offset: int
    stride: int

    def shifted(self, values: int) -> Place:
        """Return the place some values further on."""
        return Place(self.buffer, self.offset + values, self.stride)


Written = tuple[Place, object]
"""A place, and the group of those who fill it together: their parts do not overlap, they need not wait for another."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A task, or a function that is called between regions; see `Schedule.add` and `Schedule.call`."""

    kind: int = -1
    total: int = 0
    grain: int = 1
    own: int = 1
    fields: Mapping[str, int | float | Place] = field(default_factory=dict)
    reads: Sequence[Place] = ()
    writes: Sequence[Written] = ()
    call: Callable[[Run], None] | None = None
    onward: Sequence[Entry] = ()
    beside: Sequence[Entry] = ()
    following: Entry | None = None

    def integer(self, name: str) -> int:
        """Return a field."""
        value = self.fields[name]
        if not isinstance(value, int):
            raise TypeError(f"field {name!r} is not an integer")
        return value

    def place(self, name: str) -> Place:
        """Return an operand."""
        value = self.fields[name]
        if not isinstance(value, Place):
            raise TypeError(f"field {name!r} is not a place")
        return value

    @property
    def buffers(self) -> AbstractSet[int]:
        """Buffers it touches."""
        return {place.buffer for place in (*self.reads, *(place for place, _ in self.writes))}

    @property
    def maps(self) -> tuple[int, int]:
        """Maps of relevance a task reads or writes, and the values of one."""
        channels = {PRODUCT: ("groups", "channels"), PACK: ("channels",), WEIGH: ("channels",)}.get(
            self.kind, ("planes",)
        )
        size = ("values",) if self.kind == WEIGH else ("height", "width")
        return _product(self, channels), _product(self, size)


def _product(entry: Entry, names: Sequence[str]) -> int:
    """Multiply fields."""
    result = 1
    for name in names:
        result *= entry.integer(name)
    return result


@dataclass(slots=True)
class _Use:
    """Who has written and read a buffer so far."""

    written: int = -1
    read: int = -1
    group: object = None
    before_group: int = -1

    def before_writing(self, group: object) -> int:
        """Return the entry a writer has to wait for: none of its own group."""
        return self.before_group if group is not None and group == self.group else max(self.written, self.read)

    def wrote(self, now: int, group: object) -> None:
        """Note a writer."""
        self.before_group, self.group, self.written = self.before_writing(group), group, now

    def was_read(self, now: int) -> None:
        """Note a reader."""
        self.read, self.group = now, None


def waits(entries: Sequence[Entry], buffers: int) -> list[int]:
    """Return for every entry the last one that has to be done before it; -1 for none."""
    uses = [_Use() for _ in range(buffers)]
    found = []
    for now, entry in enumerate(entries):
        after = [uses[place.buffer].written for place in entry.reads]
        after += [uses[place.buffer].before_writing(group) for place, group in entry.writes]
        for place, group in entry.writes:
            uses[place.buffer].wrote(now, group)
        for place in entry.reads:
            uses[place.buffer].was_read(now)
        found.append(max([-1, *after]))
    return found
