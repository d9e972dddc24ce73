"""All files below a folder, in a fixed order; links are followed, but not round in circles."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lrptool.batch.origins import one_line


@dataclass(frozen=True, slots=True)
class Found:
    """A file below a folder: its path, that below the folder, and why it cannot be read where that shows already."""

    path: str
    below: str
    problem: str | None = None


def files_below(folder: str, wants: Callable[[str], bool], without: Path | None = None) -> Iterator[Found]:
    """Yield what is wanted below a folder, sorted folder by folder; hidden files are left out.

    A link that leads back to a folder it lies in, and a folder that cannot be read, are yielded with their problem:
    what is behind them would be missing silently.
    """
    forbidden = None if without is None else _identity(str(without))
    yield from _walk(folder, "", (), wants, forbidden)


def _walk(
    folder: str,
    below: str,
    above: tuple[tuple[int, int], ...],
    wants: Callable[[str], bool],
    forbidden: tuple[int, int] | None,
) -> Iterator[Found]:
    """Yield what is wanted in one folder; `above` are the folders it lies in."""
    here = _identity(folder)
    if here is not None and here == forbidden:
        return
    if here in above:
        yield Found(folder, below, f"{folder}: a link that leads back to a folder it lies in")
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        yield Found(folder, below or "folder", f"{folder}: cannot be read: {one_line(error)}")
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        rest = f"{below}/{entry.name}" if below else entry.name
        try:
            inner = entry.is_dir()
        except OSError as error:
            # A link to itself, say: nobody can tell what it was meant to be.
            if error.errno == errno.ELOOP or wants(rest):
                yield Found(entry.path, rest, f"{entry.path}: cannot be opened: {one_line(error)}")
            continue
        if inner:
            yield from _walk(entry.path, rest, (*above, here) if here else above, wants, forbidden)
        elif wants(rest):
            yield Found(entry.path, rest)


def _identity(path: str) -> tuple[int, int] | None:
    """What tells a folder from others; None where it cannot be asked."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino
