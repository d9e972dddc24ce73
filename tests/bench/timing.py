"""Tasks that take turns, and what is said of the seconds they took."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Task = Callable[[], Mapping[str, float]]
"""Does its work once and returns seconds by name."""

PAUSE = 0.25
"""Seconds between tasks: threads of the one before, in other processes too, stop spinning."""
WARM = 0.15
"""Seconds a task runs before it is timed, at least once: caches hold what others left, and idle cores need a while."""
DEAR = 5.0
"""Seconds from which on a task is timed at once: what others left in caches and pools of memory is soon gone."""
SLOW = 40.0
"""Where the fewest rounds take more seconds than this, the first one counts, and no more are made."""


@dataclass(frozen=True)
class Rounds:
    """How often all tasks take turns: as often as fits into `seconds`, within bounds.

    The first round compiles, packs weights and touches memory for the first time. It does not count unless it is dear,
    and then the median does not see it.
    """

    least: int = 5
    most: int = 41
    seconds: float = 6.0

    @classmethod
    def exactly(cls, count: int) -> Rounds:
        return cls(count, count)

    def unless(self, count: int | None) -> Rounds:
        """Return these, or exactly so many where somebody asked for that."""
        return Rounds.exactly(count) if count else self

    def enough(self, count: int, elapsed: float) -> bool:
        """Whether `count` rounds in `elapsed` seconds will do."""
        if count > self.least:
            return count > self.most or elapsed > self.seconds
        return count == self.least and elapsed > SLOW


class Clock:
    """Stands in for a function and adds up the seconds its calls take."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self._seconds = function, 0.0

    def __call__(self, *args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return self._function(*args, **options)
        finally:
            self._seconds += time.perf_counter() - began

    def read(self) -> float:
        """Return the seconds since it was last read."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds


PROCESS_ROUNDS = Rounds(least=3, most=9)
"""Whole processes take seconds each, and the largest networks mostly to read their weights."""


def timed(name: str, function: Callable[[], object]) -> Task:
    """Return a task of this process."""
    clock = Clock(function)

    def task() -> Mapping[str, float]:
        clock()
        return {name: clock.read()}

    return task


class _Turn:
    """A task that waits until the one before is really over, and warms up where that is cheap."""

    def __init__(self, task: Task) -> None:
        self._task, self._last = task, float("inf")

    def __call__(self) -> Mapping[str, float]:
        time.sleep(PAUSE)
        warm = time.perf_counter() + WARM
        while self._last < DEAR and time.perf_counter() < warm:
            self._task()
        began = time.perf_counter()
        seconds = self._task()
        self._last = time.perf_counter() - began
        return seconds


def interleaved(tasks: Sequence[Task], rounds: Rounds) -> dict[str, list[float]]:
    """Return the seconds of every task, one round after the other, so that a slower machine is slower for all."""
    turns = [_Turn(task) for task in tasks]
    found: dict[str, list[float]] = defaultdict(list)
    began, count = time.perf_counter(), 0
    while not rounds.enough(count, time.perf_counter() - began):
        for turn in turns:
            for name, value in turn().items():
                found[name].append(value)
        count += 1
    return {name: values[1:] if count > rounds.least else values for name, values in found.items()}


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float], scale: float = 1.0) -> Spread:
        scaled = [value * scale for value in values]
        if len(scaled) == 1:
            return cls(scaled[0], scaled[0], scaled[0])
        low, median, high = statistics.quantiles(scaled, n=4, method="inclusive")
        return cls(median, low, high)
