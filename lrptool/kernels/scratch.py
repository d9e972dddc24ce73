"""How much scratch a thread needs, and the numbers that who lays it out and who works in it have to agree on."""

from __future__ import annotations

from lrptool.kernels.shapes import FLOAT32, FREQUENCIES, STEP, extent_of_piece, sums_of
from lrptool.kernels.simd import REGISTER

INTEGER = 8
"""Bytes of an entry in a table of offsets."""
SLACK = 256
"""Values a buffer of planes has behind its last one: a tile reads whole registers."""
BITS = 32
"""Places whose values are looked at together where most are zero."""
LINE = 8
"""Values a window's lines are multiples of: few registers, or parts of one, that are added without a rest."""
SUMS = 7
"""Registers of sums at a time where most values are zero.

They keep multiply-adds busy, and with 8 values to a register this part of 96 windows stays in a core's first cache.
3 × 7 lines of 8 values are parts without a rest.
"""
ROWS = 8
"""Rows of a dense layer's weights that are added together."""


def scratch_of_column(shape: int, slots: int) -> int:
    """Return the values a thread needs for a column of tiles of minimal filtering."""
    rows, _, wide = extent_of_piece(shape, FLOAT32)
    values = FREQUENCIES * (slots * wide + REGISTER // FLOAT32 + rows * wide) + STEP * STEP * rows * wide
    return values + sums_of(shape)


def values_at_a_time(itemsize: int) -> int:
    """Return the values of a window that are added up at a time; compiled, too."""
    return SUMS * REGISTER // itemsize


def stretch_of_line(itemsize: int) -> int:
    """Return the values of a window that lie side by side among the outputs, too, a register at most; compiled, too."""
    return min(LINE, REGISTER // itemsize)


def scratch_of_band(rows: int, window: int, slots: int, itemsize: int) -> int:
    """Return the values a thread needs for rows of outputs, with windows of so many values, of so many planes."""
    integers = BITS * (slots + 1) + window // stretch_of_line(itemsize) + 1
    return rows + BITS * slots + integers * INTEGER // itemsize


def scratch_of_columns(values: int, itemsize: int) -> int:
    """Return the values a thread needs for so many sums of a dense layer."""
    return values + 2 * ROWS + (2 * ROWS + 1) * INTEGER // itemsize
