"""How this process asks for memory, which is for a command to say and not for a library."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIMMED_FROM, _MAPPED_FROM = -1, -3
"""Numbers of settings of mallopt(3): free bytes at the heap's end that are returned, and sizes that are mapped."""
_KEPT, _LARGE = 1 << 24, 1 << 20


def return_large_blocks() -> None:
    """Have glibc return large blocks to the system as soon as they are free, unless the environment says otherwise.

    By itself it maps blocks of their own for ever larger sizes only, the more it has returned: what onnxruntime lets go
    of while it makes a session stays, and what it takes next comes on top.
    """
    if sys.platform != "linux" or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    setting = getattr(ctypes.CDLL(None), "mallopt", None)
    if setting is not None:
        setting(_MAPPED_FROM, _LARGE)
        setting(_TRIMMED_FROM, _KEPT)
