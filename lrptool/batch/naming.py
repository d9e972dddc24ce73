"""Names of results: the tree of the inputs, and no two inputs with one name."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

_LONGEST = 200
"""Bytes of a name; file systems take 255, and a class and an ending follow."""


def inside(path: str) -> str:
    """Return a path as one below the output folder: no root, no ``..``."""
    parts = [part for part in PurePosixPath(path.replace(os.sep, "/")).parts if part not in ("/", "//", "..", ".")]
    return "/".join(parts) or "input"


def unique(paths: Sequence[str]) -> list[str]:
    """Return the names of results, one per path: without the ending where that tells inputs apart, else with it.

    Capitals do not tell apart, because some file systems ignore them. Inputs that still have one name get ``~2``,
    ``~3`` … in their order.
    """
    whole = [_shortened(path) for path in paths]
    stems = [_stem(path) for path in whole]
    count = Counter(stem.casefold() for stem in stems)
    taken = {stem.casefold() for stem in stems if count[stem.casefold()] == 1}
    names = []
    for path, stem in zip(whole, stems, strict=True):
        name, again = (stem, 1) if count[stem.casefold()] == 1 else (path, 1)
        while name is not stem and name.casefold() in taken:
            again += 1
            name = f"{path}~{again}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _stem(path: str) -> str:
    """A path without its last ending."""
    head, _, name = path.rpartition("/")
    stem = PurePosixPath(name).stem
    return f"{head}/{stem}" if head else stem


def _shortened(path: str) -> str:
    """A path whose parts are short enough for a class to follow; what is cut off stays in a checksum."""
    return "/".join(_shortened_part(part) for part in path.split("/"))


def _shortened_part(part: str) -> str:
    """One part of a path."""
    coded = os.fsencode(part)
    if len(coded) <= _LONGEST:
        return part
    return f"{coded[: _LONGEST - 20].decode(errors='ignore')}-{hashlib.sha256(coded).hexdigest()[:12]}"
