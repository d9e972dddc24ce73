"""What tests of batches share: folders of digits, and what a batch has left in its folder."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from tests.command import DIGIT, EIGHT, SAMPLES, Result, run

OWN = ("run.json", "manifest.jsonl")
"""What tells of the run itself: seconds and the time of day differ from run to run."""


def digits(folder: Path, count: int) -> Path:
    """Make a folder of so many pictures of digits, in folders of ten."""
    for k in range(count):
        picture = Image.open(SAMPLES / f"digit_{k % 10}.png").convert("L")
        path = folder / f"{k // 10}" / f"digit {k:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.rotate(k % 7, fillcolor=picture.getpixel((0, 0))).save(path)
    return folder


def two(folder: Path) -> Path:
    """Make a folder of two digits."""
    folder.mkdir(parents=True)
    (folder / "three.png").write_bytes(DIGIT.read_bytes())
    (folder / "eight.png").write_bytes(EIGHT.read_bytes())
    return folder


def batch(*args: object, stdin: bytes = b"") -> Result:
    """Run `lrptool batch` with the bundled model in this process."""
    return run("batch", *args, "-m", "lenet", stdin=stdin)


def process(*args: object, **options: Any) -> subprocess.Popen[bytes]:
    """Start `lrptool batch` with the bundled model in a process of its own."""
    command = [sys.executable, "-m", "lrptool", "batch", *map(str, args), "-m", "lenet"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def manifest(folder: Path, name: str = "manifest.jsonl") -> list[dict[str, Any]]:
    """The lines of a manifest."""
    return [json.loads(line) for line in (folder / name).read_bytes().splitlines()]


def facts(folder: Path, name: str = "manifest.jsonl") -> list[dict[str, Any]]:
    """The lines of a manifest without what differs from run to run."""
    return [{key: value for key, value in line.items() if key != "seconds"} for line in manifest(folder, name)]


def outputs(folder: Path) -> dict[str, str]:
    """Checksum of every file of a batch but those that tell of the run itself."""
    found = {}
    for path in folder.rglob("*"):
        name = os.fsencode(path.relative_to(folder)).decode("utf-8", "surrogateescape")
        if path.is_file() and name not in OWN and not name.startswith(".lrptool/"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def states(folder: Path) -> dict[str, int]:
    """When every file of a batch was last written."""
    return {name: (folder / name).stat().st_mtime_ns for name in outputs(folder)}


def same(one: Path, other: Path) -> None:
    """Two batches have the same outputs, the same manifest, and nothing unfinished."""
    assert outputs(one) == outputs(other)
    assert facts(one) == facts(other)
    for folder in (one, other):
        assert not (folder / ".lrptool" / "parts").exists()
        named = [file["path"] for line in manifest(folder) for file in line["files"]]
        assert len(named) == len(set(named))
        assert set(named) <= set(outputs(folder))
