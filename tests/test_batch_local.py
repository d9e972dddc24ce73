"""Lanes of a batch on one machine: what comes out, in which order, and how much is under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from lrptool.api import load
from lrptool.batch.chunks import Chunk
from lrptool.batch.items import Item, Wish
from lrptool.batch.job import Job
from lrptool.batch.lanes import Lanes
from lrptool.batch.local import Local
from lrptool.batch.records import Manifest, Record
from lrptool.batch.run import Batch
from lrptool.batch.stages import Explained, Fetched, Ready
from lrptool.batch.work import Bench
from lrptool.errors import DiskError


class Tracing:
    """A bench that does nothing but note what is under way at the same time."""

    def __init__(self) -> None:
        self.lanes: set[int] = set()
        self.opened = self.kept = self.most = 0
        self._lock = threading.Lock()

    def fetch(self, item: Item) -> Fetched:
        return Fetched(item, b"", 0.0)

    def open(self, fetched: Fetched) -> Ready:
        with self._lock:
            self.opened += 1
            self.most = max(self.most, self.opened - self.kept)
        return Ready(fetched.item, cast("Any", None), None, (), None, {}, 0.0)

    def explain(self, group: Sequence[Ready]) -> Iterator[Explained]:
        self.lanes.add(threading.get_ident())
        # Chunks are done in another order than they were begun.
        time.sleep(0.001 if group[0].item.number % 8 else 0.003)
        for place, ready in enumerate(group):
            yield Explained(ready, (), place, 0.0)

    def draw(self, explained: Explained) -> Explained:
        return explained

    def keep(self, drawn: Explained) -> Record:
        with self._lock:
            self.kept += 1
        return {"number": drawn.item.number, "output": drawn.item.path}


class Silent:
    """Is told how it goes and says nothing."""

    def begin(self, total: int, proven: int) -> None: ...

    def record(self, record: Record) -> None: ...


def chunks(count: int, size: int = 4) -> list[Chunk]:
    """Chunks of inputs that do not exist."""
    items = [Item(str(k), str(k), None, Wish(), number=k) for k in range(count * size)]
    parts = [tuple(items[k * size : (k + 1) * size]) for k in range(count)]
    return [Chunk(k, part, frozenset(item.number for item in part)) for k, part in enumerate(parts)]


@pytest.mark.parametrize("lanes", [1, 3])
def test_every_input_comes_out_in_order_and_few_are_under_way(lanes: int) -> None:
    bench = Tracing()
    records = list(Local(cast("Bench", bench), threading.Event(), lanes).run(chunks(60)))
    assert [record["number"] for record in records] == list(range(240))
    assert len(bench.lanes) == lanes
    # However long the batch, so many inputs at most are in memory.
    assert bench.most <= 2 * lanes * 4


@pytest.mark.parametrize("after", [0, 1, 7])
def test_what_was_computed_is_kept_after_a_stop(after: int) -> None:
    bench, stop = Tracing(), threading.Event()
    numbers = []
    if after == 0:
        stop.set()
    for record in Local(cast("Bench", bench), stop).run(chunks(60)):
        numbers.append(record["number"])
        if len(numbers) == after:
            stop.set()
    assert numbers == list(range(len(numbers)))
    assert len(numbers) % 4 == 0
    assert after <= len(numbers) < 240
    assert bench.kept == len(numbers)


@pytest.mark.parametrize("lanes", [2, 4])
def test_lanes_that_are_stopped_leave_whole_chunks(lanes: int) -> None:
    bench, stop = Tracing(), threading.Event()
    numbers = []
    for record in Local(cast("Bench", bench), stop, lanes).run(chunks(60)):
        numbers.append(record["number"])
        if len(numbers) == 5:
            stop.set()
    assert 5 <= len(numbers) < 240
    assert {number // 4 * 4 + k for number in numbers for k in range(4)} == set(numbers)
    assert bench.kept == len(numbers)


def test_what_goes_wrong_in_a_lane_is_raised() -> None:
    class Full(Tracing):
        def keep(self, drawn: Explained) -> Record:
            if drawn.item.number == 21:
                raise DiskError("disk full")
            return super().keep(drawn)

    results = Local(cast("Bench", Full()), threading.Event(), 3).run(chunks(60))
    assert [next(results)["number"] for _ in range(21)] == list(range(21))
    with pytest.raises(DiskError):
        next(results)


def test_an_error_outside_the_lanes_waits_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Who catches it may begin another run in the folder: nobody must be writing there any more.
    def full(self: Manifest, record: Record) -> None:
        raise DiskError("disk full")

    monkeypatch.setattr(Manifest, "add", full)
    bench, job = Tracing(), Job(tmp_path / "out")
    batch = Batch(load("lenet"), job, chunks(60)[0].items, Silent())
    with pytest.raises(DiskError) as caught:
        batch.run(lambda _: Local(cast("Bench", bench), batch.stop, 2))
    assert caught.tb is not None  # which keeps all that was under way
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("fetch", "lane", "keep"))]


@pytest.mark.parametrize(
    ("threads", "chunks", "size", "fitting", "count", "each"),
    [
        (4, 250, 4, 1000, 4, 1),
        (4, 2, 4, 1000, 2, 2),
        (4, 1, 4, 1000, 1, 4),
        (4, 0, 4, 1000, 1, 4),
        (8, 250, 4, 13, 3, 2),
        (8, 250, 4, 0, 1, 8),
        (1, 250, 4, 1000, 1, 1),
    ],
)
def test_lanes_are_one_per_thread_but_for_few_chunks_or_little_memory(
    threads: int, chunks: int, size: int, fitting: int, count: int, each: int
) -> None:
    assert Lanes.of(threads, chunks, size, fitting) == Lanes(count, each)
