"""Machine code of the kernels that are called from Python."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from lrptool.kernels.compiled.interrupt import interruptible
from lrptool.kernels.compiled.jit import FLAGS, WHOLE_OF
from lrptool.kernels.compiled.pieces.dense import forward_dense
from lrptool.kernels.compiled.products import products
from lrptool.kernels.compiled.region import run
from lrptool.kernels.machine_code import SYMBOLS

_ENTRIES = {"run": run, "products": products, "forward_dense": forward_dense}
_OWN_WAY: list[Any] = []
"""What numba compiled its own way: as long as that is there, it can be called."""


def code_of(name: str, dtype: np.dtype[Any], integers: int) -> bytes | None:
    """Return the object code of a kernel as a function of C: int64 lrptool_name_dtype(like, int64, …), which returns 0.

    Parameters
    ----------
    name : str
    dtype : float32 or float64
        Kind of `like`.
    integers : int
        Arguments behind it.

    Returns
    -------
    bytes or None
        None where numba has changed inside: see `address_of`.
    """
    if WHOLE_OF is None:
        return None
    with interruptible():
        return WHOLE_OF(
            _ENTRIES[name], (numba.from_dtype(dtype), *[numba.int64] * integers), f"{SYMBOLS}{name}_{dtype}"
        )


def address_of(name: str, dtype: np.dtype[Any], integers: int) -> int:
    """Compile a kernel in numba's own way; return where its machine code is, which cannot be kept."""
    signature = numba.int64(numba.from_dtype(dtype), *[numba.int64] * integers)
    with interruptible():
        made = numba.cfunc(signature, **FLAGS)(_ENTRIES[name].py_func)
    _OWN_WAY.append(made)
    return int(made.address)
