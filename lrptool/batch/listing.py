"""From what a user names to items: folders, globs, lists, archives, arrays, URLs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import numpy as np

from lrptool.batch.archives import ARCHIVES, members
from lrptool.batch.items import Item, Wish, parsed_id
from lrptool.batch.lists import Line, lines_of
from lrptool.batch.naming import inside, unique
from lrptool.batch.origins import LocalFile, Remote, filesystem, is_url, one_line
from lrptool.batch.walk import files_below
from lrptool.errors import InputError, LrpError

PICTURES = (
    *("*.jpg", "*.jpeg", "*.jpe", "*.jfif", "*.png", "*.gif", "*.bmp", "*.tif", "*.tiff", "*.webp", "*.avif"),
    *("*.jp2", "*.ppm", "*.pgm", "*.pbm", "*.pnm", "*.tga", "*.npy"),
)
"""What is taken from folders and archives unless patterns say otherwise."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What of folders and archives is wanted.

    Parameters
    ----------
    patterns : tuple of str
        Shell patterns for a file's name, or for its path below the folder where they hold a slash.
    without : Path or None
        A folder that is not looked into: the output, which may lie below the inputs.
    """

    patterns: tuple[str, ...] = PICTURES
    without: Path | None = None

    def wants(self, path: str) -> bool:
        """Whether a path below a folder is wanted; endings in capitals are the same."""
        lower = path.lower()
        name = lower.rpartition("/")[2]
        return any(fnmatch(lower if "/" in one else name, one.lower()) for one in self.patterns)


def items_of(names: Sequence[str], wish: Wish, choice: Choice, *, stdin: bytes = b"", null: bool = False) -> list[Item]:
    """Return everything the names stand for, in a fixed order, numbered, and with names of its own for the results.

    Parameters
    ----------
    names : sequence of str
        Files, folders, globs, archives and URLs; ``@FILE`` a list of them, ``-`` a list on stdin.
    wish : Wish
        What to explain where a list says nothing else.
    choice : Choice
    stdin : bytes
        What stdin held, where a name is ``-``.
    null : bool
        Whether lists separate paths by NUL.

    Raises
    ------
    InputError
        A name that stands for nothing.
    """
    several = len(names) > 1
    found: list[Item] = []
    for name in names:
        if name == "-" or name.startswith("@"):
            contents = stdin if name == "-" else LocalFile(name[1:]).read(name[1:])
            where = "stdin" if name == "-" else name[1:]
            found += [item for line in lines_of(contents, where, null=null) for item in _of_line(line, wish, choice)]
        else:
            found += _of_name(name, wish, choice, several=several)
    if not found:
        raise InputError(
            f"{', '.join(names)}: no pictures found", hint="--pattern '*' takes every file, '*.xyz' those of an ending"
        )
    paths = unique([item.path for item in found])
    return [replace(item, path=path, number=k) for k, (item, path) in enumerate(zip(found, paths, strict=True))]


def _of_line(line: Line, wish: Wish, choice: Choice) -> Iterable[Item]:
    """The items of one line of a list; a line with a mistake is an item that cannot be read."""
    try:
        if line.problem:
            raise InputError(line.problem)
        mine = wish.changed(line.said)
        found = list(_of_name(line.path, mine, choice, several=True))
    except LrpError as error:
        return [_failing(line.where, line.path or line.where, error.message, wish)]
    own = parsed_id(line.said)
    if own is None:
        return found
    if len(found) == 1:
        # What a user calls it also names its results: the ending goes as that of a file does.
        return [replace(found[0], id=own, path=f"{inside(own)}.id")]
    return [replace(item, id=f"{own}/{k}", path=f"{inside(own)}/{item.path}") for k, item in enumerate(found)]


def _of_name(name: str, wish: Wish, choice: Choice, *, several: bool) -> Iterable[Item]:
    """The items of one name; of several folders each gets one of its own in the output."""
    if is_url(name):
        return _of_url(name, wish, choice, several=several)
    if os.path.isdir(name):  # noqa: PTH112  (a name too long is no folder either)
        below = f"{_last(name)}/" if several else ""
        return _of_folder(name, below, wish, choice)
    if not os.path.lexists(name) and glob.has_magic(name):
        matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207  (a glob may be absolute)
        files = [one for one in matches if not os.path.isdir(one)]  # noqa: PTH112
        if files:
            return [item for one in files for item in _of_file(one, inside(one), wish, choice, several=True)]
    # An archive is a folder of its own, wherever it lies.
    path = PurePosixPath(name).name if name.lower().endswith(ARCHIVES) else name
    return _of_file(name, inside(path), wish, choice, several=several)


def _last(name: str) -> str:
    """The last part of a path, for one like ``..`` of what it really is."""
    return Path(name).resolve().name or "root"


def _of_folder(folder: str, below: str, wish: Wish, choice: Choice) -> Iterator[Item]:
    """All wanted files below a folder."""
    for found in files_below(folder, choice.wants, choice.without):
        if found.problem:
            yield _failing(found.path, below + found.below, found.problem, wish)
        else:
            yield from _of_file(found.path, below + found.below, wish, choice, several=True)


def _of_file(name: str, path: str, wish: Wish, choice: Choice, *, several: bool) -> Iterator[Item]:
    """One file: a picture, or the members of an archive, or the items of an array."""
    if name.lower().endswith(ARCHIVES):
        yield from _of_archive(name, _without_ending(path) + "/" if several else "", wish, choice)
        return
    origin = LocalFile(os.path.abspath(name))  # noqa: PTH100  (links stay what they are)
    count = _array_items(name) if name.endswith(".npy") else None
    if count is None:
        yield Item(name, path, origin, wish)
        return
    for row in range(count):
        yield Item(f"{name}[{row}]", f"{path.removesuffix('.npy')}_{row}.npy", origin, wish, row=row)


def _array_items(name: str) -> int | None:
    """How many inputs an array holds where that is several; what is wrong with it is said when it is read."""
    try:
        array = np.load(name, mmap_mode="r", allow_pickle=False)
    # A damaged header raises ValueError, EOFError, SyntaxError, TypeError, tokenize errors; a lying one MemoryError.
    except Exception:
        return None
    return len(array) if getattr(array, "ndim", 0) == 4 and len(array) > 1 else None


def _of_archive(archive: str, below: str, wish: Wish, choice: Choice) -> Iterator[Item]:
    """The wanted members of an archive."""
    where = archive if is_url(archive) else os.path.abspath(archive)  # noqa: PTH100
    try:
        for name, origin in members(where, choice.wants):
            yield Item(f"{archive}/{name}", below + inside(name), origin, wish)
    except LrpError as error:
        yield _failing(archive, below + "archive", error.message, wish)


def _of_url(url: str, wish: Wish, choice: Choice, *, several: bool) -> Iterator[Item]:
    """One object, or all wanted ones below a URL or of a glob."""
    if url.lower().endswith(ARCHIVES):
        yield from _of_archive(url, _without_ending(_last_of_url(url)) + "/" if several else "", wish, choice)
        return
    system, path = filesystem(url)
    try:
        if glob.has_magic(path) and not system.exists(path):
            found, root = sorted(map(str, system.glob(path))), os.path.dirname(path.partition("*")[0])  # noqa: PTH120
        elif system.isdir(path):
            found, root = sorted(one for one in map(str, system.find(path)) if choice.wants(one)), path
        else:
            yield Item(url, inside(_last_of_url(url)), Remote(url), wish)
            return
    # Every store's client has exceptions of its own.
    except Exception as error:
        raise InputError(f"{url}: cannot be listed: {one_line(error)}") from None
    below = f"{_last_of_url(url)}/" if several and not glob.has_magic(path) else ""
    for one in found:
        target = system.unstrip_protocol(one)
        rest = one.removeprefix(root).lstrip("/")
        if one.lower().endswith(ARCHIVES):
            yield from _of_archive(target, below + _without_ending(inside(rest)) + "/", wish, choice)
        else:
            yield Item(target, below + inside(rest), Remote(target), wish)


def _last_of_url(url: str) -> str:
    """The last part of a URL's path."""
    return PurePosixPath(url.partition("://")[2].rstrip("/")).name or "root"


def _without_ending(path: str) -> str:
    """A path without the ending of an archive."""
    return next((path[: -len(end)] for end in ARCHIVES if path.lower().endswith(end)), path)


def _failing(name: str, path: str, problem: str, wish: Wish) -> Item:
    """An item that cannot be read, for a reason that is known already."""
    return Item(name, inside(path), None, wish, problem=problem)
