"""Arrays whose memory is used again when the last view of them is gone.

Fresh memory of some megabytes costs a page fault every four kilobytes; a pass over a network would take thousands.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import weakref
from collections import defaultdict
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_PAGE = 4096


class Memory:
    """A pool of memory; safe to share between threads.

    Parameters
    ----------
    limit : int
        Bytes kept for use again; what is beyond goes back to the system.
    """

    def __init__(self, limit: int = 1 << 32) -> None:
        self._free: dict[int, list[bytearray]] = defaultdict(list)
        self._kept, self._limit = 0, limit
        self._lock = threading.Lock()

    def take(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of any contents."""
        item = np.dtype(dtype)
        size = -(-max(1, prod(shape)) * item.itemsize // _PAGE) * _PAGE
        with self._lock:
            found = self._free[size].pop() if self._free[size] else None
            self._kept -= size if found is not None else 0
        block = found if found is not None else bytearray(size)
        array = np.frombuffer(block, item, prod(shape))
        # Views of `array` keep it alive, because its own memory is no array's: so this runs after the last of them.
        weakref.finalize(array, self._give, block).atexit = False
        return array.reshape(shape)

    def _give(self, block: bytearray) -> None:
        """Keep a block for the next taker."""
        with self._lock:
            if self._kept + len(block) <= self._limit:
                self._free[len(block)].append(block)
                self._kept += len(block)


def give_back() -> None:
    """Return memory that building something large left unused to the system; glibc would keep it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


MEMORY = Memory()
"""The pool everybody takes from."""
