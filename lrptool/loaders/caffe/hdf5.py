"""Weights that Caffe wrote as HDF5: a dataset ``data/LAYER/INDEX`` per array."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lrptool.errors import ModelError
from lrptool.loaders.caffe.wire import StoredBlob, sized, varint

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MOST_NUMBERS = 2**28
_FLOATS = 5


def read_hdf5(path: Path) -> Iterator[tuple[str, list[StoredBlob]]]:
    """Yield name and arrays of every layer.

    Parameters
    ----------
    path : Path
        A file that begins with `SIGNATURE`.

    Raises
    ------
    ModelError
        h5py is not installed, the file is damaged, or it does not hold Caffe's weights.
    """
    try:
        import h5py  # noqa: PLC0415 - the only reader of an optional format
    except ImportError:
        raise ModelError(
            f"{path}: an HDF5 file, and h5py, which reads it, is not installed",
            hint="pip install 'lrptool[hdf5]', or write the weights as a .caffemodel",
        ) from None
    try:
        with h5py.File(path, "r") as file:
            data = file.get("data")
            if not isinstance(data, h5py.Group):
                raise ModelError(f"{path}: expected weights of Caffe's, found an HDF5 file without a group 'data'")
            layers = list(_layers(data, "", str(path)))
            # Compressed arrays may be a thousand times larger than their file.
            if sum(array.size for _, arrays in layers for array in arrays) > _MOST_NUMBERS:
                raise ModelError(f"{path}: expected weights, found more than {_MOST_NUMBERS} numbers")
            for name, arrays in layers:
                yield name, [_blob(array) for array in arrays]
    except RecursionError:
        raise ModelError(f"{path}: a damaged HDF5 file: its groups hold themselves", hint="fetch it again") from None
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ModelError(
            f"{path}: a damaged HDF5 file: {' '.join(str(error).split())[:200]}", hint="fetch it again"
        ) from None


def _layers(group: Any, name: str, where: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield the layers in a group; a slash in a layer's name makes groups of groups."""
    arrays = {int(key): item for key, item in group.items() if key.isdigit() and hasattr(item, "shape")}
    if arrays or (name and not len(group)):
        for array in arrays.values():
            if array.dtype.kind != "f" or array.size > _MOST_NUMBERS:
                found = f"{array.size} values of type {array.dtype}"
                raise ModelError(f"{where}: layer {name!r}: expected weights, found {found}")
        yield name, [arrays[index] for index in sorted(arrays)]
    for key, item in group.items():
        if not hasattr(item, "shape"):
            yield from _layers(item, f"{name}/{key}" if name else key, where)


def _blob(dataset: Any) -> StoredBlob:
    """Read an array."""
    head = sized(7, sized(1, b"".join(varint(size) for size in dataset.shape)))
    return StoredBlob(head, {_FLOATS: [np.asarray(dataset[...], np.float32).reshape(-1)]})
