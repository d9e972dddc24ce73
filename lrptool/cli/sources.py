"""The inputs a user names: files, ``-`` for a picture on stdin, ``.npy`` arrays."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lrptool.errors import InputError, LrpError

if TYPE_CHECKING:
    from PIL import Image

    from lrptool.api import Model
    from lrptool.graph import Array


@dataclass(frozen=True, slots=True)
class Source:
    """One picture, ready for the network.

    Parameters
    ----------
    name : str
        As the user gave it; items of an array are numbered.
    stem : str
        For file names.
    values : float32 (1, C, H, W)
    photo : PIL picture or None
        None where an array was given.
    number : int
        Its place among all inputs of the run, those that cannot be read included.
    """

    name: str
    stem: str
    values: Array
    photo: Image.Image | None
    number: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that could not be read."""

    name: str
    error: LrpError


def is_one_picture(names: Sequence[str]) -> bool:
    """Whether there is no more than one picture; an array may hold many."""
    return len(names) == 1 and not names[0].endswith(".npy")


def read_sources(model: Model, names: Sequence[str]) -> Iterator[Source | Failure]:
    """Yield every input, or why it cannot be read, in order."""
    place = 0
    for name in names:
        try:
            for source in _read(model, name):
                yield replace(source, number=place)
                place += 1
        except LrpError as error:
            yield Failure(name, error)
            place += 1


def _read(model: Model, name: str) -> Iterator[Source]:
    """Yield the pictures of one argument: several for an array of several items."""
    from lrptool.imaging import load_image

    if name == "-":
        photo = load_image(read_stdin(), "stdin")
        yield Source("-", "stdin", model.read(photo), photo)
    elif name.endswith(".npy"):
        values, stem = model.read(name), Path(name).stem
        if len(values) == 1:
            yield Source(name, stem, values, None)
            return
        for k in range(len(values)):
            yield Source(f"{name}[{k}]", f"{stem}_{k}", values[k : k + 1], None)
    else:
        photo = load_image(Path(name), name)
        yield Source(name, Path(name).stem, model.read(photo), photo)


def read_stdin() -> bytes:
    """Return all of stdin."""
    try:
        if sys.stdin is None:
            raise OSError("it is closed")
        return sys.stdin.buffer.read()
    except OSError as error:
        raise InputError(f"stdin: cannot be read: {error.strerror or error}") from None


def in_batches(sources: Iterator[Source | Failure], size: int) -> Iterator[list[Source] | Failure]:
    """Group the readable inputs by `size`; a failure comes at once, before the group that is being filled."""
    group: list[Source] = []
    for source in sources:
        if isinstance(source, Failure):
            yield source
            continue
        group.append(source)
        if len(group) >= size:
            yield group
            group = []
    if group:
        yield group
