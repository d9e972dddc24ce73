"""The inputs a user names: files, ``-`` for a picture on stdin, ``.npy`` arrays."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrptool.errors import LrpError

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
    """

    name: str
    stem: str
    values: Array
    photo: Image.Image | None


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that could not be read."""

    name: str
    error: LrpError


def read_sources(model: Model, names: Sequence[str]) -> Iterator[Source | Failure]:
    """Yield every input, or why it cannot be read, in order."""
    for name in names:
        try:
            yield from _read(model, name)
        except LrpError as error:
            yield Failure(name, error)


def _read(model: Model, name: str) -> Iterator[Source]:
    """Yield the pictures of one argument: several for an array of several items."""
    from lrptool.imaging import load_image  # noqa: PLC0415

    if name == "-":
        photo = load_image(sys.stdin.buffer.read(), "stdin")
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


def in_batches(sources: Iterator[Source | Failure], size: int) -> Iterator[list[Source | Failure]]:
    """Group inputs so that each group has `size` readable ones, failures in between."""
    group: list[Source | Failure] = []
    for source in sources:
        group.append(source)
        if sum(isinstance(one, Source) for one in group) >= size:
            yield group
            group = []
    if group:
        yield group
