"""The one product every convolution, forward or transposed, is made of.

    out[n, g, o, q] = Σ_k weights[g, o, k] · planes[n, g, offsets[k] + q]

A zero-padded plane whose rows follow each other is one flat vector; the factor of a kernel's tap is that vector shifted
by a constant. So a table of offsets describes stride, dilation and padding, and no im2col matrix is built.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from lrptool.kernels.jit import kernel

ROWS = 4
"""Output channels a step computes together; weights are padded with zero rows to a multiple."""
UNROLL = 4
"""Terms of the sum taken at once; weights and offsets are padded with zero terms to a multiple."""
WIDTH = 256
"""Neighbouring positions a step computes together."""


@kernel(parallel=True)
def shifted_product(weights, planes, offsets, out):  # type: ignore[no-untyped-def]
    """Fill `out` (N, G, O, Q) from weights (G, O, K), planes (N, G, L) and int64 offsets (K,); O, K padded as above.

    Each step owns its slice of `out` and sums in one fixed order: results do not depend on the number of threads.
    """
    batch, groups, rows, size = out.shape
    terms = offsets.shape[0]
    row_blocks, col_blocks = rows // ROWS, -(-size // WIDTH)
    for step in prange(batch * groups * row_blocks * col_blocks):
        row = step % row_blocks * ROWS
        col = step // row_blocks % col_blocks * WIDTH
        n, g = step // row_blocks // col_blocks // groups, step // row_blocks // col_blocks % groups
        width = min(WIDTH, size - col)
        acc = np.zeros((ROWS, WIDTH), out.dtype)
        a0, a1, a2, a3 = acc[0], acc[1], acc[2], acc[3]
        w = weights[g]
        source = planes[n, g]
        for k in range(0, terms, UNROLL):
            s0, s1 = source[offsets[k] + col :], source[offsets[k + 1] + col :]
            s2, s3 = source[offsets[k + 2] + col :], source[offsets[k + 3] + col :]
            w00, w01, w02, w03 = w[row, k], w[row, k + 1], w[row, k + 2], w[row, k + 3]
            w10, w11, w12, w13 = w[row + 1, k], w[row + 1, k + 1], w[row + 1, k + 2], w[row + 1, k + 3]
            w20, w21, w22, w23 = w[row + 2, k], w[row + 2, k + 1], w[row + 2, k + 2], w[row + 2, k + 3]
            w30, w31, w32, w33 = w[row + 3, k], w[row + 3, k + 1], w[row + 3, k + 2], w[row + 3, k + 3]
            for v in range(width):
                x0, x1, x2, x3 = s0[v], s1[v], s2[v], s3[v]
                a0[v] += w00 * x0 + w01 * x1 + w02 * x2 + w03 * x3
                a1[v] += w10 * x0 + w11 * x1 + w12 * x2 + w13 * x3
                a2[v] += w20 * x0 + w21 * x1 + w22 * x2 + w23 * x3
                a3[v] += w30 * x0 + w31 * x1 + w32 * x2 + w33 * x3
        for r in range(ROWS):
            for v in range(width):
                out[n, g, row + r, col + v] = acc[r, v]
