"""Members of archives, each by its name: nothing else is unpacked, and nowhere else."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from lrptool.errors import ModelError

_BLOCK = 1 << 20
_ROOM = 64 << 20
_RATIO = 20
"""Weights hardly shrink: an archive that grows more than so many times, beyond some room, is no model's."""


_BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error),
    *(EOFError, ValueError, RuntimeError, NotImplementedError),
)
"""What the libraries say of an archive that is none, or damaged."""


class _Limited(io.RawIOBase):
    """A stream that may bring only so many bytes."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        super().__init__()
        self._stream, self._left = stream, limit

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes."""
        block = self._stream.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(block)
        if self._left < 0:
            raise ModelError("grows beyond what a model of its size can hold")
        return block


def unpack(archive: Path, members: Mapping[str, Path]) -> None:
    """Unpack some members of an archive.

    Parameters
    ----------
    archive : Path
        ``.tar``, ``.tar.gz``, ``.tgz`` or ``.zip``, told by its contents.
    members : mapping of str to Path
        Path inside the archive, or the end of it → file to write; replaced where it is there.

    Raises
    ------
    ModelError
        No archive, a member that is not in it or is no file, or one that grows without bounds.
    """
    limit = _ROOM + _RATIO * archive.stat().st_size
    try:
        if zipfile.is_zipfile(archive):
            _from_zip(archive, members, limit)
        else:
            _from_tar(archive, members, limit)
    except ModelError as error:
        raise ModelError(f"{archive.name}: {error.message}") from None
    except _BROKEN as error:
        raise ModelError(f"{archive.name}: cannot be unpacked: {error}") from None


def _from_zip(archive: Path, members: Mapping[str, Path], limit: int) -> None:
    """Unpack members of a zip file."""
    with zipfile.ZipFile(archive) as packed:
        for name, target in members.items():
            found = next((entry for entry in packed.infolist() if _ends(entry.filename, name)), None)
            if found is None or found.is_dir():
                raise ModelError(f"has no file {name}")
            with packed.open(found) as stream:
                _copy(stream, target, limit)


def _from_tar(archive: Path, members: Mapping[str, Path], limit: int) -> None:
    """Unpack members of a tar file, in the order in which they come."""
    left = dict(members)
    with archive.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = cast("BinaryIO", gzip.GzipFile(fileobj=raw) if zipped else raw)
        source: Any = _Limited(stream, limit)
        with tarfile.open(fileobj=source, mode="r|") as packed:
            for member in packed:
                wanted = next((name for name in left if _ends(member.name, name)), None)
                if wanted is None:
                    continue
                target = left.pop(wanted)
                content = packed.extractfile(member) if member.isreg() else None
                if content is None:
                    raise ModelError(f"{member.name} is no file")
                with content:
                    _copy(content, target, limit)
                if not left:
                    return
    raise ModelError(f"has no file {', '.join(sorted(left))}")


def _ends(path: str, name: str) -> bool:
    """Whether a path is that of a member, or ends in it."""
    return f"/{path}".endswith(f"/{name}")


def _copy(stream: IO[bytes], target: Path, limit: int) -> None:
    """Write a member to its file."""
    source = _Limited(stream, limit)
    with target.open("wb") as out:
        while block := source.read(_BLOCK):
            out.write(block)
