"""Dense layers. Parts of the weights are formed row by row, so W⁺ of a large layer never exists as a whole."""

from __future__ import annotations

import numpy as np
from numba import prange

from lrptool.kernels.jit import kernel

PARTS = {"all": 0, "pos": 1, "neg": 2, "squared": 3, "one": 4, "gamma-pos": 5, "gamma-neg": 6}
"""Codes of the parts of the weights."""
_COLUMNS = 256
"""Fewest columns worth a thread."""
_ROWS = 8


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


@kernel()
def _add_rows(weight, rows, factors, part, gamma, low, high, target):  # type: ignore[no-untyped-def]
    """Add factor · part of row for eight rows at once: eight streams hide the memory's latency."""
    zero = weight.dtype.type(0)
    a, b, c, d = weight[rows[0]], weight[rows[1]], weight[rows[2]], weight[rows[3]]
    e, f, g, h = weight[rows[4]], weight[rows[5]], weight[rows[6]], weight[rows[7]]
    f0, f1, f2, f3, f4, f5, f6, f7 = factors
    if part == 0:
        for i in range(low, high):
            target[i] += f0 * a[i] + f1 * b[i] + f2 * c[i] + f3 * d[i] + f4 * e[i] + f5 * f[i] + f6 * g[i] + f7 * h[i]
    elif part == 1:
        for i in range(low, high):
            target[i] += (
                f0 * max(a[i], zero)
                + f1 * max(b[i], zero)
                + f2 * max(c[i], zero)
                + f3 * max(d[i], zero)
                + f4 * max(e[i], zero)
                + f5 * max(f[i], zero)
                + f6 * max(g[i], zero)
                + f7 * max(h[i], zero)
            )
    else:
        row = np.empty(high - low, weight.dtype)
        for k in range(8):
            _fill_part(weight[rows[k], low:high], part, gamma, row)
            for i in range(high - low):
                target[low + i] += factors[k] * row[i]


@kernel(parallel=True)
def dense_transpose(s, weight, part, gamma, out, threads):  # type: ignore[no-untyped-def]
    """Fill out (N, K) with s (N, O) times the part of weight (O, K); rows whose s is zero are never read."""
    columns = weight.shape[1]
    blocks = max(1, min(threads, columns // _COLUMNS))
    for block in prange(blocks):
        low, high = block * columns // blocks, (block + 1) * columns // blocks
        rows, factors = np.zeros(_ROWS, np.int64), np.zeros(_ROWS, weight.dtype)
        for n in range(s.shape[0]):
            target = out[n]
            target[low:high] = weight.dtype.type(0)
            count = 0
            for o in range(weight.shape[0]):
                if s[n, o] != 0:
                    rows[count], factors[count] = o, s[n, o]
                    count += 1
                if count == _ROWS or (o == weight.shape[0] - 1 and count > 0):
                    factors[count:] = weight.dtype.type(0)
                    _add_rows(weight, rows, factors, part, gamma, low, high, target)
                    count = 0
