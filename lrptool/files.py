"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lrptool.errors import DiskError, OutputError

_MODE = 0o666
_NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG, errno.EROFS, errno.EIO)
"""What goes wrong with the next file, too."""


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Return the error for a file that cannot be written; a `DiskError` where others cannot be, either."""
    kind = DiskError if error.errno in _NO_ROOM else OutputError
    return kind(f"{path}: cannot be written: {error.strerror or error}", hint="choose another place")


def refuse_existing(path: Path, *, force: bool, elsewhere: str = "-o names another place") -> None:
    """Raise OutputError where a file is there and may not be replaced; `elsewhere` says how to write somewhere else."""
    # lexists answers for names the file system refuses, and for links that lead nowhere.
    if not force and os.path.lexists(path):
        raise OutputError(f"{path}: there already", hint=f"--force replaces it, {elsewhere}")


@contextmanager
def replacing(path: Path, *, force: bool = False, workshop: Path | None = None) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the name `path` when the block ends well, and vanishes when it does not.

    Parameters
    ----------
    path : Path
    force : bool
        Whether an existing file may be replaced.
    workshop : Path, optional
        Folder of the same file system where the temporary file lies; beside `path` otherwise.

    Raises
    ------
    OutputError
        The file is there already, or cannot be written.
    """
    refuse_existing(path, force=force)
    temporary: Path | None = None
    try:
        # os.open, not mkstemp: that makes files for the owner's eyes only, and results get the usual permissions.
        unfinished = (workshop or path.parent) / f".{path.name[:32]}.{secrets.token_hex(8)}.part"
        handle = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), _MODE)
        temporary = unfinished
        with os.fdopen(handle, "wb") as stream:
            yield stream
        refuse_existing(path, force=force)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
