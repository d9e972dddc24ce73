"""The pool of memory: used again when the last view is gone, never before."""

from __future__ import annotations

import numpy as np

from lrptool.kernels import Memory


def test_memory_is_used_again_once_the_last_view_is_gone() -> None:
    memory = Memory()
    array = memory.take((2, 3, 4), np.float32)
    place, view = array.ctypes.data, array[1].reshape(-1)[3:]
    del array
    other = memory.take((2, 3, 4), np.float32)
    assert other.ctypes.data != place  # a view is still looking at it
    view[:] = 7
    assert not np.shares_memory(view, other)
    del view
    assert memory.take((24,), np.float32).ctypes.data == place


def test_memory_beyond_the_limit_is_not_kept() -> None:
    memory = Memory(limit=4096)
    arrays = [memory.take((1024,), np.float32) for _ in range(3)]
    del arrays
    assert sum(len(blocks) for blocks in memory._free.values()) == 1
