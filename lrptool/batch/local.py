"""A batch on this machine: as many chunks at a time as there are lanes, each with its own share of the cores.

A lane opens, computes and draws its chunk by itself. While one decodes or encodes, others compute, and nobody waits for
the last of many threads. Disks and networks are waited for by threads of their own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from lrptool.batch.chunks import Chunk
from lrptool.batch.records import Record
from lrptool.batch.stages import Explained, Failed, Fetched, Ready
from lrptool.batch.work import Bench

_AHEAD = 2
"""Chunks per lane that are under way: one being computed, one at hand."""
_WAITING = 4
"""Threads that fetch, and as many that write."""


@dataclass(slots=True)
class Local:
    """Works on chunks in this process.

    Parameters
    ----------
    bench : Bench
        Its model uses the threads of one lane.
    stop : threading.Event
        Once set, no further chunk is begun.
    lanes : int
        Chunks computed at the same time.
    """

    bench: Bench
    stop: threading.Event
    lanes: int = 1

    def run(self, chunks: Iterable[Chunk]) -> Generator[Record, None, None]:
        """Yield the records of what is missing in each chunk, in order."""
        crew = _Crew(self.bench, self.stop, self.lanes)
        under_way: deque[Future[list[Future[Record]]]] = deque()
        coming = iter(chunks)
        try:
            while True:
                while len(under_way) < _AHEAD * self.lanes and not self.stop.is_set():
                    chunk = next(coming, None)
                    if chunk is None:
                        break
                    under_way.append(crew.begin(chunk))
                if not under_way:
                    return
                for record in under_way.popleft().result():
                    yield record.result()
        finally:
            crew.dismiss()


class _Crew:
    """Threads that fetch, compute and write."""

    def __init__(self, bench: Bench, stop: threading.Event, lanes: int) -> None:
        self._bench, self._stop = bench, stop
        self._fetchers = ThreadPoolExecutor(_WAITING, "fetch")
        self._lanes = ThreadPoolExecutor(lanes, "lane")
        self._keepers = ThreadPoolExecutor(_WAITING, "keep")

    def begin(self, chunk: Chunk) -> Future[list[Future[Record]]]:
        """Let a chunk's inputs be fetched, and worked on as soon as a lane is free."""
        fetched = [self._fetchers.submit(self._bench.fetch, item) for item in chunk.items]
        return self._lanes.submit(self._work, chunk, fetched)

    def _work(self, chunk: Chunk, fetched: list[Future[Fetched | Failed]]) -> list[Future[Record]]:
        """Open, explain and draw a chunk; return what will be the lines of its files once these are written."""
        if self._stop.is_set():
            return []
        ready = [self._bench.open(future.result()) for future in fetched]
        outcomes = compute(self._bench, chunk, ready)
        return [self._keepers.submit(self._bench.keep, self._bench.draw(outcome)) for outcome in outcomes]

    def dismiss(self) -> None:
        """End all threads; what has not begun is left."""
        for pool in (self._fetchers, self._lanes, self._keepers):
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
