"""Sums and fractions value by value, in one pass over memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from lrptool.kernels.conv import Fraction
from lrptool.kernels.jit import kernel
from lrptool.kernels.pack import fraction_row

Values = NDArray[np.floating[Any]]

_CHUNK = 4096


@kernel(parallel=True)
def add_flat(a, b, out):  # type: ignore[no-untyped-def]
    """Fill out with a + b, all flat."""
    for chunk in prange(-(-a.size // _CHUNK)):
        low = chunk * _CHUNK
        high = min(a.size, low + _CHUNK)
        for i in range(low, high):
            out[i] = a[i] + b[i]


@kernel(parallel=True)
def _weigh_fractions(r, den, z, epsilon, clip, where, normalised, coefficient, x, part, out, accumulate):  # type: ignore[no-untyped-def]
    """Fill out (N, M) with x̂ times the fraction, or add it; den, z and x may be (1, M)."""
    zero = out.dtype.type(0)
    items, size = r.shape
    chunks = -(-size // _CHUNK)
    for step in prange(items * chunks):
        n, low = step // chunks, step % chunks * _CHUNK
        high = min(size, low + _CHUNK)
        s = np.empty(high - low, out.dtype)
        d, signs = den[n if den.shape[0] > 1 else 0], z[n if z.shape[0] > 1 else 0]
        fraction_row(r[n, low:high], d[low:high], signs[low:high], epsilon[n], clip, where, normalised, coefficient, s)
        source = x[n if x.shape[0] > 1 else 0, low:high]
        target = out[n, low:high]
        for i in range(high - low):
            value = s[i]
            if part == 1:
                value *= source[i]
            elif part == 2:
                value *= max(source[i], zero)
            elif part == 3:
                value *= min(source[i], zero)
            target[i] = target[i] + value if accumulate else value


class TransposedSum:
    """Σ_p ŵ_p s_p for weights that are single numbers: what a sum hands to each of its inputs."""

    def __init__(self, weights: Sequence[float]) -> None:
        self._weights = weights

    def plane_values(self, batch: int) -> int:
        """No scratch is needed."""
        return 0

    def __call__(
        self, fractions: Sequence[Fraction], x: Values, part: int, out: Values, planes: Values, *, accumulate: bool
    ) -> None:
        """Write x̂ · Σ_p ŵ_p s_p into `out`, or add it; arguments as of `TransposedConv`."""
        flat = out.reshape(len(out), -1)
        for k, (weight, f) in enumerate(zip(self._weights, fractions, strict=True)):
            _weigh_fractions(
                f.r.reshape(flat.shape),
                f.denominator.reshape(len(f.denominator), -1),
                f.z.reshape(len(f.z), -1),
                f.epsilon,
                f.clip,
                f.where,
                f.normalised,
                out.dtype.type(f.coefficient * weight),
                x.reshape(len(x), -1),
                part,
                flat,
                accumulate or k > 0,
            )
