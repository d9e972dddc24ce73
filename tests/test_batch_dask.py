"""Batches on a dask cluster end like those of this process, also where workers die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.batches import digits, manifest, process, same
from tests.command import DIGIT, pipe

pytest.importorskip("distributed", reason="dask.distributed is not installed")
pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")

SAVE = ("--save", "png,npz,h5", "--batch-size", "2")


def children(process: int) -> list[int]:
    """All processes below one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == process:
                child = int(path.parent.name)
                found += [child, *children(child)]
    return found


def workers(process: int) -> list[int]:
    """The processes below one that were spawned to work."""
    return [child for child in children(process) if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_a_local_cluster_whose_worker_is_killed(tmp_path: Path) -> None:
    photos, out, calm = digits(tmp_path / "photos", 60), tmp_path / "out", tmp_path / "calm"
    (photos / "broken.png").write_bytes(b"broken")
    first = process(photos, "-o", calm, *SAVE, "--panel")
    assert first.wait(120) == 8
    first.communicate()
    running = process(photos, "-o", out, *SAVE, "--panel", "--dask", "local:2")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and running.poll() is None:
        with suppress(OSError):
            if (out / "manifest.jsonl").read_bytes().count(b"\n") > 3:
                break
        time.sleep(0.01)
    assert running.poll() is None
    victim = workers(running.pid)[0]
    os.kill(victim, signal.SIGKILL)
    _, said = running.communicate(timeout=300)
    assert running.returncode == 8, said
    same(out, calm)
    assert len(manifest(out)) == 61


def test_ctrl_c_is_heard_by_one_process_and_not_by_its_workers(tmp_path: Path) -> None:
    photos, out = digits(tmp_path / "photos", 80), tmp_path / "out"
    options = ("--panel", "--batch-size", "1", "--dask", "local:1")
    running = process(photos, "-o", out, *options, start_new_session=True)
    while running.poll() is None:
        with suppress(OSError):
            if (out / "manifest.jsonl").read_bytes().count(b"\n") > 2:
                break
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    assert 3 <= len(manifest(out)) < 80


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """A scheduler with one worker, started by the two commands that the documentation names."""
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"] if (Path(sys.executable).parent / "dask").exists() else None
    if dask is None:
        pytest.skip("the dask command is not installed")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    commands = [
        ["scheduler", "--scheduler-file", file, "--port", "0", "--no-dashboard", "--host", "127.0.0.1"],
        ["worker", "--scheduler-file", file, "--nworkers", "1", "--nthreads", "1", "--no-dashboard"],
    ]
    started = [subprocess.Popen([*dask, *map(str, command)], cwd=tmp_path, **quiet) for command in commands]
    deadline = time.monotonic() + 60
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    try:
        yield json.loads(file.read_text())["address"]
    finally:
        for one in reversed(started):
            one.terminate()
        for one in started:
            one.wait(60)


def test_a_cluster_that_runs_already(tmp_path: Path, scheduler: str) -> None:
    photos, out, calm = digits(tmp_path / "photos", 10), tmp_path / "out", tmp_path / "calm"
    for folder, more in ((calm, ()), (out, ("--dask", scheduler))):
        running = process(photos, "-o", folder, *SAVE, *more)
        _, said = running.communicate(timeout=120)
        assert running.returncode == 0, said
    same(out, calm)


def test_addresses_that_lead_nowhere(tmp_path: Path) -> None:
    for address, said in (("local:x", "expected local:N"), ("local:0", "expected local:N"), ("foo", "no scheduler")):
        done = pipe("batch", DIGIT, "-m", "lenet", "-o", tmp_path / "out", "--dask", address)
        assert done.code == 6, done.err
        assert said in done.err
        assert "Traceback" not in done.err
