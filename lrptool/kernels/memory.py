"""Arrays whose memory is used again when the last view of them is gone.

Fresh memory of some megabytes costs a page fault every four kilobytes; a pass over a network would take thousands.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import count
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_PAGE = 4096
_MOST = 1 << 33
_UNKNOWN = 1 << 34
"""Bytes taken for the machine's memory where the system does not tell."""


class Memory:
    """A pool of memory; safe to share between threads.

    Parameters
    ----------
    limit : int
        Bytes kept for use again; beyond that, what has lain longest goes back to the system.
    """

    def __init__(self, limit: int) -> None:
        self._returned: deque[bytearray] = deque()
        self._free: OrderedDict[int, bytearray] = OrderedDict()
        self._kept, self._limit = 0, limit
        self._given = count()
        self._lock = threading.Lock()

    def take(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of any contents."""
        item = np.dtype(dtype)
        size = -(-max(1, prod(shape)) * item.itemsize // _PAGE) * _PAGE
        with self._lock:
            self._settle()
            # The one used last: a cache may hold some of it still.
            place = next((place for place, block in reversed(self._free.items()) if len(block) == size), None)
            found = None if place is None else self._free.pop(place)
            self._kept -= 0 if found is None else size
        block = bytearray(size) if found is None else found
        array = np.frombuffer(block, item, prod(shape))
        # Views of `array` keep it alive, because its own memory is no array's: so this runs after the last of them.
        weakref.finalize(array, self._give, block).atexit = False
        return array.reshape(shape)

    def _give(self, block: bytearray) -> None:
        """Keep a block for the next taker.

        The garbage collector may call this anywhere, in `take` too: so it waits for nobody.
        """
        self._returned.append(block)
        if self._lock.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._lock.release()

    def _settle(self) -> None:
        """Put away what was returned, and let go of what is beyond the limit."""
        while self._returned:
            block = self._returned.popleft()
            self._free[next(self._given)] = block
            self._kept += len(block)
        while self._kept > self._limit:
            self._kept -= len(self._free.popitem(last=False)[1])


def _quarter_of_all() -> int:
    """A quarter of the machine's memory, and no more than 8 GB."""
    known = hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names
    everything = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else _UNKNOWN
    return min(everything // 4, _MOST)


def give_back() -> None:
    """Return memory that building something large left unused to the system; glibc would keep it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


MEMORY = Memory(_quarter_of_all())
"""The pool everybody takes from."""
