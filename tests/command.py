"""The command line under test: in this process where that is enough, in one of its own for pipes and signals."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lrptool import Model, load
from lrptool.cli import main
from tests.conftest import ROOT

LENET = ROOT / "models" / "lenet"
SAMPLES = LENET / "samples"
DIGIT = SAMPLES / "digit_3.png"
EIGHT = SAMPLES / "digit_8.png"


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def records(self) -> list[dict[str, Any]]:
        """One JSON object per line of stdout."""
        return [json.loads(line) for line in self.text.splitlines()]


def _talk(stderr: bytes) -> str:
    """What was said, but for the remark that only the first run on a machine makes."""
    return stderr.decode().replace("note: compiling kernels (once)\n", "")


def run(*args: object, stdin: bytes = b"") -> Result:
    """Run `lrptool` in this process, its streams being no terminal."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    code: Any = None
    with patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))), redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(arg) for arg in args])
        except SystemExit as stop:
            code = stop.code
    return Result(int(code), out.buffer.getvalue(), _talk(err.buffer.getvalue()))  # type: ignore[attr-defined]


def pipe(*args: object, stdin: bytes = b"", cwd: Path | None = None) -> Result:
    """Run `lrptool` in a process of its own, all three streams being pipes."""
    command = [sys.executable, "-m", "lrptool", *(str(arg) for arg in args)]
    done = subprocess.run(command, input=stdin, capture_output=True, cwd=cwd, check=False, timeout=120)
    return Result(done.returncode, done.stdout, _talk(done.stderr))


@cache
def lenet() -> Model:
    """The bundled model, loaded once."""
    return load("lenet")


def listing(folder: Path) -> list[str]:
    """All that is in a folder, at any depth."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
