"""Caffe's binary files: bytes to messages, messages to arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from lrptool.errors import ModelError, UnsupportedError
from lrptool.graph import Array
from lrptool.loaders.caffe.schema import Message, new_message

_OTHER_FORMATS = {
    b"\x89HDF": "an HDF5 file",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"version https://git-lfs": "a Git LFS pointer, not the file it points to",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}


def read_bytes(path: Path) -> bytes:
    """Return a whole file; ModelError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_message(path: Path, kind: str) -> tuple[Message, bytes]:
    """Read a binary file as one message with raw weights.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        Name of the message, such as ``NetParameter``.

    Returns
    -------
    message : Message
        With every string known to be text.
    data : bytes
        The file.

    Raises
    ------
    ModelError
        The file cannot be read, is empty, cut off, or something else.
    """
    data = read_bytes(path)
    for signature, name in _OTHER_FORMATS.items():
        if data.startswith(signature):
            raise UnsupportedError(f"{path}: expected a binary Caffe file, found {name} ({len(data)} bytes)")
    if not data:
        raise ModelError(f"{path}: the file is empty (0 bytes)", hint="fetch it again")
    message = new_message(kind, raw=True)
    try:
        message.ParseFromString(data)
        # proto2 does not check text: damaged names must show here, not in the middle of a translation.
        intact = _is_text(message)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        intact = False
    if not intact:
        raise ModelError(
            f"{path}: cut off or not a binary Caffe file: its {len(data)} bytes cannot be decoded",
            hint="fetch it again and compare its size and checksum with the publisher's",
        )
    return message, data


def read_caffemodel(path: Path) -> tuple[Message, str]:
    """Read a ``.caffemodel``.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    net : Message
        A NetParameter with raw weights.
    sha256 : str
        Hex digest of exactly the bytes that were read.

    Raises
    ------
    ModelError
        The file cannot be read, is cut off, or holds no layers.
    """
    net, data = read_message(path, "NetParameter")
    if not net.layer and not net.layers:
        raise ModelError(f"{path}: expected a caffemodel, found {len(data)} bytes without any layer")
    return net, hashlib.sha256(data).hexdigest()


def _is_text(message: Message) -> bool:
    """Whether every string of a message is; one that is not comes as bytes or raises UnicodeDecodeError."""
    for field, value in message.ListFields():
        values = value if field.is_repeated else (value,)
        if field.type == field.TYPE_STRING and not all(isinstance(text, str) for text in values):
            return False
        if field.type == field.TYPE_MESSAGE and field.name != "blobs" and not all(map(_is_text, values)):
            return False
    return True


def stored_blobs(net: Message) -> Iterator[tuple[str, list[Message]]]:
    """Yield name and blobs of every layer of a net, V0 and V1 layers included, in file order."""
    for layer in (*net.layer, *net.layers):
        # A V0 layer keeps name and blobs one message deeper.
        inner = layer.layer if layer.DESCRIPTOR.name == "V1LayerParameter" and layer.HasField("layer") else layer
        yield inner.name, list(inner.blobs)


def blob_shape(blob: Message) -> tuple[int, ...] | None:
    """Return the shape a blob states, in the current or the 4-axes form; None where it states none."""
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    if any(blob.HasField(name) for name in ("num", "channels", "height", "width")):
        return (blob.num, blob.channels, blob.height, blob.width)
    return None


def blob_array(blob: Message, where: str) -> Array:
    """Return a blob's numbers.

    Parameters
    ----------
    blob : Message
        A raw BlobProto.
    where : str
        File and layer, for messages.

    Returns
    -------
    float32, in the shape the blob states; read-only where it is a view of the message's bytes.

    Raises
    ------
    ModelError
        No numbers, or not as many as the shape says, or not finite ones.
    """
    values = _numbers(blob, where)
    shape = blob_shape(blob)
    if shape is None:
        shape = values.shape
    if min(shape, default=1) < 0 or prod(shape) != values.size:
        raise ModelError(f"{where}: shape {shape} asks for {prod(shape)} numbers, found {values.size}")
    with np.errstate(over="ignore"):
        array = values.astype(np.float32, copy=False).reshape(shape)
    if not np.isfinite(array).all():
        raise ModelError(f"{where}: holds {np.count_nonzero(~np.isfinite(array))} numbers that are not finite")
    return array


def _numbers(blob: Message, where: str) -> NDArray[np.floating[Any]]:
    """Return the numbers of a blob as a flat array, whichever of the three wire forms they have."""
    for chunks, dtype in ((blob.data, "<f4"), (blob.double_data, "<f8")):
        if chunks:
            packed = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            if len(packed) % np.dtype(dtype).itemsize:
                raise ModelError(f"{where}: {len(packed)} bytes are not a whole count of numbers")
            return np.frombuffer(packed, dtype)
    # One number at a time (files from before packed lists): unknown to the raw class, which keeps their bytes.
    plain = new_message("BlobProto")
    plain.ParseFromString(blob.SerializeToString())
    return np.asarray(plain.data if len(plain.data) else plain.double_data, np.float64)
