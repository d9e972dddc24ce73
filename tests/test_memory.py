"""The pool of memory: used again when the last view is gone, never before."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from lrptool.kernels import Memory


def test_memory_is_used_again_once_the_last_view_is_gone() -> None:
    memory = Memory(1 << 20)
    array = memory.take((2, 3, 4), np.float32)
    place, view = array.ctypes.data, array[1].reshape(-1)[3:]
    del array
    other = memory.take((2, 3, 4), np.float32)
    assert other.ctypes.data != place  # a view is still looking at it
    view[:] = 7
    assert not np.shares_memory(view, other)
    del view
    assert memory.take((24,), np.float32).ctypes.data == place


def test_of_memory_beyond_the_limit_what_was_used_last_is_kept() -> None:
    memory = Memory(limit=2 * 4096)
    arrays = [memory.take((1024 * pages,), np.float32) for pages in (1, 1, 1, 2)]
    third = arrays[2].ctypes.data
    for _ in range(3):
        del arrays[0]
    assert [len(block) for block in memory._free.values()] == [4096, 4096]
    taken = memory.take((1024,), np.float32)
    assert taken.ctypes.data == third
    arrays.clear()
    assert [len(block) for block in memory._free.values()] == [8192]


def test_what_is_returned_while_somebody_takes_is_kept_later() -> None:
    """The garbage collector may run in the middle of anything."""
    memory = Memory(1 << 20)
    array = memory.take((1024,), np.float32)
    with memory._lock:
        del array
        assert not memory._free
    memory.take((2048,), np.float32)
    assert sorted(len(block) for block in memory._free.values()) == [4096, 8192]


def test_a_block_larger_than_the_limit_is_not_kept() -> None:
    memory = Memory(limit=4096)
    array = memory.take((4096,), np.float32)
    del array
    assert not memory._free


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("size", [1 << 12, 1 << 23])
def test_a_forked_child_writes_into_memory_of_its_own(size: int) -> None:
    memory = Memory(1 << 24)
    memory.take((size,), np.uint8)[:] = 1
    ours = memory.take((size,), np.uint8)
    child = os.fork()
    if not child:
        ours[:] = 2
        os._exit(int(ours.min()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert (ours == 1).all()


MAPPED = """
import ctypes
{first}
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.free(libc.malloc(8 << 20))
print(libc.malloc(4 << 20) % 4096 == 2 * ctypes.sizeof(ctypes.c_void_p))
"""
"""Whether a large block is a mapping of its own, which begins with two words of glibc's, once a larger one is freed."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told what to map")
@pytest.mark.parametrize(("chosen", "mapped"), [(None, True), (str(1 << 25), False)], ids=["", "environment"])
def test_commands_have_large_blocks_returned(chosen: str | None, mapped: bool) -> None:
    """By itself glibc keeps what was freed; what the environment says is left alone."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment |= {"MALLOC_MMAP_THRESHOLD_": chosen} if chosen else {}

    def is_mapped(first: str) -> str:
        command = [sys.executable, "-c", MAPPED.format(first=first)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert is_mapped("") == "False"
    assert is_mapped("from lrptool.cli.memory import *; return_large_blocks()") == str(mapped)
