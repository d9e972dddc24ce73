"""Compiling in a process of its own, beside this one: the compiler keeps to one core."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from lrptool.kernels.team import cores

_PATIENCE = 120
"""Seconds somebody waits for a process that has had as long as its own compiling took."""


class Beside:
    """A process that compiles, or none where it could not be started."""

    def __init__(self, process: subprocess.Popen[bytes] | None) -> None:
        self.process = process

    def wait(self) -> None:
        """Return when it has ended, well or not, or has taken too long."""
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_PATIENCE)


@contextmanager
def beside(folder: Path | None, key: str, name: str, dtype: np.dtype[Any]) -> Iterator[Beside]:
    """Start compiling a kernel into a folder; what is not done at the end of the context is given up.

    Whoever waited looks whether there is code now: nothing is done where there is nowhere to keep it, or no second
    core, or where the program that runs is no plain Python, and by a process that finds other sources than those of
    `key`.
    """
    process = None if folder is None else _start([str(folder), key, name, str(dtype)])
    try:
        yield Beside(process)
    finally:
        if process is not None:
            process.kill()
            process.wait()


def _start(arguments: Sequence[str]) -> subprocess.Popen[bytes] | None:
    """Start a process; None where that cannot be."""
    python = Path(sys.executable or os.devnull)
    if not python.name.startswith("python") or getattr(sys, "frozen", False) or cores() < 2:
        return None
    # Modules are looked for where this process looks for them, and not in the current folder.
    command = [str(python), "-P", "-m", "lrptool.kernels.compiled", *arguments]
    path = os.pathsep.join(folder for folder in sys.path if isinstance(folder, str) and folder)
    environment = os.environ | {"PYTHONPATH": path}
    silent, windowless = subprocess.DEVNULL, getattr(subprocess, "CREATE_NO_WINDOW", 0)
    try:
        return subprocess.Popen(
            command, env=environment, stdin=silent, stdout=silent, stderr=silent, creationflags=windowless
        )
    except (OSError, ValueError):
        return None
