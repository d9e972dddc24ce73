"""The contact sheet: a page of thumbnails and heatmaps that opens from disk."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lrptool.batch.page import PAGE
from lrptool.batch.records import DONE, Record
from lrptool.files import replacing

_SHOWN = 100
"""Entries on a page; the first page is there without scripts as well."""

Entry = tuple[str, str, str, str, float | None, float | None, str]
"""Input, thumbnail, heatmap, label, score, probability, error."""


def write_sheet(path: Path, records: Iterable[Record], model: str, workshop: Path) -> None:
    """Write the contact sheet of a manifest."""
    entries: list[Entry] = []
    total = done = 0
    for record in records:
        entries += _entries(record)
        total, done = total + 1, done + (record["status"] == DONE)
    filling = {
        "title": html.escape(f"{model}: {done} of {total} inputs explained"),
        "rows": "\n".join(map(_row, entries[:_SHOWN])),
        # The only mark-up within a script is its end.
        "data": json.dumps(entries, separators=(",", ":")).replace("<", "\\u003c"),
        "shown": str(_SHOWN),
    }
    page = re.sub("@@([a-z]+)@@", lambda found: filling[found[1]], PAGE)
    with replacing(path, force=True, workshop=workshop) as stream:
        stream.write(page.encode("utf-8", "backslashreplace"))


def _entries(record: Record) -> Iterator[Entry]:
    """One entry per class explained of an input, or one that says what is wrong with it."""
    name = _text(record["input"])
    if record["status"] != DONE:
        yield name, "", "", "", None, None, _text(record["error"])
        return
    files = record["files"]
    thumbnail = next((_link(file) for file in files if file["kind"] == "thumbnail"), "")
    pictures = [_link(file) for file in files if file["path"].endswith(".png")]
    results = [record, *record.get("others", [])]
    each = max(1, len(pictures) // len(results))
    for k, result in enumerate(results):
        picture = pictures[k * each] if k * each < len(pictures) else ""
        yield name, thumbnail, picture, result["label"], result["score"], result["probability"], ""


def _link(file: Mapping[str, Any]) -> str:
    """A file's path as a relative link, whatever letters or bytes it has."""
    return quote(os.fsencode(file["path"]))


def _text(text: str) -> str:
    """A name for people: bytes that are no text, and what would break a line, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _row(entry: Entry) -> str:
    """One entry as a row of the table; the script on the page makes the same."""
    name, thumbnail, heatmap, label, score, probability, error = entry
    if error:
        said = f'<td colspan="2">{html.escape(error)}</td><td>{html.escape(name)}</td><td colspan="3"></td>'
        return f'<tr class="failed">{said}</tr>'
    pictures = "".join(
        f'<td><a href="{html.escape(heatmap)}"><img loading="lazy" alt="" src="{html.escape(link)}"></a></td>'
        for link in (thumbnail, heatmap)
    )
    numbers = "".join(
        f"<td>{text}</td>" for text in (f"{score:.4g}", "" if probability is None else f"{100 * probability:.1f} %")
    )
    return f"<tr>{pictures}<td>{html.escape(name)}</td><td>{html.escape(label)}</td>{numbers}</tr>"
