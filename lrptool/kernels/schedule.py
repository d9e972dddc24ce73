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

from lrptool.kernels.arena import Lifetime, lay_out
from lrptool.kernels.memory import MEMORY
from lrptool.kernels.records import PLACE, PRODUCT, TABLES, TASK
from lrptool.kernels.region import counters_for, run
from lrptool.kernels.team import TEAM, get_threads

Values = NDArray[np.floating[Any]]

_ALIGNED = 64


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


@dataclass(slots=True)
class _Use:
    """Who has written and read a buffer so far."""

    written: int = -1
    read: int = -1
    group: object = None
    before_group: int = -1

    def before_writing(self, group: object) -> int:
        """Return the entry a writer has to wait for: none of its own group, whose parts do not overlap."""
        return self.before_group if group is not None and group == self.group else max(self.written, self.read)

    def wrote(self, now: int, group: object) -> None:
        """Note a writer."""
        self.before_group, self.group, self.written = self.before_writing(group), group, now

    def was_read(self, now: int) -> None:
        """Note a reader."""
        self.read, self.group = now, None


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
    """The schedule as the region reads it; `fixed` and `in_arena` make up the addresses of a run."""

    tasks: NDArray[np.void]
    kinds: tuple[NDArray[np.void], ...]
    places: NDArray[np.void]
    offsets: NDArray[np.int64]
    fixed: NDArray[np.int64]
    in_arena: NDArray[np.bool_]
    arena: int


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
        self._scratch: dict[int, Lifetime] = {}
        self._uses: list[_Use] = []
        self._places: dict[Place, int] = {}
        self._tables: list[NDArray[np.int64]] = []
        self._set_flags: list[tuple[int, int]] = []
        self._table_size = self._flag_count = self._terms = 0
        self._own = 1
        self._rows: dict[int, list[dict[str, int | float]]] = {kind: [] for kind in TABLES}
        self._tasks: list[tuple[int, int, int, int, int]] = []
        self._touched: list[frozenset[int]] = []
        self._calls: dict[int, Callable[[Run], None]] = {}
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
        self._scratch[buffer] = Lifetime(self.batch * values + slack)
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
        after = self._depend(reads, [writes], group)
        numbers = {key: self._number(value) if isinstance(value, Place) else value for key, value in fields.items()}
        self._rows[kind].append(numbers)
        self._own = max(self._own, own)
        self._tasks.append((kind, len(self._rows[kind]) - 1, total, grain, after))

    def call(self, function: Callable[[Run], None], reads: Sequence[Place], writes: Sequence[Place]) -> None:
        """Add a function that is called between regions."""
        self._depend(reads, writes, None)
        self._calls[len(self._tasks)] = function
        self._tasks.append((0, 0, 0, 1, -1))

    def run(self, arrays: Mapping[str, Values] = MappingProxyType({})) -> None:
        """Carry out all tasks on the arrays that have names, contiguous and of the schedule's dtype."""
        made = self._made = self._made or self._make()
        arena = MEMORY.take((made.arena + _ALIGNED,), self.dtype)
        start = arena.ctypes.data
        addresses = made.fixed.copy()
        addresses[made.in_arena] += start + -start % _ALIGNED
        for name, buffer in self._named.items():
            addresses[buffer] = arrays[name].ctypes.data
        threads = get_threads()
        own = MEMORY.take((threads, self._own), self.dtype)
        terms = MEMORY.take((threads, 2 * self._terms), np.int64)
        flags = np.zeros(self._flag_count, np.uint8)
        for begin, end in self._set_flags:
            flags[begin:end] = 1
        counters = counters_for(len(self._tasks), threads)
        shared = (made.kinds, made.places, addresses, flags, made.offsets)
        begin = 0
        for stop in [*self._calls, len(self._tasks)]:
            if stop > begin:
                work = (made.tasks, begin, stop, *shared, own, terms, counters, threads)
                TEAM.run(run, threads, *work, keeps=(arena, arrays))
            if stop in self._calls:
                self._calls[stop](Run(self.dtype, addresses, arrays))
            begin = stop + 1

    def _new_buffer(self) -> int:
        """Number a buffer."""
        self._uses.append(_Use())
        return len(self._uses) - 1

    def _number(self, place: Place) -> int:
        """Number a place."""
        return self._places.setdefault(place, len(self._places))

    def _depend(self, reads: Sequence[Place], writes: Sequence[Place], group: object) -> int:
        """Note what the next entry reads and writes; return the entry it has to wait for."""
        now = len(self._tasks)
        after = max(
            [-1]
            + [self._uses[place.buffer].written for place in reads]
            + [self._uses[place.buffer].before_writing(group) for place in writes]
        )
        for place in writes:
            self._uses[place.buffer].wrote(now, group)
        for place in reads:
            self._uses[place.buffer].was_read(now)
        touched = frozenset(place.buffer for place in (*reads, *writes) if place.buffer in self._scratch)
        for buffer in touched:
            self._scratch[buffer].touch(now)
        self._touched.append(touched)
        return after

    def _make(self) -> _Made:
        """Lay out the scratch and write down all records."""
        layout = lay_out(self._scratch)
        tasks = np.zeros(len(self._tasks), TASK)
        for k, (*work, after) in enumerate(self._tasks):
            waits = [layout.waits[buffer] for buffer in self._touched[k] if buffer in layout.waits]
            tasks[k] = (*work, max([after, *waits]))
        kinds = tuple(np.zeros(len(rows), TABLES[kind]) for kind, rows in self._rows.items())
        for records, rows in zip(kinds, self._rows.values(), strict=True):
            for k, fields in enumerate(rows):
                records[k] = tuple(fields[name] for name in records.dtype.names or ())
        # Terms count from 0 on where none is left out: the region finds these numbers at the beginning of the table.
        kinds[PRODUCT]["table"] += self._terms
        fixed, in_arena = np.zeros(len(self._uses), np.int64), np.zeros(len(self._uses), np.bool_)
        for buffer, array in self._held.items():
            fixed[buffer] = array.ctypes.data
        for buffer, offset in layout.offsets.items():
            fixed[buffer], in_arena[buffer] = offset * self.dtype.itemsize, True
        return _Made(
            tasks,
            kinds,
            np.array([(place.buffer, place.offset, place.stride) for place in self._places], PLACE),
            np.concatenate([np.arange(self._terms), *self._tables]),
            fixed,
            in_arena,
            layout.size,
        )
