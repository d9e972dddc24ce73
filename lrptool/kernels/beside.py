"""Compiling in a process of its own, beside this one: the compiler keeps to one core."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Compiling(Protocol):
    """What is under way."""

    def wait(self) -> object:
        """Return when it has ended, well or not."""


class _Nothing:
    """Stands for a process where none could be started."""

    def wait(self) -> None:
        """Return at once."""


@contextmanager
def beside(folder: Path | None, name: str, dtype: np.dtype[Any]) -> Iterator[Compiling]:
    """Start compiling a kernel into a folder; what is not done at the end of the context is given up.

    Whoever waited looks whether there is code now: nothing is done where there is nowhere to keep it, or no second
    core, or where the program that runs is no plain Python.
    """
    process = None if folder is None else _start(folder, name, dtype)
    try:
        yield process or _Nothing()
    finally:
        if process is not None:
            process.kill()
            process.wait()


def _start(folder: Path, name: str, dtype: np.dtype[Any]) -> subprocess.Popen[bytes] | None:
    """Start a process; None where that cannot be."""
    python = Path(sys.executable or os.devnull)
    if not python.name.startswith("python") or getattr(sys, "frozen", False) or (os.cpu_count() or 1) < 2:
        return None
    command = [str(python), "-m", "lrptool.kernels.compiled", str(folder), name, str(dtype)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}  # noqa: PTH109
    silent = subprocess.DEVNULL
    try:
        return subprocess.Popen(command, env=environment, stdin=silent, stdout=silent, stderr=silent)
    except OSError:
        return None
