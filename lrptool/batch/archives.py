"""Tar archives: what they hold, and the members of compressed ones in their order."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from lzma import LZMAError
from typing import BinaryIO

from lrptool.batch.items import Item
from lrptool.batch.origins import Bytes, Member, Origin, Streamed, one_line, open_archive
from lrptool.errors import InputError

ARCHIVES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar")
_BROKEN = (OSError, EOFError, tarfile.TarError, zlib.error, LZMAError, ValueError)


def members(archive: str, wants: Callable[[str], bool]) -> Iterator[tuple[str, Origin]]:
    """Yield name and origin of the wanted files in an archive; InputError where it is damaged, after what came before.

    Only headers are kept: contents are read when their turn comes.
    """
    plain = archive.lower().endswith(".tar")
    for place, (_, info) in enumerate(_walk(archive)):
        name = info.name.removeprefix("./")
        hidden = any(part.startswith(".") and part != ".." for part in name.split("/"))
        if info.isreg() and not hidden and wants(name):
            yield name, Member(archive, info.offset_data, info.size) if plain else Streamed(archive, place)


def filled(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items, those of compressed archives with their bytes; one pass over an archive serves all its members."""
    reader: Iterator[tuple[int, tarfile.TarFile, tarfile.TarInfo]] | None = None
    reading, last = "", -1
    for item in items:
        if not isinstance(item.origin, Streamed):
            yield item
            continue
        # An archive that is named twice is read twice.
        if reader is None or reading != item.origin.archive or item.origin.place <= last:
            reading, reader = item.origin.archive, _numbered(item.origin.archive)
        last = item.origin.place
        try:
            yield replace(item, origin=Bytes(_contents(reader, item.origin.place)))
        except InputError as error:
            reader = None
            yield replace(item, origin=None, problem=error.message)


def _contents(reader: Iterator[tuple[int, tarfile.TarFile, tarfile.TarInfo]], wanted: int) -> bytes:
    """Go on to a member and return its bytes."""
    for place, tar, info in reader:
        if place == wanted:
            stream = tar.extractfile(info)
            try:
                found = b"" if stream is None else stream.read()
            except _BROKEN as error:
                raise InputError(f"{info.name}: cannot be unpacked: {one_line(error)}") from None
            if len(found) == info.size:
                return found
            raise InputError(f"{info.name}: expected {info.size} bytes, found {len(found)}")
    raise InputError("the archive has changed since it was listed")


def _numbered(archive: str) -> Iterator[tuple[int, tarfile.TarFile, tarfile.TarInfo]]:
    """Members with their places."""
    for place, (tar, info) in enumerate(_walk(archive)):
        yield place, tar, info


def _walk(archive: str) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Every member of an archive, as it comes."""
    mode = "r:" if archive.lower().endswith(".tar") else "r|*"
    try:
        with closing(open_archive(archive)) as stream, tarfile.open(fileobj=stream, mode=mode) as tar:  # type: ignore[call-overload]
            for info in tar:
                yield tar, info
                tar.members = []  # the module keeps every header it has seen
            if mode == "r:":
                _check_end(stream, tar.offset, archive)
    except FileNotFoundError:
        raise InputError(f"{archive}: no such file") from None
    except _BROKEN as error:
        raise InputError(f"{archive}: cannot be read to its end: {one_line(error)}") from None


def _check_end(stream: BinaryIO, offset: int, archive: str) -> None:
    """Raise where the block of zeros at the end of an archive is missing; the module takes that for an end, too."""
    stream.seek(offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise InputError(f"{archive}: cannot be read to its end: it is cut short")
