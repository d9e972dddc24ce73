"""Cards: what is known about a named model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

FILE_NAME = "card.yaml"
Kind = Literal["softmax", "logits", "multilabel", "regression"]
_READ_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How pictures become numbers; the fields of `lrptool.imaging.Preprocessing` as a card writes them.

    ``mean`` is one number per channel, or the name of a ``.npy`` or ``.binaryproto`` file of the model.
    """

    size: tuple[int, int]
    resize: int | tuple[int, int] | None = None
    mode: Literal["squash", "shortest"] = "squash"
    channels: Literal["BGR", "RGB", "GRAY"] = "BGR"
    raw_scale: float = 255.0
    mean: tuple[float, ...] | str | None = None
    scale: float = 1.0
    std: tuple[float, ...] | None = None
    invert: bool | Literal["auto"] = False
    fit: Literal["mnist"] | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A file of a model: what it is called, what it is like, and where it is published.

    Parameters
    ----------
    name : str
    size : int, optional
        Bytes.
    digests : mapping of str to str
        ``sha1``, ``sha256``, ``sha384`` → hex digits, as published.
    also : tuple of str
        sha256 of other publications of the same file.
    urls : tuple of str
        Where it can be fetched, best first; http only where there is a checksum.
    by_hand : tuple of str
        Where a person can fetch it, and a program cannot or should not.
    archive : File, optional
        What it is packed in.
    member : str
        Its path inside the archive.
    """

    name: str
    size: int | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    archive: File | None = None
    member: str = ""

    @property
    def source(self) -> File:
        """What is fetched for it: the archive, else the file itself."""
        return self.archive or self

    def problem(self, path: Path) -> str | None:
        """Return why a file on disk is not the published one; None where it is, or nothing is known of it."""
        found = path.stat().st_size
        if self.size is not None and found != self.size and not self.also:
            return f"expected {self.size} bytes, found {found}"
        computed = _digests(path, {*self.digests, *(["sha256"] if self.also else [])})
        if self.also and computed["sha256"] in self.also:
            return None
        for name, expected in self.digests.items():
            if computed[name] != expected:
                return f"expected {name} {expected[:16]}…, found {computed[name][:16]}…"
        return None


@dataclass(frozen=True, slots=True)
class Output:
    """Where a network's scores are.

    Parameters
    ----------
    node : str or None
        The layer or tensor; None: the main output.
    kind : {"softmax", "logits", "multilabel", "regression"}
        The network ends in a softmax; its scores would go into one; every class has a yes or no of its own; numbers.
    """

    node: str | None = None
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """A named model.

    Parameters
    ----------
    name : str
    path : Path
        The card's own file.
    architecture, weights : str
        File names, in the card's folder or in a folder called `name` of the models path; the same for ONNX.
    files : tuple of File
        All it needs: architecture, weights, others.
    preprocess : Preprocess
    output : Output
    labels : tuple of str or str
        One name per class, or the name of a file with one per line.
    aliases : tuple of str
    variant_of : str, optional
        The card whose variant it is: the same network in another file.
    title, task, license, citation, source, accuracy, notes : str
    default_composite : str, optional
    """

    name: str
    path: Path
    architecture: str
    weights: str
    files: tuple[File, ...]
    preprocess: Preprocess
    output: Output = Output()
    labels: tuple[str, ...] | str | None = None
    aliases: tuple[str, ...] = ()
    variant_of: str | None = None
    title: str = ""
    task: str = ""
    license: str = ""
    citation: str = ""
    source: str = ""
    accuracy: str = ""
    notes: str = ""
    default_composite: str | None = None

    def file(self, name: str) -> File:
        """Return the file of that name."""
        return next(file for file in self.files if file.name == name)

    @property
    def size(self) -> int | None:
        """Bytes of all files whose size is known; None where that of the weights is not."""
        whole = {file.source.name: file.source.size for file in self.files}
        weights = self.file(self.weights).source.name
        return None if whole[weights] is None else sum(size or 0 for size in whole.values())


def _digests(path: Path, names: set[str]) -> dict[str, str]:
    """Compute some checksums of a file in one pass."""
    digests = {name: hashlib.new(name, usedforsecurity=False) for name in sorted(names)}
    if digests:
        with path.open("rb") as stream:
            while block := stream.read(_READ_AT_ONCE):
                for one in digests.values():
                    one.update(block)
    return {name: one.hexdigest() for name, one in digests.items()}
