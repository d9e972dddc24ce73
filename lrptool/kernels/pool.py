"""Pooling windows: route to the maximum, sum over a window, spread over a window. Planes are (P, H, W)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from lrptool.kernels.jit import get_threads, kernel
from lrptool.kernels.schedule import PIECES_PER_THREAD, take

Values = NDArray[np.floating[Any]]
Window = tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]
"""Kernel shape, strides, pads."""


@kernel()
def _inside(tap, stride, pad, size, count):  # type: ignore[no-untyped-def]
    """First and one past the last window whose tap lies inside the map."""
    low = max(0, -((tap - pad) // stride))
    return low, max(low, min(count, (size - 1 + pad - tap) // stride + 1))


@kernel()
def _compete(values, stride, position, bests, wheres):  # type: ignore[no-untyped-def]
    """Let every stride-th value compete for its window; a later equal value does not win."""
    # The strides of nearly all networks as constants: only then does the loop become vector code.
    if stride == 1:
        for k in range(bests.size):
            wins = values[k] > bests[k]
            bests[k] = values[k] if wins else bests[k]
            wheres[k] = np.int32(position + k) if wins else wheres[k]
    elif stride == 2:
        for k in range(bests.size):
            wins = values[2 * k] > bests[k]
            bests[k] = values[2 * k] if wins else bests[k]
            wheres[k] = np.int32(position + 2 * k) if wins else wheres[k]
    else:
        for k in range(bests.size):
            wins = values[stride * k] > bests[k]
            bests[k] = values[stride * k] if wins else bests[k]
            wheres[k] = np.int32(position + stride * k) if wins else wheres[k]


@kernel(parallel=True)
def _route(x, relevance, kernel_shape, strides, pads, out, counters, threads):  # type: ignore[no-untyped-def]
    """Add relevance (P, Ho, Wo) to the first maximum in scan order of each window of x (P, H, W)."""
    planes, height, width = x.shape
    rows, cols = relevance.shape[1], relevance.shape[2]
    piece = max(1, planes // (threads * PIECES_PER_THREAD))
    for _ in prange(threads):
        best, where = np.empty(cols, x.dtype), np.empty(cols, np.int32)
        begin = take(counters, 0, piece)
        while begin < planes:
            for p in range(begin, min(begin + piece, planes)):
                flat = out[p].reshape(-1)
                flat[:] = out.dtype.type(0)
                for oy in range(rows):
                    top = oy * strides[0] - pads[0]
                    start = max(top, 0)
                    best[:] = -np.inf
                    for ox in range(cols):
                        where[ox] = start * width + max(ox * strides[1] - pads[1], 0)
                    for y in range(start, min(top + kernel_shape[0], height)):
                        for tap in range(kernel_shape[1]):
                            low, high = _inside(tap, strides[1], pads[1], width, cols)
                            first = low * strides[1] + tap - pads[1]
                            line = x[p, y, first:]
                            _compete(line, strides[1], y * width + first, best[low:high], where[low:high])
                    arriving = relevance[p, oy]
                    for ox in range(cols):
                        flat[np.uint32(where[ox])] += arriving[ox]
            begin = take(counters, 0, piece)


def route_to_maximum(x: Values, relevance: Values, window: Window, out: Values) -> None:
    """Fill out (P, H, W) with relevance (P, Ho, Wo), each at the first maximum of its window of x (P, H, W)."""
    _route(x, relevance, *window, out, np.zeros(1, np.int64), get_threads())


@kernel(parallel=True)
def sum_windows(x, kernel_shape, strides, pads, out):  # type: ignore[no-untyped-def]
    """Fill out (P, Ho, Wo) with the sum over each window of x (P, H, W); what lies outside counts as 0."""
    height, width = x.shape[1], x.shape[2]
    for p in prange(x.shape[0]):
        for oy in range(out.shape[1]):
            for ox in range(out.shape[2]):
                top, left = oy * strides[0] - pads[0], ox * strides[1] - pads[1]
                total = x.dtype.type(0)
                for y in range(max(top, 0), min(top + kernel_shape[0], height)):
                    for z in range(max(left, 0), min(left + kernel_shape[1], width)):
                        total += x[p, y, z]
                out[p, oy, ox] = total


@kernel(parallel=True)
def spread_windows(s, kernel_shape, strides, pads, out):  # type: ignore[no-untyped-def]
    """Add s (P, Ho, Wo) to every position of its window in out (P, H, W)."""
    height, width = out.shape[1], out.shape[2]
    for p in prange(s.shape[0]):
        out[p] = out.dtype.type(0)
        for oy in range(s.shape[1]):
            for ox in range(s.shape[2]):
                value = s[p, oy, ox]
                if value == 0:
                    continue
                top, left = oy * strides[0] - pads[0], ox * strides[1] - pads[1]
                for y in range(max(top, 0), min(top + kernel_shape[0], height)):
                    for z in range(max(left, 0), min(left + kernel_shape[1], width)):
                        out[p, y, z] += value
