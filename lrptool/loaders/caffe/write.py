"""Caffe files of our own: trained networks and mean images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from lrptool.files import replacing
from lrptool.loaders.caffe.wire import blob_fields, layer_bytes, sized


def write_caffemodel(path: Path, name: str, blobs: Mapping[str, tuple[str, Sequence[ArrayLike]]]) -> None:
    """Write weights as a current ``.caffemodel``.

    Parameters
    ----------
    path : Path
        The file; it appears whole or not at all, and an existing one is replaced.
    name : str
        Of the network.
    blobs : mapping of str to (str, sequence of array)
        Per layer its type and its arrays in Caffe's order and shapes: (O, C/group, kh, kw) or (O, K), then bias (O,).

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    with replacing(path, force=True) as stream:
        stream.write(sized(1, name.encode()))
        for layer_name, (layer_type, arrays) in blobs.items():
            fields = [blob_fields(np.asarray(array, "<f4", order="C")) for array in arrays]
            for piece in layer_bytes(layer_name, layer_type, fields):
                stream.write(piece)


def write_binaryproto(path: Path, mean: ArrayLike) -> None:
    """Write a mean image as a BlobProto.

    Parameters
    ----------
    path : Path
        The file; it appears whole or not at all, and an existing one is replaced.
    mean : array (C, H, W)

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    head, numbers = blob_fields(np.asarray(mean, "<f4", order="C"))
    with replacing(path, force=True) as stream:
        stream.write(head)
        stream.write(numbers)
