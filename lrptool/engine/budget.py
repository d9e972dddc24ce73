"""How many pictures at a time fit a memory budget, and how much memory there is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lrptool.engine.program import Program

_SLACK = 1.4
"""The allowance for what is not counted: what sessions and allocators hold back."""


def fitting(program: Program, budget: int) -> int:
    """Return how many pictures can be explained at a time in `budget` bytes of resident memory, 0 where none fits.

    What the process takes up, with model and session loaded and all weights packed, counts against the budget.
    """
    program.prepare()
    room = budget - resident()
    return max(0, int(room / (program.item_bytes() * _SLACK)))


def available() -> int | None:
    """Return the bytes of memory that nobody needs now, of the system or of the process's control group.

    None where the system does not tell.
    """
    if sys.platform != "linux":
        return None
    found = [int(line.split()[1]) << 10 for line in _text("/proc/meminfo").splitlines() if line.startswith("MemAvai")]
    limit, current = (_text(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    if limit.isdecimal() and current.isdecimal():
        found.append(int(limit) - int(current))
    return max(0, min(found)) if found else None


def _text(path: str) -> str:
    """A file's text; nothing where there is no such file."""
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""


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
