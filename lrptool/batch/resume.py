"""What an earlier run left: whether it was the same batch, and which of its inputs are proven complete."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lrptool.batch.items import Item
from lrptool.batch.job import STATE, Job
from lrptool.batch.records import DONE, Manifest, Record
from lrptool.batch.store import Store
from lrptool.errors import LrpError, OutputError

_READERS = 4
_AT_A_TIME = 1024
_NOT_OURS = ("lost+found",)


def prepare(job: Job, settings: Mapping[str, Any], *, force: bool) -> bool:
    """Make the output folder ready; return whether it is to be gone on with.

    Raises
    ------
    OutputError
        The folder holds something else, or a batch with other settings.
    """
    told = job.named("run", ".json")
    earlier = _told(told)
    if force:
        for name, ending in (("manifest", ".jsonl"), ("run", ".json"), ("index", ".html")):
            job.named(name, ending).unlink(missing_ok=True)
    elif earlier is not None:
        _same(earlier, settings, told)
    elif strangers := _strangers(job.folder):
        raise OutputError(
            f"{job.folder}: expected an empty folder or one of an earlier batch, found '{strangers[0]}' in it",
            hint="choose another place with -o; --force writes there all the same",
        )
    shutil.rmtree(job.parts, ignore_errors=True)
    job.parts.mkdir(parents=True, exist_ok=True)
    return earlier is not None and not force


def earlier_batch_size(job: Job) -> int | None:
    """Return how many inputs an earlier run computed together: going on with it, chunks have to be the same."""
    found = (_told(job.named("run", ".json")) or {}).get("settings", {}).get("batch_size")
    return found if isinstance(found, int) and found > 0 else None


def _told(path: Path) -> dict[str, Any] | None:
    """What the run.json of an earlier run says; None where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _same(earlier: Mapping[str, Any], settings: Mapping[str, Any], path: Path) -> None:
    """Raise where settings are not those of the earlier run."""
    before = earlier.get("settings", {})
    for key, value in settings.items():
        if before.get(key) != value:
            raise OutputError(
                f"{path.parent}: holds a batch with {key} {before.get(key)!r}, this one has {value!r}",
                hint="choose another place with -o; --force starts anew",
            )


def _strangers(folder: Path) -> list[str]:
    """What is in a folder that no batch has written to."""
    if any(folder.glob("run*.json")) and (folder / STATE).is_dir():
        return []
    return sorted(
        entry.name for entry in folder.iterdir() if not entry.name.startswith(".") and entry.name not in _NOT_OURS
    )


def proven(items: Sequence[Item], manifest: Manifest, job: Job, store: Store | None) -> set[int]:
    """Return the numbers of the items whose results are all there as the manifest says.

    Files count when size and checksum are right, rows of a store when their checksum is, inputs when they are not
    newer than their results, or still hold the same.
    """

    def proof(item: Item) -> bool:
        record = manifest.get(item.path)
        return record is not None and _is_proven(item, record, job, store)

    found: set[int] = set()
    with ThreadPoolExecutor(_READERS) as pool:
        for begin in range(0, len(items), _AT_A_TIME):
            part = items[begin : begin + _AT_A_TIME]
            found |= {item.number for item, good in zip(part, pool.map(proof, part), strict=True) if good}
    return found


def _is_proven(item: Item, record: Record, job: Job, store: Store | None) -> bool:
    """Whether all results of an item are there."""
    if record.get("status") != DONE or record.get("input") != item.name or record.get("wish") != item.wish.facts():
        return False
    written: list[float] = []
    try:
        for file in record["files"]:
            path = job.folder / file["path"]
            found = path.stat()
            if found.st_size != file["size"] or _checksum(path) != file["sha256"]:
                return False
            written.append(found.st_mtime)
    except (OSError, KeyError, TypeError, AttributeError, ValueError):
        return False
    if store is not None and not store.proves(item.slot, record.get("store") or {}):
        return False
    return _unchanged(item, record, min(written, default=0.0))


def _unchanged(item: Item, record: Record, written: float) -> bool:
    """Whether an input is still what it was when its results were written."""
    if item.origin is None:
        return False
    touched = item.origin.touched()
    if touched is None or touched < written:
        return True
    try:
        contents = item.origin.read(item.name)
    except LrpError:
        return False
    return hashlib.sha256(contents).hexdigest() == record.get("input_sha256")


def _checksum(path: Path) -> str:
    """The checksum of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
