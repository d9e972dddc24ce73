"""One run at a time in a folder."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lrptool.batch.job import STATE
from lrptool.errors import OutputError
from lrptool.files import cannot_write


@contextmanager
def alone(folder: Path, tag: str = "") -> Iterator[None]:
    """Hold the lock of an output folder, making the folder where there is none.

    The lock belongs to the process and goes with it, however it ends: nothing has to be cleared away after a kill. A
    run over everything excludes all others; shards exclude a second run of themselves and one over everything.

    Raises
    ------
    OutputError
        Another run holds it, or the folder cannot be made.
    """
    state = folder / STATE
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from None
    with _held(state / "lock", folder, shared=bool(tag)):
        if not tag:
            yield
            return
        with _held(state / f"lock{tag}", folder, shared=False):
            yield


@contextmanager
def _held(path: Path, folder: Path, *, shared: bool) -> Iterator[None]:
    """Hold one lock."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise cannot_write(path, error) from None
    try:
        if not _locked(handle, path, shared=shared):
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip()
            by = f" ({holder})" if holder else ""
            raise OutputError(
                f"{folder}: another run is writing here{by}", hint="wait for it to end, or choose another place with -o"
            )
        if not shared:
            _sign(handle, f"process {os.getpid()} on {socket.gethostname()}")
        try:
            yield
        finally:
            if not shared:
                _sign(handle, "")
    finally:
        os.close(handle)


def _sign(handle: int, text: str) -> None:
    """Write who holds the lock; the lock holds without it, on a full disk say."""
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode(), 0)
    except OSError:
        return


def _locked(handle: int, path: Path, *, shared: bool) -> bool:
    """Take the lock; False where another process has it."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return shared
        return True
    import fcntl  # noqa: PLC0415

    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be locked: {error.strerror or error}", hint="choose a file system that knows locks with -o"
        ) from None
    return True
