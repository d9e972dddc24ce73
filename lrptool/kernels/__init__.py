"""Compiled loops over plain arrays; the only room that imports numba. Callers check and allocate."""

from lrptool.kernels.conv import ForwardConv, Fraction, Geometry, TransposedConv
from lrptool.kernels.dense import PARTS, dense_forward, dense_transpose
from lrptool.kernels.elementwise import TransposedSum, add_flat
from lrptool.kernels.jit import get_threads, is_compiled, set_threads, shared_use
from lrptool.kernels.memory import MEMORY, Memory
from lrptool.kernels.pack import EVERYWHERE, NEGATIVE, POSITIVE
from lrptool.kernels.pool import route_to_maximum, spread_windows, sum_windows
from lrptool.kernels.product import ALL, NEG, ONE, POS

__all__ = [
    "ALL",
    "EVERYWHERE",
    "MEMORY",
    "NEG",
    "NEGATIVE",
    "ONE",
    "PARTS",
    "POS",
    "POSITIVE",
    "ForwardConv",
    "Fraction",
    "Geometry",
    "Memory",
    "TransposedConv",
    "TransposedSum",
    "add_flat",
    "dense_forward",
    "dense_transpose",
    "get_threads",
    "is_compiled",
    "route_to_maximum",
    "set_threads",
    "shared_use",
    "spread_windows",
    "sum_windows",
]
