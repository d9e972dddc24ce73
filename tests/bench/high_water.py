"""Run the command line, then print the most megabytes this process had in memory."""

from __future__ import annotations

import sys
from pathlib import Path

from lrptool.cli import main

STATUS = Path("/proc/self/status")


def high_water() -> str:
    """VmHWM in megabytes; ``unknown`` where there is no such file."""
    if not STATUS.exists():
        return "unknown"
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")]
    return f"{int(line.split()[1]) * 1024 / 1e6:.1f}"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SystemExit as end:
        if end.code:
            raise
    sys.stdout.write(f"{high_water()}\n")
