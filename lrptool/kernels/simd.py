"""What the CPU's vector unit looks like, and which tiles suit it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import llvmlite.binding as llvm

from lrptool.errors import ConfigError, did_you_mean

TileShape = tuple[int, int]
"""Rows × vectors of accumulators that one tile keeps in registers."""


@dataclass(frozen=True, slots=True)
class Simd:
    """A vector instruction set.

    Parameters
    ----------
    name : str
    lanes : int
        float32 values per register.
    fused : bool
        Whether multiply-add is one instruction.
    tiles : tuple of TileShape
        From many rows to few. Accumulators, the vectors they share and one broadcast weight fit into the registers.
    turned : tuple of TileShape
        Likewise, of tiles whose rows are positions.
    """

    name: str
    lanes: int
    fused: bool
    tiles: tuple[TileShape, ...]
    turned: tuple[TileShape, ...]


_SETS = {
    "avx512": Simd(
        "avx512", 16, fused=True, tiles=((14, 2), (13, 2), (8, 3), (6, 4), (3, 7)), turned=((14, 2), (13, 2))
    ),
    "avx2": Simd("avx2", 8, fused=True, tiles=((6, 2), (4, 3)), turned=((6, 2), (5, 2))),
    "neon": Simd("neon", 4, fused=True, tiles=((8, 3), (4, 6)), turned=((8, 3), (7, 3))),
    "plain": Simd("plain", 4, fused=False, tiles=((6, 2), (4, 3)), turned=((6, 2), (5, 2))),
}


def detect() -> Simd:
    """Return the best set this CPU has; ``LRPTOOL_SIMD`` names a lesser one. ConfigError where it names none."""
    if chosen := os.environ.get("LRPTOOL_SIMD"):
        if chosen not in _SETS:
            raise ConfigError(f"LRPTOOL_SIMD: unknown instruction set '{chosen}'", did_you_mean(chosen, _SETS))
        return _SETS[chosen]
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return _SETS["avx512"]
    if features.get("avx2") and features.get("fma"):
        return _SETS["avx2"]
    return _SETS["neon" if features.get("neon") else "plain"]


SIMD = detect()
REGISTER = SIMD.lanes * 4
"""Bytes of a register."""
