"""What an input is between two steps of its way to its line in the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from lrptool.api import Explanation
from lrptool.batch.items import Item
from lrptool.batch.records import FAILED, Record
from lrptool.errors import LrpError
from lrptool.graph import Array


@dataclass(frozen=True, slots=True)
class Fetched:
    """An input's bytes, and the seconds it took to get them."""

    item: Item
    contents: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class Ready:
    """An input as the network takes it.

    Parameters
    ----------
    item : Item
    values : float32 (1, C, H, W)
    photo : PIL picture or None
        None where an array was given.
    targets : tuple of int or str
        What its names of classes stand for.
    against : int or str or None
    facts : mapping
        Size and checksum of the file.
    seconds : float
        That it took so far.
    """

    item: Item
    values: Array
    photo: Image.Image | None
    targets: tuple[int | str, ...]
    against: int | str | None
    facts: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Explained:
    """An input with its explanations: picture `place` of each."""

    ready: Ready
    explanations: tuple[Explanation, ...]
    place: int
    seconds: float

    @property
    def item(self) -> Item:
        """The input."""
        return self.ready.item


@dataclass(frozen=True, slots=True)
class File:
    """A file of a result: where it goes below the output folder, what kind it is, and its bytes."""

    name: str
    kind: str
    contents: bytes

    def proof(self) -> dict[str, Any]:
        """Return what proves it in the manifest."""
        checksum = hashlib.sha256(self.contents).hexdigest()
        return {"path": self.name, "kind": self.kind, "size": len(self.contents), "sha256": checksum}


@dataclass(frozen=True, slots=True)
class Drawn:
    """An input with the files of its results, not yet written, and its line of the manifest."""

    explained: Explained
    distinct: tuple[Explanation, ...]
    files: tuple[File, ...]
    record: Record
    seconds: float

    @property
    def item(self) -> Item:
        """The input."""
        return self.explained.item


@dataclass(frozen=True, slots=True)
class Failed:
    """An input that came to nothing, and why."""

    item: Item
    error: LrpError
    seconds: float = 0.0

    def record(self) -> Record:
        """Return its line of the manifest."""
        message = self.error.message if not self.error.hint else f"{self.error.message} ({self.error.hint})"
        where = "" if self.item.name in message else f"{self.item.name}: "
        facts = {"error": f"{where}{message}", "exit_code": int(self.error.exit_code), "files": []}
        return named(self.item, FAILED) | facts | {"seconds": round(self.seconds, 4)}


def named(item: Item, status: str) -> Record:
    """The beginning of a line of the manifest."""
    record: Record = {"number": item.number, "input": item.name, "output": item.path}
    if item.id is not None:
        record["id"] = item.id
    return record | {"status": status}
