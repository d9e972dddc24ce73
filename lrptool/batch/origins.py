"""Where the bytes of an input are: a file, a member of an archive, an object behind a URL."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Any, BinaryIO

from lrptool.errors import ConfigError, InputError


def filesystem(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path within; ConfigError where the extra for it is missing."""
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415
    except ImportError:
        raise ConfigError(
            f"{url}: reading URLs needs fsspec",
            hint="pip install 'lrptool[remote]', and what fsspec wants for the scheme",
        ) from None
    try:
        system, path = url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise InputError(f"{url}: cannot be reached: {one_line(error)}") from None
    return system, str(path)


def is_url(text: str) -> bool:
    """Whether a name is a URL rather than a path."""
    return "://" in text


def one_line(error: BaseException) -> str:
    """What an exception says, on one line."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(str(said).split()) or type(error).__name__


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of this machine, or of a disk that machines share; as absolute path."""

    path: str

    def read(self, name: str) -> bytes:
        """Return its bytes; InputError where it cannot be read."""
        try:
            if not stat.S_ISREG(os.stat(self.path).st_mode):  # noqa: PTH116  (a pipe would be waited for for ever)
                raise InputError(f"{name}: expected a file, found something else")
            with open(self.path, "rb") as stream:  # noqa: PTH123
                return stream.read()
        except FileNotFoundError:
            raise InputError(f"{name}: no such file") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{name}: cannot be opened: {one_line(error)}") from None

    def touched(self) -> float | None:
        """Return when it was last written or put in place; None where that is not known."""
        return _touched(self.path)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an archive that is not compressed: some bytes of it."""

    archive: str
    offset: int
    size: int

    def read(self, name: str) -> bytes:
        """Return its bytes; InputError where it cannot be read."""
        try:
            if is_url(self.archive):
                system, path = filesystem(self.archive)
                found = bytes(system.cat_file(path, start=self.offset, end=self.offset + self.size))
            else:
                with open(self.archive, "rb") as stream:  # noqa: PTH123
                    stream.seek(self.offset)
                    found = stream.read(self.size)
        except (OSError, ValueError) as error:
            raise InputError(f"{name}: cannot be read: {one_line(error)}") from None
        if len(found) != self.size:
            raise InputError(f"{name}: expected {self.size} bytes, found {len(found)}: the archive is cut short")
        return found

    def touched(self) -> float | None:
        """Return when the archive was last written."""
        return None if is_url(self.archive) else _touched(self.archive)


@dataclass(frozen=True, slots=True)
class Streamed:
    """A member of a compressed archive, which can only be read from its beginning: the `place`-th member."""

    archive: str
    place: int

    def read(self, name: str) -> bytes:
        """Never called: `lrptool.batch.streams.filled` puts the bytes in its place."""
        raise AssertionError(f"{name} has not been unpacked")

    def touched(self) -> float | None:
        """Return when the archive was last written."""
        return None if is_url(self.archive) else _touched(self.archive)


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes that are here already."""

    contents: bytes

    def read(self, name: str) -> bytes:
        """Return them."""
        return self.contents

    def touched(self) -> float | None:
        """Not known."""
        return None


@dataclass(frozen=True, slots=True)
class Remote:
    """An object behind a URL."""

    url: str

    def read(self, name: str) -> bytes:
        """Return its bytes; InputError where it cannot be read."""
        system, path = filesystem(self.url)
        try:
            return bytes(system.cat_file(path))
        except FileNotFoundError:
            raise InputError(f"{name}: no such object") from None
        # Every store's client has exceptions of its own: a failure here is that of one input.
        except Exception as error:
            raise InputError(f"{name}: cannot be read: {one_line(error)}") from None

    def touched(self) -> float | None:
        """Not known."""
        return None


Origin = LocalFile | Member | Streamed | Bytes | Remote


def open_archive(archive: str) -> BinaryIO:
    """Open a local or remote archive; OSError or an LrpError where that fails."""
    if not is_url(archive):
        return open(archive, "rb")  # noqa: PTH123
    system, path = filesystem(archive)
    stream: BinaryIO = system.open(path, "rb")
    return stream


def _touched(path: str) -> float | None:
    """The later of a file's times of change; a copy of something old counts as new."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return max(found.st_mtime, found.st_ctime)
