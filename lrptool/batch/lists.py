"""Lists of inputs: paths, tab-separated values or JSON, one per line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a list: where it stands, the path, what it says of the input, and what is wrong with it."""

    where: str
    path: str = ""
    said: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None


def lines_of(contents: bytes, where: str, *, null: bool = False) -> Iterator[Line]:
    """Yield the lines of a list that are not empty.

    A line that begins with ``{`` is JSON with ``path`` and any of ``target, id, top, against, start``. One with tabs
    is a path, a target (or nothing), and any number of ``KEY=VALUE``. Every other line is a path. Separated by NUL,
    all are paths, whatever they hold. Bytes that are no UTF-8 are kept.
    """
    for number, part in enumerate(contents.split(b"\0" if null else b"\n"), start=1):
        text = os.fsdecode(part)
        if not null:
            text = text.removesuffix("\r")
        if not text:
            continue
        place = f"{where}:{number}"
        if null:
            yield Line(place, text)
        elif text.startswith("{"):
            yield _json_line(place, text)
        elif "\t" in text:
            yield _tab_line(place, text)
        else:
            yield Line(place, text)


def _json_line(place: str, text: str) -> Line:
    """Read a JSON object."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return Line(place, problem=f"{place}: expected a JSON object, found something else")
    path = said.pop("path", None) if isinstance(said, dict) else None
    if not isinstance(path, str) or not path:
        return Line(place, problem=f'{place}: expected a JSON object with "path"')
    return Line(place, path, {key: value for key, value in said.items() if value is not None})


def _tab_line(place: str, text: str) -> Line:
    """Read path, target and options."""
    path, target, *options = text.split("\t")
    if not path:
        return Line(place, problem=f"{place}: expected a path, found nothing before the tab")
    said: dict[str, Any] = {"target": target} if target else {}
    for option in options:
        key, sign, value = option.partition("=")
        if not sign:
            return Line(place, path, problem=f"{place}: expected KEY=VALUE, found '{option}'")
        said[key] = value
    return Line(place, path, said)
