"""Dense layers. Parts of the weights are formed row by row, so W⁺ of a large layer never exists as a whole."""

from __future__ import annotations

import numpy as np
from numba import prange

from lrptool.kernels.jit import kernel

PARTS = {"all": 0, "pos": 1, "neg": 2, "squared": 3, "one": 4, "gamma-pos": 5, "gamma-neg": 6}
"""Codes of the parts of the weights."""
_COLUMNS = 1024


@kernel()
def _fill_part(row, part, gamma, out):  # type: ignore[no-untyped-def]
    """Write a part of one row of weights into `out`."""
    zero = row.dtype.type(0)
    if part == 0:
        out[:] = row
    elif part == 1:
        for i in range(row.size):
            out[i] = max(row[i], zero)
    elif part == 2:
        for i in range(row.size):
            out[i] = min(row[i], zero)
    elif part == 3:
        out[:] = row * row
    elif part == 4:
        out[:] = row.dtype.type(1)
    elif part == 5:
        for i in range(row.size):
            out[i] = row[i] + gamma * max(row[i], zero)
    else:
        for i in range(row.size):
            out[i] = row[i] + gamma * min(row[i], zero)


@kernel(parallel=True)
def dense_forward(x, weight, part, gamma, out):  # type: ignore[no-untyped-def]
    """Fill out (N, O) with x (N, K) times the part of weight (O, K), transposed."""
    for o in prange(weight.shape[0]):
        row = np.empty(weight.shape[1], weight.dtype)
        _fill_part(weight[o], part, gamma, row)
        for n in range(x.shape[0]):
            total = weight.dtype.type(0)
            for i in range(row.size):
                total += x[n, i] * row[i]
            out[n, o] = total


@kernel(parallel=True)
def dense_transpose(s, weight, part, gamma, out):  # type: ignore[no-untyped-def]
    """Fill out (N, K) with s (N, O) times the part of weight (O, K); rows whose s is zero are never read."""
    columns = weight.shape[1]
    for block in prange(-(-columns // _COLUMNS)):
        low = block * _COLUMNS
        high = min(columns, low + _COLUMNS)
        out[:, low:high] = weight.dtype.type(0)
        row = np.empty(high - low, weight.dtype)
        for o in range(weight.shape[0]):
            if not np.any(s[:, o]):
                continue
            _fill_part(weight[o, low:high], part, gamma, row)
            for n in range(s.shape[0]):
                factor = s[n, o]
                for i in range(row.size):
                    out[n, low + i] += factor * row[i]
