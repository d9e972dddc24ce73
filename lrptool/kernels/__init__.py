"""Compiled loops over plain arrays; the only room that imports numba. Callers check and allocate."""

from lrptool.kernels.conv import ForwardConv, Geometry, TransposedConv
from lrptool.kernels.dense import PARTS, dense_forward, dense_transpose
from lrptool.kernels.jit import is_compiled, set_threads, shared_use
from lrptool.kernels.pool import route_to_maximum, spread_windows, sum_windows

__all__ = [
    "PARTS",
    "ForwardConv",
    "Geometry",
    "TransposedConv",
    "dense_forward",
    "dense_transpose",
    "is_compiled",
    "route_to_maximum",
    "set_threads",
    "shared_use",
    "spread_windows",
    "sum_windows",
]
