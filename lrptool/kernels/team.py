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

APART = 64
"""Bytes from counter to counter: a cache line each."""
LEADS, HELPS = True, False
CLOSED = 1 << 32
"""Added to the number of those who came when nobody may come any more."""


class _Work:
    """A kernel, its arguments and what they point into; nothing any more once it is done."""

    __slots__ = ("load",)

    def __init__(self, kernel: Callable[..., object], arguments: tuple[Any, ...], keeps: object) -> None:
        self.load: tuple[Callable[..., object], tuple[Any, ...], object] | None = (kernel, arguments, keeps)


class Team:
    """Threads that wait for work."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin without threads."""
        self._waiting: SimpleQueue[_Work] = SimpleQueue()
        self._threads = 0
        self._lock = threading.Lock()

    def run(self, kernel: Callable[..., object], threads: int, *arguments: Any, keeps: object = None) -> None:
        """Call ``kernel(*arguments, gate, leads)`` in this thread and, as they wake up, in others.

        The kernel goes in and out by the gate, see `lrptool.kernels.compiled.gate`, and returns 0.

        Parameters
        ----------
        keeps : object, optional
            What the arguments hold addresses of.
        """
        gate = counters(2)
        if threads > 1:
            # Others may lead at the same time: there are enough who help for all of them to use every core.
            self._grow(max(threads, cores()) - 1)
        arguments = (*arguments, gate.ctypes.data)
        work = _Work(kernel, arguments, (keeps, gate))
        for _ in range(threads - 1):
            self._waiting.put(work)
        try:
            failed = kernel(*arguments, LEADS)
        finally:
            work.load = None  # who comes late shall not keep the memory
        if failed:
            raise RuntimeError(f"a kernel ended with status {failed}")

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
            kernel, arguments, keeps = load
            kernel(*arguments, HELPS)
            del kernel, arguments, keeps
        del work, load


def counters(count: int) -> NDArray[np.int64]:
    """Return fresh counters, `APART` from each other."""
    return np.zeros(count * APART // np.int64().itemsize, np.int64)


def cores() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Wish(threading.local):
    """How many threads kernels use that are called from this thread."""

    count = 0


_MOST = 256
_WISH = _Wish()


def get_threads() -> int:
    """Return the number of threads the calling thread's kernels use."""
    return _WISH.count or cores()


def set_threads(count: int) -> None:
    """Let the calling thread's kernels use `count` threads; 0: as many as there are cores."""
    _WISH.count = min(count, _MOST)


TEAM = Team()
if hasattr(os, "register_at_fork"):
    # A child has no threads but the one that forked.
    os.register_at_fork(after_in_child=TEAM.forget)
