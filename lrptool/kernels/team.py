"""Threads that carry out a kernel together: Python's own, asleep until a kernel wants them.

numba's parallel regions compile everything inside them three times, and rest on an OpenMP library that does not survive
a fork. What threads need here is little: to be woken, and to take pieces from counters. Whoever wakes them begins at
once, and at the end waits only for those who came: a thread that is held up elsewhere holds up nobody.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.kernels.atomic import take, wait_for
from lrptool.kernels.interrupt import interruptible
from lrptool.kernels.jit import kernel

LINE = 8
"""Counters stand this far apart: a cache line each."""
LEADS, HELPS = True, False
CLOSED = 1 << 32
"""Added to the number of those who came when nobody may come any more."""


@kernel()
def enter(gate):  # type: ignore[no-untyped-def]
    """Return the caller's number among those who take part; `CLOSED` or more where it is too late."""
    return take(gate, 0, 1)


@kernel()
def leave(gate, leads):  # type: ignore[no-untyped-def]
    """Say that the caller is done; who leads closes the gate and waits for all who came."""
    if leads:
        came = take(gate, 0, CLOSED)
        wait_for(gate, LINE, came - 1)
    else:
        take(gate, LINE, 1)


class _Work:
    """A kernel, its arguments and what they point into; nothing any more once it is done."""

    __slots__ = ("load",)

    def __init__(self, kernel: Callable[..., None], arguments: tuple[Any, ...], keeps: object) -> None:
        self.load: tuple[Callable[..., None], tuple[Any, ...], object] | None = (kernel, arguments, keeps)


class Team:
    """Threads that wait for work."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin without threads."""
        self._waiting: SimpleQueue[_Work] = SimpleQueue()
        self._threads = 0
        self._lock = threading.Lock()
        self._compiled: set[tuple[object, ...]] = set()

    def run(self, kernel: Callable[..., None], threads: int, *arguments: Any, keeps: object = None) -> None:
        """Call ``kernel(*arguments, gate, leads)`` in this thread and, as they wake up, in others.

        The kernel begins with `enter`, does nothing where that says it is too late, and ends with `leave`.

        Parameters
        ----------
        keeps : object, optional
            What the arguments hold addresses of.
        """
        gate: NDArray[np.int64] = np.zeros(2 * LINE, np.int64)
        self._compile(kernel, arguments)
        if threads > 1:
            # Others may lead at the same time: there are enough who help for all of them to use every core.
            self._grow(max(threads, _cores()) - 1)
        work = _Work(kernel, (*arguments, gate), keeps)
        for _ in range(threads - 1):
            self._waiting.put(work)
        try:
            kernel(*arguments, gate, LEADS)
        finally:
            work.load = None  # who comes late shall not keep the memory

    def _compile(self, kernel: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """See to it that a kernel is compiled before others are told: an interrupt should not leave that to them."""
        key = (kernel, *(argument.dtype for argument in arguments if isinstance(argument, (np.ndarray, np.generic))))
        if key not in self._compiled:
            with interruptible():
                kernel(*arguments, np.full(2 * LINE, CLOSED), HELPS)
            self._compiled.add(key)

    def _grow(self, threads: int) -> None:
        """Start threads until there are as many."""
        with self._lock:
            while self._threads < threads:
                threading.Thread(target=_serve, args=(self._waiting,), name="lrptool", daemon=True).start()
                self._threads += 1


def _serve(waiting: SimpleQueue[_Work]) -> None:
    """Do what is waiting, for ever."""
    while True:
        work = waiting.get()
        load = work.load
        if load is not None:
            kernel, arguments = load[:2]
            kernel(*arguments, HELPS)
            del kernel, arguments
        del work, load


def _cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Wish(threading.local):
    """How many threads kernels use that are called from this thread."""

    count = 0


_MOST = 256
_WISH = _Wish()


def get_threads() -> int:
    """Return the number of threads the calling thread's kernels use."""
    return _WISH.count or _cores()


def set_threads(count: int) -> None:
    """Let the calling thread's kernels use `count` threads; 0: as many as there are cores."""
    _WISH.count = min(count, _MOST)


TEAM = Team()
if hasattr(os, "register_at_fork"):
    # A child has no threads but the one that forked.
    os.register_at_fork(after_in_child=TEAM.forget)
