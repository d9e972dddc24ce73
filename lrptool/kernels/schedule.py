"""A list of tasks with the memory they work on, made once and carried out for batch after batch."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import DTypeLike, NDArray

from lrptool.kernels.arena import Layout, Lifetime, lay_out
from lrptool.kernels.entries import Entry, Place, waits
from lrptool.kernels.joining import hand_over, join, pair, spell
from lrptool.kernels.machine_code import MACHINE_CODE
from lrptool.kernels.memory import MEMORY
from lrptool.kernels.records import DENSE, FRAME, PACK, PLACE, PRODUCT, ROUTE, SPOT, SPREAD, TABLES, TASK, WEIGH
from lrptool.kernels.team import TEAM, counters, get_threads

Values = NDArray[np.floating[Any]]

_ALIGNED = 64
_TABLE_OF = {
    PACK: "packs",
    PRODUCT: "products",
    ROUTE: "routes",
    SPREAD: "spreads",
    WEIGH: "weighs",
    DENSE: "denses",
}
"""Where a thread's frame has the records of a kind."""


@dataclass(frozen=True, slots=True)
class Run:
    """One carrying-out: the memory behind every buffer, and the arrays that were given by name."""

    dtype: np.dtype[Any]
    addresses: NDArray[np.int64]
    arrays: Mapping[str, Values]

    def view(self, place: Place, batch: int, shape: Sequence[int]) -> Values:
        """Return an operand as an array (batch, *shape)."""
        item = self.dtype.itemsize
        strides = [prod(shape[k + 1 :]) * item for k in range(len(shape))]
        length = ((batch - 1) * place.stride + prod(shape)) * item
        address = int(self.addresses[place.buffer]) + place.offset * item
        values: Values = np.frombuffer(memoryview((ctypes.c_char * length).from_address(address)), self.dtype)
        return as_strided(values, (batch, *shape), (place.stride * item, *strides))


@dataclass(frozen=True, slots=True)
class _Made:
    """The schedule as the region reads it; `fixed` and `in_arena` make up the addresses of a run.

    `frame`, `spots` and `flags` are what those of every run begin as: no run counts anew what is known. The frame holds
    addresses of the `tables`.
    """

    tables: Mapping[str, NDArray[Any]]
    frame: NDArray[np.void]
    spots: NDArray[np.void]
    flags: NDArray[np.uint8]
    tasks: int
    bases: NDArray[np.int64]
    offsets: NDArray[np.int64]
    fixed: NDArray[np.int64]
    in_arena: NDArray[np.bool_]
    arena: int
    own: int
    calls: Mapping[int, Callable[[Run], None]]


_ALONE: Mapping[str, int] = {
    "keep": 1,
    "spare": 0,
    "shift": 0,
    "differs": 0,
    "whole": 0,
    "less": 0,
    "den_is_x": 0,
    "z_is_x": 0,
}
"""Fields of a task that is joined with no other, and looks at no difference."""


class Schedule:
    """Tasks in the order they are begun, and the memory they work on.

    Tasks say what they read and write; from that follow who waits for whom, and which scratch can lie where other
    scratch has been.

    Parameters
    ----------
    batch : int
        Items every task works on.
    dtype : float32 or float64
    """

    def __init__(self, batch: int, dtype: DTypeLike) -> None:
        self.batch, self.dtype = batch, np.dtype(dtype)
        self._held: dict[int, NDArray[Any]] = {}
        self._named: dict[str, int] = {}
        self._scratch: dict[int, int] = {}
        self._buffers = 0
        self._differences: dict[int, tuple[Place, Place]] = {}
        self._tables: list[NDArray[np.int64]] = []
        self._set_flags: list[tuple[int, int]] = []
        self._table_size = self._flag_count = self._terms = 0
        self._entries: list[Entry] = []
        self._made: _Made | None = None

    def hold(self, array: NDArray[Any], stride: int = 0) -> Place:
        """Return the place of an array that is there already; kept alive with the schedule."""
        for buffer, held in self._held.items():
            if held is array:
                return Place(buffer, 0, stride)
        buffer = self._new_buffer()
        self._held[buffer] = array
        return Place(buffer, 0, stride)

    def named(self, name: str, stride: int) -> Place:
        """Return the place of memory given under a name whenever the schedule is carried out."""
        if name not in self._named:
            self._named[name] = self._new_buffer()
        return Place(self._named[name], 0, stride)

    def difference(self, whole: Place, less: Place) -> Place:
        """Return a place that stands for the values of one without those of another.

        Only what weighs values channel by channel, and the packing joined with it, can look at it.
        """
        for buffer, known in self._differences.items():
            if known == (whole, less):
                return Place(buffer, 0, whole.stride)
        buffer = self._new_buffer()
        self._differences[buffer] = (whole, less)
        return Place(buffer, 0, whole.stride)

    @property
    def names(self) -> Set[str]:
        """Names memory is asked for."""
        return self._named.keys()

    @property
    def arena(self) -> int:
        """Values of scratch a run takes up."""
        self._made = self._made or self._make()
        return self._made.arena

    def scratch(self, values: int, slack: int = 0) -> Place:
        """Return a place with room for some values per item, and some more behind the last."""
        buffer = self._new_buffer()
        self._scratch[buffer] = self.batch * values + slack
        return Place(buffer, 0, values)

    def flags(self, count: int, *, are_set: bool = False) -> int:
        """Return where `count` flags begin, all set or none."""
        if are_set:
            self._set_flags.append((self._flag_count, self._flag_count + count))
        self._flag_count += count
        return self._flag_count - count

    def table(self, values: NDArray[np.int64]) -> int:
        """Add offsets to the table of tables; return where they begin."""
        self._tables.append(values.reshape(-1))
        self._table_size += values.size
        self._terms = max(self._terms, values.size)
        return self._table_size - values.size

    def add(
        self,
        kind: int,
        total: int,
        *,
        reads: Sequence[Place],
        writes: Place,
        own: int,
        group: object = None,
        grain: int = 1,
        **fields: int | float | Place,
    ) -> None:
        """Add a task.

        Parameters
        ----------
        kind : int
            `PACK`, …
        total : int
            Pieces of work.
        reads : sequence of Place
        writes : Place
        own : int
            Values of scratch every thread needs.
        group : object, optional
            Tasks that follow each other with the same group write different parts of the same memory: they need not
            wait for one another.
        grain : int
            Pieces that one thread should do together.
        **fields
            The fields of the kind's record, without those of its bookkeeping.
        """
        given = {**_ALONE, **fields}
        self._entries.append(Entry(kind, total, grain, own, given, tuple(reads), ((writes, group),)))

    def call(self, function: Callable[[Run], None], reads: Sequence[Place], writes: Sequence[Place]) -> None:
        """Add a function that is called between regions."""
        self._entries.append(Entry(reads=tuple(reads), writes=[(place, None) for place in writes], call=function))

    def run(self, arrays: Mapping[str, Values] = MappingProxyType({})) -> None:
        """Carry out all tasks on the arrays that have names, contiguous and of the schedule's dtype."""
        made = self._made = self._made or self._make()
        arena = MEMORY.take((made.arena + _ALIGNED,), self.dtype)
        start = arena.ctypes.data
        addresses = made.fixed.copy()
        addresses[made.in_arena] += start + -start % _ALIGNED
        for name, buffer in self._named.items():
            addresses[buffer] = arrays[name].ctypes.data
        spots, flags = made.spots.copy(), made.flags.copy()
        spots["address"] = addresses[made.bases] + made.offsets
        threads = get_threads()
        own = MEMORY.take((threads, made.own), self.dtype)
        terms = MEMORY.take((threads, 2 * self._terms), np.int64)
        frames = _frames(made.frame, spots, flags, own, terms)
        # What is done of every task, and what is dealt out of every thread's share.
        done = counters(made.tasks * (threads + 1))
        keeps = (self, arena, arrays, spots, flags, own, terms, frames, done)
        run = MACHINE_CODE.function("run", self.dtype)
        begin = 0
        for stop in [*made.calls, made.tasks]:
            if stop > begin:
                TEAM.run(run, threads, 0, frames.ctypes.data, threads, begin, stop, done.ctypes.data, keeps=keeps)
            if stop in made.calls:
                made.calls[stop](Run(self.dtype, addresses, arrays))
            begin = stop + 1

    def _new_buffer(self) -> int:
        """Number a buffer."""
        self._buffers += 1
        return self._buffers - 1

    def _make(self) -> _Made:
        """Join what can be one task, lay out the scratch and write down all records."""
        joined = join(self._entries, self._scratch.keys())
        entries = hand_over(pair([spell(entry, self._differences) for entry in joined]), self._scratch.keys())
        layout, after = self._lay_out(entries)
        rows = _Rows()
        tasks = np.array(
            [
                (max(entry.kind, 0), rows.add(entry), entry.total, entry.grain, wait)
                for entry, wait in zip(entries, after, strict=True)
            ],
            TASK,
        )
        kinds = rows.records()
        # Terms count from 0 on where none is left out: the region finds these numbers at the beginning of the table.
        kinds[PRODUCT]["table"] += self._terms
        fixed, in_arena = np.zeros(self._buffers, np.int64), np.zeros(self._buffers, np.bool_)
        for buffer, array in self._held.items():
            fixed[buffer] = array.ctypes.data
        for buffer, offset in layout.offsets.items():
            fixed[buffer], in_arena[buffer] = offset * self.dtype.itemsize, True
        tables = {
            "tasks": tasks,
            **{_TABLE_OF[kind]: records for kind, records in kinds.items()},
            "tables": np.concatenate([np.arange(self._terms), *self._tables]),
        }
        places = rows.places()
        spots = np.zeros(len(places), SPOT)
        spots["apart"] = places["stride"] * self.dtype.itemsize
        frame, flags = np.zeros(1, FRAME), np.zeros(self._flag_count, np.uint8)
        for name, table in tables.items():
            frame[name] = table.ctypes.data
        for begin, end in self._set_flags:
            flags[begin:end] = 1
        return _Made(
            tables,
            frame,
            spots,
            flags,
            len(tasks),
            np.ascontiguousarray(places["base"]),
            places["offset"] * self.dtype.itemsize,
            fixed,
            in_arena,
            layout.size,
            max([1, *(entry.own for entry in entries)]),
            {k: entry.call for k, entry in enumerate(entries) if entry.call is not None},
        )

    def _lay_out(self, entries: Sequence[Entry]) -> tuple[Layout, list[int]]:
        """Return where the scratch lies, and which entry every entry has to wait for."""
        lifetimes: dict[int, Lifetime] = {}
        for now, entry in enumerate(entries):
            for buffer in entry.buffers & self._scratch.keys():
                lifetimes.setdefault(buffer, Lifetime(self._scratch[buffer])).touch(now)
        layout = lay_out(lifetimes)
        after = [
            max([wait, *(layout.waits[buffer] for buffer in entry.buffers if buffer in layout.waits)])
            for entry, wait in zip(entries, waits(entries, self._buffers), strict=True)
        ]
        return layout, after


def _frames(
    frame: NDArray[np.void],
    spots: NDArray[np.void],
    flags: NDArray[np.uint8],
    own: NDArray[Any],
    terms: NDArray[np.int64],
) -> NDArray[np.void]:
    """Return what threads work on: what all of them share, and a row of scratch for each."""
    frames = frame.repeat(len(own))
    frames["spots"], frames["flags"] = spots.ctypes.data, flags.ctypes.data
    for name, scratch in (("own", own), ("terms", terms)):
        frames[name] = scratch.ctypes.data + np.arange(len(scratch)) * scratch.strides[0]
    return frames


class _Rows:
    """Records of all kinds of task, and the places they name."""

    def __init__(self) -> None:
        self._rows: dict[int, list[dict[str, int | float]]] = {kind: [] for kind in TABLES}
        self._places: dict[Place, int] = {}

    def add(self, entry: Entry) -> int:
        """Add an entry's record, and those of all that is carried out with it; return its row."""
        if entry.kind < 0:
            return 0
        # One behind the other: those beside an entry follow it in their table.
        row = len(self._rows[entry.kind])
        onward = {"onward": len(self._rows[PACK]), "onwards": len(entry.onward), "beside": len(entry.beside)}
        for packing in entry.onward:
            self.add(packing)
        following = entry.following
        onward["next"] = self.add(following) if following else 0
        onward["nexts"] = 1 + len(following.beside) if following else 0
        fields = {
            key: self._places.setdefault(value, len(self._places)) if isinstance(value, Place) else value
            for key, value in entry.fields.items()
        }
        self._rows[entry.kind].append({**fields, **onward})
        for other in entry.beside:
            self.add(other)
        return row

    def records(self) -> dict[int, NDArray[np.void]]:
        """Return the records of every kind."""
        kinds = {kind: np.zeros(len(rows), TABLES[kind]) for kind, rows in self._rows.items()}
        for kind, records in kinds.items():
            for k, fields in enumerate(self._rows[kind]):
                records[k] = tuple(fields[name] for name in records.dtype.names or ())
        return kinds

    def places(self) -> NDArray[np.void]:
        """Return the places, in the order of their numbers."""
        return np.array([(place.buffer, place.offset, place.stride) for place in self._places], PLACE)
