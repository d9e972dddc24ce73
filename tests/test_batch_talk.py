"""What batches say while they run."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from lrptool.cli import batch_progress as progress
from lrptool.cli.batch_progress import Progress
from lrptool.cli.talk import talk_json
from tests.batches import batch, two
from tests.command import DIGIT, run


def test_quiet_says_nothing_but_errors(tmp_path: Path) -> None:
    photos = two(tmp_path / "photos")
    assert batch(photos, "-o", tmp_path / "out", "--quiet", "--json").err == ""
    assert batch(photos, "-o", tmp_path / "out", "--quiet", "--json").err == ""
    (photos / "bad.png").write_bytes(b"bad")
    done = batch(photos, "-o", tmp_path / "out", "--quiet")
    assert done.err.count("\n") == 1
    assert "bad.png" in done.err


def test_talk_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE", 0.0)
    photos = two(tmp_path / "photos")
    (photos / "bad\n.png").write_bytes(b"bad")
    done = batch(photos, "-o", tmp_path / "out", "--log-json")
    said = [json.loads(line) for line in done.err.splitlines()]
    assert {line["level"] for line in said} == {"error", "progress"}
    assert all(line["time"].endswith("Z") for line in said)
    last = [line for line in said if line["level"] == "progress"][-1]
    assert (last["done"], last["total"], last["failed"]) == (3, 3, 1)
    done = run("explain", tmp_path / "missing.png", "-m", "lenet", "--log-json")
    (line,) = [json.loads(line) for line in done.err.splitlines()]
    assert (line["level"], line["exit_code"]) == ("error", 5)
    # The next command talks to people again.
    assert run("explain", tmp_path / "missing.png", "-m", "lenet").err.startswith("lrptool: error: ")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_progress(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    talk_json(False)
    stream = Terminal() if terminal else io.StringIO()
    now = iter(range(0, 10_000, 10))
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(now)))
    with Progress(quiet=False, as_json=False) as told:
        told.begin(100, 0)
        for _ in range(5):
            told.record({"status": "done"})
    said = stream.getvalue()
    # One picture every ten seconds: lines come every half minute, the bar is drawn each time.
    assert "0.1 images/s" in said
    assert said.count("images/s") == (5 if terminal else 1)
    assert "4 of 100, 0.1 images/s, 16:00 left" in said
    assert ("5 of 100, 0.1 images/s, 15:50 left" in said) == terminal
    assert said.endswith("\x1b[K" if terminal else "left\n")


def test_stdout_is_data(tmp_path: Path) -> None:
    done = batch(DIGIT, "-o", tmp_path / "out", "--json")
    assert len(done.records) == 1
    assert done.err == f"note: {tmp_path}/out/manifest.jsonl: 1 done, 0 failed\n"
