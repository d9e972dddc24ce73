"""The order in which a batch on one machine works: what needs a processor never runs beside a computation."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from lrptool.batch.chunks import Chunk
from lrptool.batch.items import Item, Wish
from lrptool.batch.local import Local
from lrptool.batch.records import Record
from lrptool.batch.stages import Explained, Fetched, Ready
from lrptool.batch.work import Bench


class Tracing:
    """A bench that does nothing but note what is under way at the same time."""

    def __init__(self) -> None:
        self.beside: set[str] = set()
        self.opened = self.kept = self.most = 0
        self._helping = 0
        self._lock = threading.Lock()

    def _help(self, step: int) -> None:
        with self._lock:
            self._helping += step

    def fetch(self, item: Item) -> Fetched:
        return Fetched(item, b"", 0.0)

    def open(self, fetched: Fetched) -> Ready:
        self._help(1)
        with self._lock:
            self.opened += 1
            self.most = max(self.most, self.opened - self.kept)
        ready = Ready(fetched.item, cast("Any", None), None, (), None, {}, 0.0)
        self._help(-1)
        return ready

    def explain(self, group: Sequence[Ready]) -> Iterator[Explained]:
        if self._helping:
            self.beside.add("helpers at work")
        for place, ready in enumerate(group):
            yield Explained(ready, (), place, 0.0)
        if self._helping:
            self.beside.add("helpers at work")

    def draw(self, explained: Explained) -> Explained:
        self._help(1)
        self._help(-1)
        return explained

    def keep(self, drawn: Explained) -> Record:
        with self._lock:
            self.kept += 1
        return {"number": drawn.item.number}


def chunks(count: int, size: int = 4) -> list[Chunk]:
    """Chunks of inputs that do not exist."""
    items = [Item(str(k), str(k), None, Wish(), number=k) for k in range(count * size)]
    parts = [tuple(items[k * size : (k + 1) * size]) for k in range(count)]
    return [Chunk(k, part, frozenset(item.number for item in part)) for k, part in enumerate(parts)]


def test_every_input_comes_out_in_order_and_nothing_helps_beside_a_computation() -> None:
    bench = Tracing()
    records = list(Local(cast("Bench", bench), threading.Event()).run(chunks(60)))
    assert [record["number"] for record in records] == list(range(240))
    assert not bench.beside
    # However long the batch, so many inputs at most are in memory: turns of four chunks of four, of which one is being
    # opened, one drawn, and three wait to be written.
    assert bench.most <= 5 * 16


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
