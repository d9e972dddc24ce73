"""The manifest: one line per input, appended as it is done, put in order at the end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lrptool.files import cannot_write, replacing

Record = dict[str, Any]
DONE, FAILED = "done", "failed"
_SYNC = 5.0
"""Seconds between two orders to the disk to keep what was written."""


def line_of(record: Mapping[str, Any]) -> bytes:
    """Return a record as a line: JSON in ASCII, so that names of any bytes survive."""
    return json.dumps(record).encode() + b"\n"


def _parsed(line: bytes) -> Record | None:
    """A line as a record; None where a crash cut it short."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(record, dict) and isinstance(record.get("output"), str) and isinstance(record.get("files"), list)
    return record if whole else None


class Manifest:
    """A manifest on disk: lines are appended with one write each, and found again by what their results are called.

    Of an input with several lines the last one counts. In memory there is only where each line stands, so a batch does
    not grow there.

    Parameters
    ----------
    path : Path
        Made where there is none. A line that a crash tore off gets its end, so that the next one is a line of its own.

    Raises
    ------
    OutputError
        It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._synced = path, time.monotonic()
        self._places: dict[str, tuple[int, int]] = {}
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            self._end = os.fstat(self._handle).st_size
            if self._end and os.pread(self._handle, 1, self._end - 1) != b"\n":
                self._end += os.write(self._handle, b"\n")
            self._scan()
        except OSError as error:
            raise cannot_write(path, error) from None

    def _scan(self) -> None:
        """Find the lines that are there."""
        begin = 0
        with self._path.open("rb") as stream:
            for line in stream:
                if (record := _parsed(line)) is not None:
                    self._places[record["output"]] = begin, len(line)
                begin += len(line)

    def get(self, name: str) -> Record | None:
        """Return the record of an input; None where there is none."""
        place = self._places.get(name)
        return None if place is None else _parsed(os.pread(self._handle, place[1], place[0]))

    def add(self, record: Mapping[str, Any]) -> None:
        """Append a record; OutputError where the disk does not take all of it."""
        line = line_of(record)
        try:
            written = os.write(self._handle, line)
            self._end += written
            if written < len(line):
                # The rest fails with the reason, or goes through after all.
                self._end += os.write(self._handle, line[written:])
            if time.monotonic() - self._synced > _SYNC:
                os.fsync(self._handle)
                self._synced = time.monotonic()
        except OSError as error:
            raise cannot_write(self._path, error) from None
        self._places[record["output"]] = self._end - len(line), len(line)

    def close(self) -> None:
        """Let the disk keep what was written."""
        with suppress(OSError):
            os.fsync(self._handle)
        os.close(self._handle)


def rewrite(path: Path, records: Iterable[Mapping[str, Any]], workshop: Path) -> None:
    """Replace a manifest by these records in this order, at once."""
    with replacing(path, force=True, workshop=workshop) as stream:
        stream.writelines(map(line_of, records))
        stream.flush()
        os.fsync(stream.fileno())


def records_in(path: Path) -> Iterator[Record]:
    """Yield the records of a manifest."""
    with path.open("rb") as stream:
        for line in stream:
            if (record := _parsed(line)) is not None:
                yield record
