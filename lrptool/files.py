"""Writing files whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lrptool.errors import OutputError

_MODE = 0o666


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise OutputError where a file is there and may not be replaced."""
    # lexists answers for names the file system refuses, and for links that lead nowhere.
    if not force and os.path.lexists(path):
        raise OutputError(f"{path}: there already", hint="--force replaces it, -o names another place")


@contextmanager
def replacing(path: Path, *, force: bool = False) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the name `path` when the block ends well, and vanishes when it does not.

    Parameters
    ----------
    path : Path
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        The file is there already, or cannot be written.
    """
    refuse_existing(path, force=force)
    temporary: Path | None = None
    try:
        # os.open, not mkstemp: that makes files for the owner's eyes only, and results get the usual permissions.
        unfinished = path.parent / f".{path.name[:32]}.{secrets.token_hex(8)}.part"
        handle = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), _MODE)
        temporary = unfinished
        with os.fdopen(handle, "wb") as stream:
            yield stream
        refuse_existing(path, force=force)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}", hint="choose another place with -o"
        ) from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
