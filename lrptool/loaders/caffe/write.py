"""Caffe files of our own: trained networks and mean images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from lrptool.files import replacing
from lrptool.loaders.caffe.schema import Message, new_message


def write_caffemodel(path: Path, name: str, blobs: Mapping[str, tuple[str, Sequence[ArrayLike]]]) -> None:
    """Write weights as a current ``.caffemodel``.

    Parameters
    ----------
    path : Path
        The file; it appears whole or not at all.
    name : str
        Of the network.
    blobs : mapping of str to (str, sequence of array)
        Per layer its type and its arrays in Caffe's order and shapes: (O, C/group, kh, kw) or (O, K), then bias (O,).

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    net = new_message("NetParameter", raw=True)
    net.name = name
    for layer_name, (layer_type, arrays) in blobs.items():
        layer = net.layer.add(name=layer_name, type=layer_type)
        for array in arrays:
            _fill(layer.blobs.add(), array)
    _write(path, net)


def write_binaryproto(path: Path, mean: ArrayLike) -> None:
    """Write a mean image as a BlobProto.

    Parameters
    ----------
    path : Path
        The file; it appears whole or not at all.
    mean : array (C, H, W)

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    blob = new_message("BlobProto", raw=True)
    _fill(blob, mean)
    _write(path, blob)


def _fill(blob: Message, array: ArrayLike) -> None:
    """Put an array into a raw BlobProto."""
    values = np.asarray(array, "<f4")
    blob.shape.SetInParent()
    blob.shape.dim.extend(values.shape)
    blob.data.append(values.tobytes())


def _write(path: Path, message: Message) -> None:
    """Write a message; an existing file is replaced."""
    with replacing(path, force=True) as stream:
        stream.write(message.SerializeToString())
