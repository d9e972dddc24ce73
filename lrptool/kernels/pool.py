"""Pooling windows: route to the maximum, sum over a window, spread over a window. Planes are (P, H, W)."""

from __future__ import annotations

from numba import prange

from lrptool.kernels.jit import kernel


@kernel(parallel=True)
def route_to_maximum(x, relevance, kernel_shape, strides, pads, out):  # type: ignore[no-untyped-def]
    """Add relevance (P, Ho, Wo) to the first maximum in scan order of each window of x (P, H, W); out starts at 0."""
    height, width = x.shape[1], x.shape[2]
    for p in prange(x.shape[0]):
        for oy in range(relevance.shape[1]):
            for ox in range(relevance.shape[2]):
                top, left = oy * strides[0] - pads[0], ox * strides[1] - pads[1]
                best_y, best_x = max(top, 0), max(left, 0)
                for y in range(max(top, 0), min(top + kernel_shape[0], height)):
                    for z in range(max(left, 0), min(left + kernel_shape[1], width)):
                        if x[p, y, z] > x[p, best_y, best_x]:
                            best_y, best_x = y, z
                out[p, best_y, best_x] += relevance[p, oy, ox]


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
    """Add s (P, Ho, Wo) to every position of its window in out (P, H, W); out starts at 0."""
    height, width = out.shape[1], out.shape[2]
    for p in prange(s.shape[0]):
        for oy in range(s.shape[1]):
            for ox in range(s.shape[2]):
                top, left = oy * strides[0] - pads[0], ox * strides[1] - pads[1]
                for y in range(max(top, 0), min(top + kernel_shape[0], height)):
                    for z in range(max(left, 0), min(left + kernel_shape[1], width)):
                        out[p, y, z] += s[p, oy, ox]
