"""Caffe's binary files: bytes to messages, messages to arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from lrptool.errors import ModelError, UnsupportedError
from lrptool.graph import Array
from lrptool.loaders.caffe.hdf5 import SIGNATURE as HDF5_SIGNATURE
from lrptool.loaders.caffe.hdf5 import read_hdf5
from lrptool.loaders.caffe.schema import Message, new_message
from lrptool.loaders.caffe.wire import NET, DamagedError, Scanner, StoredBlob

_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"version https://git-lfs": "a Git LFS pointer, not the file it points to",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}


_START = 64
_STRETCH = 2**22
_SINGLE, _DOUBLE, _RAW = 5, 8, 12
_RAW_TYPES: dict[int, np.dtype[Any]] = {0: np.dtype("<f8"), 1: np.dtype("<f4"), 2: np.dtype("<f2")}
"""NVCaffe's types of numbers that are kept as bytes."""


def read_bytes(path: Path, most: int = -1) -> bytes:
    """Return a file, or its first `most` bytes; ModelError where it cannot be read."""
    try:
        # Of what is no file (a pipe, a device) the end may never come.
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ModelError(f"{path}: cannot be read: not a file")
        with path.open("rb") as stream:
            return stream.read(most)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class Caffemodel:
    """A file of weights.

    Parameters
    ----------
    net : Message
        The NetParameter, without weights.
    blobs : tuple of (str, list of StoredBlob)
        Name and arrays of every layer, in file order.
    sha256 : str
        Hex digest of the file.
    """

    net: Message
    blobs: tuple[tuple[str, list[StoredBlob]], ...]
    sha256: str


def read_caffemodel(path: Path) -> Caffemodel:
    """Read a ``.caffemodel``, or weights that Caffe wrote as HDF5.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    ModelError
        The file cannot be read, is cut off, or holds no layers.
    """
    if read_start(path).startswith(HDF5_SIGNATURE):
        return _read_hdf5(path)
    layers: dict[int, list[list[StoredBlob]]] = {2: [], 100: []}
    with ThreadPoolExecutor(1) as pool:
        # The digest takes as long as the reading; both leave the interpreter to others.
        digest = pool.submit(_sha256, path)
        with _scanned(path) as scanner:
            data, _ = scanner.message(NET, scanner.size, lambda number, blobs: layers[number].append(blobs))
            net = _parsed("NetParameter", data)
    if not net.layer and not net.layers:
        raise ModelError(f"{path}: expected a caffemodel, found {path.stat().st_size} bytes without any layer")
    return Caffemodel(net, tuple(_named(net, layers)), digest.result())


def _named(net: Message, layers: Mapping[int, list[list[StoredBlob]]]) -> Iterator[tuple[str, list[StoredBlob]]]:
    """Yield name and blobs of every layer of a net, V0 and V1 layers included."""
    for messages, blobs in ((net.layer, layers[100]), (net.layers, layers[2])):
        for layer, stored in zip(messages, blobs, strict=True):
            # A V0 layer keeps its name one message deeper.
            old = layer.DESCRIPTOR.name == "V1LayerParameter" and layer.HasField("layer")
            yield (layer.layer.name if old else layer.name), stored


def read_blob(path: Path) -> StoredBlob:
    """Read a file that holds one BlobProto; ModelError where it does not."""
    read_start(path)
    with _scanned(path) as scanner:
        return scanner.blob(scanner.size)


def read_start(path: Path) -> bytes:
    """Return the first bytes of a file; refuse what is no file of Caffe's.

    Raises
    ------
    ModelError
        The file cannot be read, is empty, or is recognisably something else.
    """
    start = read_bytes(path, _START)
    for signature, name in _OTHER_FORMATS.items():
        if start.startswith(signature):
            size = path.stat().st_size
            raise UnsupportedError(f"{path}: expected a binary Caffe file, found {name} ({size} bytes)")
    if not start:
        raise ModelError(f"{path}: the file is empty (0 bytes)", hint="fetch it again")
    return start


@contextmanager
def _scanned(path: Path) -> Iterator[Scanner]:
    """Open a file for scanning; whatever the scanner or protobuf finds wrong is one ModelError."""
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            yield Scanner(stream, size)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (DamagedError, DecodeError, UnicodeDecodeError, RecursionError) as error:
        what = f": {error}" if isinstance(error, DamagedError) else ""
        raise ModelError(
            f"{path}: cut off or not a binary Caffe file: its {size} bytes cannot be decoded{what}",
            hint="fetch it again and compare its size and checksum with the publisher's",
        ) from None


def _parsed(kind: str, data: bytes) -> Message:
    """Return a message; its strings are known to be text."""
    message = new_message(kind)
    message.ParseFromString(data)
    # proto2 does not check text: damaged names must show here, not in the middle of a translation.
    if not _is_text(message):
        raise DamagedError("a name is no text")
    return message


def _sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_hdf5(path: Path) -> Caffemodel:
    """Read weights that Caffe wrote as HDF5: the net is only a list of names."""
    blobs = tuple(read_hdf5(path))
    net = new_message("NetParameter")
    for name, _ in blobs:
        net.layer.add(name=name)
    return Caffemodel(net, blobs, _sha256(path))


def _is_text(message: Message) -> bool:
    """Whether every string of a message is; one that is not comes as bytes or raises UnicodeDecodeError."""
    for field, value in message.ListFields():
        values = value if field.is_repeated else (value,)
        if field.type == field.TYPE_STRING and not all(isinstance(text, str) for text in values):
            return False
        if field.type == field.TYPE_MESSAGE and not all(map(_is_text, values)):
            return False
    return True


def blob_shape(blob: StoredBlob) -> tuple[int, ...] | None:
    """Return the shape a blob states, in the current or the 4-axes form; None where it states none."""
    return _shape_of(_parsed("BlobProto", blob.head))


def _shape_of(head: Message) -> tuple[int, ...] | None:
    """Return the shape that the head of a blob states."""
    if head.HasField("shape"):
        return tuple(head.shape.dim)
    if any(head.HasField(name) for name in ("num", "channels", "height", "width")):
        return (head.num, head.channels, head.height, head.width)
    return None


def blob_array(blob: StoredBlob, where: str) -> Array:
    """Return a blob's numbers.

    Parameters
    ----------
    blob : StoredBlob
    where : str
        File and layer, for messages.

    Returns
    -------
    float32, in the shape the blob states; it owns its memory.

    Raises
    ------
    ModelError
        No numbers, or not as many as the shape says, or not finite ones.
    """
    try:
        head = _parsed("BlobProto", blob.head)
    except (DamagedError, DecodeError, UnicodeDecodeError, RecursionError):
        raise ModelError(f"{where}: the shape of its weights cannot be decoded", hint="fetch the file again") from None
    values = _numbers(blob, head, where)
    stated = _shape_of(head)
    shape = values.shape if stated is None else stated
    if min(shape, default=1) < 0 or prod(shape) != values.size:
        raise ModelError(f"{where}: shape {shape} asks for {prod(shape)} numbers, found {values.size}")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(values, np.float32)
    bad = sum(
        np.count_nonzero(~np.isfinite(array[start : start + _STRETCH])) for start in range(0, array.size, _STRETCH)
    )
    if bad:
        raise ModelError(f"{where}: holds {bad} numbers that are not finite")
    return in_shape(array, shape)


def in_shape(array: Array, shape: Sequence[int]) -> Array:
    """Give an array that owns its memory another shape; a view would have to be copied to own it."""
    if array.base is not None:
        array = array.copy()
    array.resize(tuple(shape), refcheck=False)
    return array


def _numbers(blob: StoredBlob, head: Message, where: str) -> NDArray[Any]:
    """Return the numbers of a blob as a flat array, whichever of their forms it has."""
    for number in (_SINGLE, _DOUBLE, _RAW):
        chunks = blob.chunks.get(number)
        if not chunks:
            continue
        flat = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
        if number != _RAW:
            return flat
        dtype = _RAW_TYPES.get(head.raw_data_type)
        if dtype is None or flat.size % dtype.itemsize:
            raise ModelError(f"{where}: {flat.size} bytes of type {head.raw_data_type} are no floating-point numbers")
        numbers: NDArray[Any] = flat.view(dtype)
        return numbers
    return np.empty(0, np.float32)
