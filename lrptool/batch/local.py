"""A batch on this machine: inputs are read and results written by helpers while the next chunk is computed."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from lrptool.batch.chunks import Chunk
from lrptool.batch.records import Record
from lrptool.batch.work import Bench, Explained, Failed, Ready

_AHEAD = 3
"""Chunks that are read before their turn comes."""
_BEHIND = 3
"""Chunks whose results may wait to be written."""
_NICE = 5
"""How far helpers stand back where cores are few: computing goes first."""
_SWITCH = 0.0005
"""Seconds a helper may keep the interpreter from the thread that computes."""


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
        before = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH)
        readers = ThreadPoolExecutor(_helpers(), "read", initializer=_stand_back)
        writers = ThreadPoolExecutor(_helpers(), "write", initializer=_stand_back)
        try:
            yield from self._pipeline(iter(chunks), readers, writers)
        finally:
            readers.shutdown(cancel_futures=True)
            writers.shutdown(cancel_futures=True)
            sys.setswitchinterval(before)

    def _pipeline(
        self, chunks: Iterator[Chunk], readers: ThreadPoolExecutor, writers: ThreadPoolExecutor
    ) -> Iterator[Record]:
        """Keep the stages busy, and each queue short: memory does not grow with the batch."""
        reading: deque[tuple[Chunk, list[Future[Ready | Failed]]]] = deque()
        writing: deque[list[Future[Record]]] = deque()
        while True:
            while len(reading) < _AHEAD and not self.stop.is_set():
                chunk = next(chunks, None)
                if chunk is None:
                    break
                reading.append((chunk, [readers.submit(self.bench.read, item) for item in chunk.items]))
            if not reading or self.stop.is_set():
                break
            chunk, futures = reading.popleft()
            outcomes = compute(self.bench, chunk, [future.result() for future in futures])
            writing.append([writers.submit(self.bench.finish, outcome) for outcome in outcomes])
            while writing and (len(writing) > _BEHIND or all(future.done() for future in writing[0])):
                yield from _results(writing.popleft())
        while writing:
            yield from _results(writing.popleft())


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


def _results(futures: Iterable[Future[Record]]) -> Iterator[Record]:
    """Yield what helpers return, and raise what they raise."""
    for future in futures:
        yield future.result()


def _helpers() -> int:
    """Threads that read, and as many that write."""
    return max(2, min(8, (os.cpu_count() or 2) // 2))


def _stand_back() -> None:
    """Let the thread that computes go first, where the system has priorities of threads."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
