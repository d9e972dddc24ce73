"""A batch on this machine: disks and networks are waited for while pictures are computed.

All else takes turns with computing, on all cores. Helpers beside a computation that has every core already would take
one from it now and then, and the kernel's other threads would spin until they have it back: that costs several times
what the helpers do.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from lrptool.batch.chunks import Chunk
from lrptool.batch.machine import cores
from lrptool.batch.records import Record
from lrptool.batch.stages import Drawn, Explained, Failed, Fetched, Ready
from lrptool.batch.work import Bench

_TURN = 0.6
"""Seconds a turn of opening and computing may last where it is of several chunks: so long are results held back."""
_MOST = 4
"""Chunks of a turn: the more, the less helpers wait for the last one of them."""
_BEHIND = 2
"""Turns whose files may wait to be written."""
_WAITING = 4
"""Threads that fetch, and as many that write."""


@dataclass(slots=True)
class Local:
    """Works on chunks in this process.

    Parameters
    ----------
    bench : Bench
    stop : threading.Event
        Once set, no further chunk is begun.
    """

    bench: Bench
    stop: threading.Event

    def run(self, chunks: Iterable[Chunk]) -> Iterator[Record]:
        """Yield the records of what is missing in each chunk, in order."""
        helpers = _Helpers(self.bench)
        try:
            yield from self._pipeline(iter(chunks), helpers)
        finally:
            helpers.dismiss()

    def _pipeline(self, chunks: Iterator[Chunk], helpers: _Helpers) -> Iterator[Record]:
        """Keep the stages busy, and each queue short: memory does not grow with the batch."""
        outcomes: list[Explained | Failed] = []
        together = 1
        while True:
            began = time.perf_counter()
            if not self.stop.is_set():
                helpers.fetch(chunks, 2 * together)
            drawing = helpers.draw(outcomes)
            opening = helpers.open(0 if self.stop.is_set() else together)
            # Whoever writes the manifest does so now, in this thread, while helpers have the other cores.
            yield from helpers.kept(_BEHIND)
            helpers.keep(drawing)
            if not opening:
                break
            turn = [(chunk, [future.result() for future in futures]) for chunk, futures in opening]
            outcomes = []
            for chunk, ready in turn:
                if not self.stop.is_set():
                    outcomes += compute(self.bench, chunk, ready)
            together = min(_MOST, max(1, int(_TURN * len(turn) / (time.perf_counter() - began))))
        yield from helpers.kept(0)


@dataclass(slots=True)
class _Helpers:
    """Threads around the one that computes, and what they are at."""

    bench: Bench
    _fetchers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_WAITING, "fetch"))
    _hands: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(cores(), "hand"))
    _keepers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_WAITING, "keep"))
    _fetching: deque[tuple[Chunk, list[Future[Fetched | Failed]]]] = field(default_factory=deque)
    _keeping: deque[list[Future[Record]]] = field(default_factory=deque)

    def fetch(self, chunks: Iterator[Chunk], count: int) -> None:
        """Begin to fetch until so many chunks are under way."""
        while len(self._fetching) < count:
            chunk = next(chunks, None)
            if chunk is None:
                return
            self._fetching.append((chunk, [self._fetchers.submit(self.bench.fetch, item) for item in chunk.items]))

    def draw(self, outcomes: Iterable[Explained | Failed]) -> list[Future[Drawn | Failed]]:
        """Begin to draw what was computed."""
        return [self._hands.submit(self.bench.draw, outcome) for outcome in outcomes]

    def open(self, count: int) -> list[tuple[Chunk, list[Future[Ready | Failed]]]]:
        """Begin to open the next chunks, at most so many."""
        opening: list[tuple[Chunk, list[Future[Ready | Failed]]]] = []
        while self._fetching and len(opening) < count:
            chunk, futures = self._fetching.popleft()
            opening.append((chunk, [self._hands.submit(self.bench.open, future.result()) for future in futures]))
        return opening

    def keep(self, drawing: Iterable[Future[Drawn | Failed]]) -> None:
        """Begin to write what is drawn, as soon as it is."""
        self._keeping.append([self._keepers.submit(self.bench.keep, future.result()) for future in drawing])

    def kept(self, behind: int) -> Iterator[Record]:
        """Yield the records of what is written; wait where more turns than `behind` are not."""
        while self._keeping and (len(self._keeping) > behind or all(future.done() for future in self._keeping[0])):
            for future in self._keeping.popleft():
                yield future.result()

    def dismiss(self) -> None:
        """End all threads."""
        for pool in (self._fetchers, self._hands, self._keepers):
            pool.shutdown(cancel_futures=True)


def compute(bench: Bench, chunk: Chunk, read: Iterable[Ready | Failed]) -> list[Explained | Failed]:
    """Explain what was read of a chunk; return the outcomes of what is missing of it.

    All of a chunk is computed even where one input is missing, because in what company an input goes through the
    network may show in the last digits.
    """
    outcomes: list[Explained | Failed] = []
    ready: list[Ready] = []
    for one in read:
        if isinstance(one, Failed):
            outcomes.append(one)
        else:
            ready.append(one)
    if any(one.item.number in chunk.missing for one in ready):
        outcomes += bench.explain(ready)
    wanted = (outcome for outcome in outcomes if outcome.item.number in chunk.missing)
    return sorted(wanted, key=lambda outcome: outcome.item.number)
