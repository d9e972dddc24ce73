"""Compiled loops over plain arrays; only what is `compiled` imports numba. Callers check and allocate."""

from lrptool.kernels.alone import Gather, transpose_alone
from lrptool.kernels.conv import TransposedConv
from lrptool.kernels.dense import Signed, TransposedDense, forward_dense
from lrptool.kernels.entries import Place
from lrptool.kernels.forward import ForwardConv
from lrptool.kernels.fraction import Fraction
from lrptool.kernels.geometry import Geometry
from lrptool.kernels.machine_code import is_compiled, is_kept
from lrptool.kernels.memory import MEMORY, Memory, give_back
from lrptool.kernels.pooling import TransposedAverage, Windows, add_route
from lrptool.kernels.records import ALL, EVERYWHERE, NEG, NEGATIVE, ONE, POS, POSITIVE, REST, SPLIT
from lrptool.kernels.schedule import Run, Schedule
from lrptool.kernels.sums import TransposedScale, add_copy
from lrptool.kernels.team import get_threads, set_threads

__all__ = [
    "ALL",
    "EVERYWHERE",
    "MEMORY",
    "NEG",
    "NEGATIVE",
    "ONE",
    "POS",
    "POSITIVE",
    "REST",
    "SPLIT",
    "ForwardConv",
    "Fraction",
    "Gather",
    "Geometry",
    "Memory",
    "Place",
    "Run",
    "Schedule",
    "Signed",
    "TransposedAverage",
    "TransposedConv",
    "TransposedDense",
    "TransposedScale",
    "Windows",
    "add_copy",
    "add_route",
    "forward_dense",
    "get_threads",
    "give_back",
    "is_compiled",
    "is_kept",
    "set_threads",
    "transpose_alone",
]
