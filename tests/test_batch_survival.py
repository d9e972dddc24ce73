"""Batches that are killed, interrupted, or run out of room end like those that are left alone."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from lrptool.batch.lock import alone
from lrptool.batch.records import Manifest
from lrptool.errors import OutputError
from tests.batches import batch, digits, manifest, outputs, process, same
from tests.command import DIGIT, listing
from tests.conftest import ROOT

KILLS = int(os.environ.get("LRPTOOL_TEST_KILLS", "20"))
SAVE = ("--save", "png,npz,h5,html", "--panel", "--batch-size", "3")


class Survivor:
    """Starts batches in processes that can be killed."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.survivor"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
        )

    def _line(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def start(self, *args: object) -> int:
        """Begin a batch; return its process."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(["batch", *map(str, args), "-m", "lenet"]) + "\n")
        self._process.stdin.flush()
        return self._line()

    def end(self) -> int:
        """Wait for its end; return its exit code, or the signal as a negative number."""
        return self._line()

    def close(self) -> None:
        """No more batches."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def survivor() -> Iterator[Survivor]:
    found = Survivor()
    yield found
    found.close()


def lines(out: Path) -> int:
    """How many lines a manifest has."""
    with suppress(OSError):
        return (out / "manifest.jsonl").read_bytes().count(b"\n")
    return 0


def alive(child: int) -> bool:
    """Whether a process is there still."""
    with suppress(ProcessLookupError):
        os.kill(child, 0)
        return True
    return False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
def test_kill_after_kill_nothing_is_lost(tmp_path: Path, survivor: Survivor) -> None:
    photos, out, calm = digits(tmp_path / "photos", 90), tmp_path / "out", tmp_path / "calm"
    (photos / "broken.png").write_bytes(b"broken")
    assert batch(photos, "-o", calm, *SAVE).code == 8
    dice, killed = random.Random(7), 0
    for k in range(KILLS):
        before = lines(out)
        child = survivor.start(photos, "-o", out, *SAVE)
        # Somewhere within the run: at its beginning, while lines are written, or near its end.
        while lines(out) < before + k % 5 and alive(child):
            time.sleep(0.001)
        time.sleep(dice.random() * 0.02)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        killed += survivor.end() == -signal.SIGKILL
    assert killed >= KILLS // 2
    survivor.start(photos, "-o", out, *SAVE)
    assert survivor.end() == 8
    same(out, calm)
    assert len(manifest(out)) == 91


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_in_good_order(tmp_path: Path, number: int) -> None:
    photos, out, calm = digits(tmp_path / "photos", 60), tmp_path / "out", tmp_path / "calm"
    slow = ("--panel", "--batch-size", "1")
    assert batch(photos, "-o", calm, *slow).code == 0
    running = process(photos, "-o", out, *slow)
    while lines(out) < 3 and running.poll() is None:
        time.sleep(0.005)
    running.send_signal(number)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130
    assert b"give the same command again" in said
    told = json.loads((out / "run.json").read_text())
    assert not told["finished"]
    assert 3 <= told["done"] < 60
    assert told["done"] == len(manifest(out))
    # Everything that is there is whole and told of.
    assert {file["path"] for line in manifest(out) for file in line["files"]} == set(outputs(out))
    done = batch(photos, "-o", out, *slow)
    assert (done.code, done.err) == (0, f"{told['done']} of 60 inputs are done already\n")
    same(out, calm)


def test_a_second_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with alone(out):
        done = batch(DIGIT, "-o", out)
        assert done.code == 9
        assert f"another run is writing here (process {os.getpid()} on " in done.err
        assert batch(DIGIT, "-o", out, "--shard", "1/2").code == 9
    with alone(out, ".1-of-2"):
        assert batch(DIGIT, "-o", out).code == 9
        assert batch(DIGIT, "-o", out, "--shard", "1/2").code == 9
        assert batch(DIGIT, "-o", out, "--shard", "2/2").code == 0
    assert batch(DIGIT, "-o", tmp_path / "new").code == 0
    # A lock that somebody was killed with holds nobody up.
    (tmp_path / "new" / ".lrptool" / "lock").write_text("process 1 on nowhere")
    assert batch(DIGIT, "-o", tmp_path / "new").code == 0


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system of so much memory."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_gone_on_from(tmp_path: Path) -> None:
    photos, calm = digits(tmp_path / "photos", 40), tmp_path / "calm"
    # Two lanes have fewer inputs under way than there is room for, so that some are done before it is full.
    save = ("--save", "png,npz,h5", "--panel", "--threads", 2)
    assert batch(photos, "-o", calm, *save).code == 0
    with small_disk(tmp_path / "small", "20m") as disk:
        ballast = disk / ".ballast"
        needed = sum((calm / name).stat().st_size for name in outputs(calm))
        ballast.write_bytes(bytes(20 * 2**20 - needed // 2))
        done = batch(photos, "-o", disk / "out", *save)
        assert done.code == 9
        assert "No space left on device" in done.err
        assert "make room and give the same command again: it goes on" in done.err
        assert 0 < lines(disk / "out") < 40
        assert not [name for name in listing(disk / "out") if name.endswith(".part")]
        ballast.unlink()
        done = batch(photos, "-o", disk / "out", *save)
        assert done.code == 0
        assert " of 40 inputs are done already" in done.err
        same(disk / "out", calm)


def test_what_a_killed_worker_left_half_written_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, out = digits(tmp_path / "photos", 2), tmp_path / "out"
    add = Manifest.add

    def beside_a_killed_worker(manifest: Manifest, record: dict[str, Any]) -> None:
        (out / ".lrptool" / "parts" / "half.png").write_bytes(b"half")
        add(manifest, record)

    monkeypatch.setattr(Manifest, "add", beside_a_killed_worker)
    done = batch(photos, "-o", out, *SAVE)
    assert (done.code, done.err.count("error")) == (0, 0), done.err
    assert not (out / ".lrptool" / "parts").exists()


def test_a_line_that_is_torn_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    first, second = ({"input": name, "output": name, "files": []} for name in ("a", "b\udcff"))
    with_torn = Manifest(path)
    with_torn.add(first)
    with_torn.close()
    path.write_bytes(path.read_bytes() + b'{"input": "torn", "output": "torn", "fi')
    found = Manifest(path)
    assert (found.get("a"), found.get("torn")) == (first, None)
    found.add(second)
    found.add(first | {"again": True})
    assert (found.get("b\udcff"), found.get("a")) == (second, first | {"again": True})
    found.close()
    assert Manifest(path).get("b\udcff") == second
    assert path.read_bytes().count(b"\n") == 4


def test_a_disk_that_takes_half_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "manifest.jsonl"
    manifest = Manifest(path)
    write, calls = os.write, iter([10, 0])

    def until_full(handle: int, line: bytes) -> int:
        if room := next(calls):
            return write(handle, line[:room])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", until_full)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        manifest.add({"input": "a", "output": "a", "files": []})
    monkeypatch.undo()
    manifest.close()
    assert len(path.read_bytes()) == 10
    assert Manifest(path).get("a") is None
