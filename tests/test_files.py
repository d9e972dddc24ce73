"""Files appear whole or not at all, and replace nothing unasked."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from lrptool.errors import OutputError
from lrptool.files import refuse_existing, replacing
from tests.command import listing


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    with replacing(path) as stream:
        stream.write(b"new")
        assert not path.exists()
        # What is unfinished lies beside it, under a name that nobody takes for a result.
        (unfinished,) = listing(tmp_path)
        assert unfinished.startswith(".x.bin.")
        assert unfinished.endswith(".part")
    assert path.read_bytes() == b"new"
    assert listing(tmp_path) == ["x.bin"]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_are_the_usual_ones(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with replacing(tmp_path / "x") as stream:
            stream.write(b"")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o666 & ~mask


def test_the_mask_of_the_process_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It belongs to all threads: what another one writes meanwhile would be open to everybody.
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the mask was changed"))
    with replacing(tmp_path / ("ü" * 120)) as stream:
        stream.write(b"")
    assert len(listing(tmp_path)) == 1


def write_half(path: Path, error: BaseException, *, force: bool = False) -> None:
    """Write something, then fail."""
    with replacing(path, force=force) as stream:
        stream.write(b"half")
        raise error


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "old").write_bytes(b"old")
    for name, force in (("new", False), ("old", True)):
        with pytest.raises(type(error)):
            write_half(tmp_path / name, error, force=force)
    assert listing(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="x: cannot be written: No space left on device") as caught:
        write_half(tmp_path / "x", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert caught.value.hint == "choose another place"
    assert listing(tmp_path) == []


def test_an_existing_file_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    entered = False
    with pytest.raises(OutputError, match="x: there already") as caught, replacing(path):
        entered = True
    assert not entered
    assert "--force" in (caught.value.hint or "")
    assert path.read_bytes() == b"old"
    with replacing(path, force=True) as stream:
        stream.write(b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(OutputError, match="there already"):
        refuse_existing(tmp_path, force=False)
    refuse_existing(tmp_path, force=True)
    refuse_existing(tmp_path / "free", force=False)
    assert listing(tmp_path) == ["x"]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(OutputError, match="x: there already"), replacing(path):
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert listing(tmp_path) == ["x"]


@pytest.mark.parametrize(
    ("place", "reason"),
    [("missing/x", "No such file"), ("file/x", "Not a directory"), ("folder", "Is a directory")],
)
def test_places_where_nothing_can_be_written(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(OutputError, match=f"{place}: cannot be written: {reason}"),
        replacing(tmp_path / place, force=True) as stream,
    ):
        stream.write(b"new")
    assert listing(tmp_path) == ["file", "folder"]
