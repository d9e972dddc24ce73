"""How many pictures at a time fit a memory budget."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lrptool.engine.program import Program

_MOST = 64
"""Pictures beyond which nothing is gained by computing them together."""
_SLACK = 1.4
"""The allowance for what is not counted: what sessions and allocators hold back."""


def fitting_batch(program: Program, budget: int) -> int:
    """Return how many pictures can be explained at a time in `budget` bytes of resident memory, 0 where none fits.

    What the process takes up now, with model and session loaded, counts against the budget.
    """
    room = budget - resident()
    return max(0, min(_MOST, int(room / (program.item_bytes() * _SLACK))))


def resident() -> int:
    """Return the bytes of memory the process takes up now; its peak where the system does not tell."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        return 0
    import resource  # noqa: PLC0415  (there is none on Windows)

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
