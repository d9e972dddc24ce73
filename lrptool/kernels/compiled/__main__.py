"""Compile a kernel and keep it: FOLDER KEY NAME DTYPE."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from lrptool.kernels.machine_code import KEY, MachineCode


def main(folder: str, key: str, name: str, dtype: str) -> None:
    """Compile for a process whose sources have a key; do nothing where these are others."""
    if key == KEY:
        MachineCode(Path(folder)).make(name, np.dtype(dtype))


if __name__ == "__main__":
    main(*sys.argv[1:])
