"""Mean images: what a network's trainer subtracted from every picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lrptool.errors import ModelError
from lrptool.graph import Array
from lrptool.loaders.caffe.files import blob_array, read_blob


def read_mean(path: Path) -> Array:
    """Read a mean image.

    Parameters
    ----------
    path : Path
        A ``.binaryproto`` (Caffe's BlobProto) or a ``.npy``.

    Returns
    -------
    float32 (C, H, W), or (C,) where the file holds one value per channel; in the file's channel order.

    Raises
    ------
    ModelError
        The file cannot be read or does not hold a mean image.
    """
    mean = _read_npy(path) if path.suffix == ".npy" else blob_array(read_blob(path), str(path))
    if mean.ndim == 4 and mean.shape[0] == 1:
        mean = mean[0]
    if mean.ndim not in (1, 3) or not mean.size:
        raise ModelError(f"{path}: expected a mean of shape (C, H, W) or (C,), found {mean.shape}")
    return np.array(mean, np.float32)


def _read_npy(path: Path) -> Array:
    """Read an array of finite numbers."""
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, SyntaxError, MemoryError) as error:
        raise ModelError(f"{path}: cut off or not an .npy file ({path.stat().st_size} bytes)") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise ModelError(f"{path}: expected an array of numbers, found {getattr(array, 'dtype', 'an archive')}")
    if not np.isfinite(array).all():
        raise ModelError(f"{path}: holds numbers that are not finite")
    return array.astype(np.float32)
