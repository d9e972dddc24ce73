"""Files of bytes: saying what they are when they are something else than asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from lrptool.errors import ModelError, UnsupportedError

_OTHER_FORMATS = {
    b"\x89HDF": "an HDF5 file",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"version https://git-lfs": "a Git LFS pointer, not the file it points to",
    b"<!DOCTYPE": "a web page",
    b"<!doctype": "a web page",
    b"<html": "a web page",
}


@contextmanager
def opened(path: Path, kind: str) -> Iterator[BufferedReader]:
    """Open a file for reading.

    Parameters
    ----------
    path : Path
    kind : str
        What it should be, for messages: ``an ONNX file``.

    Raises
    ------
    ModelError
        The file cannot be read or is empty.
    UnsupportedError
        It begins like a file of another kind.
    """
    # Of what is no file (a pipe, a device) the end may never come.
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ModelError(f"{path}: cannot be read: not a file")
    try:
        with path.open("rb") as stream:
            begin = stream.read(max(map(len, _OTHER_FORMATS)))
            for signature, name in _OTHER_FORMATS.items():
                if begin.startswith(signature):
                    raise UnsupportedError(f"{path}: expected {kind}, found {name} ({path.stat().st_size} bytes)")
            if not begin:
                raise ModelError(f"{path}: the file is empty (0 bytes)", hint="fetch it again")
            stream.seek(0)
            yield stream
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
