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
SUMS = 11
"""Registers of sums at a time where most values are zero: as many as leave room, where there are 16, for what is added
to them."""
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


def scratch_of_band(ring: int, window: int, slots: int, itemsize: int) -> int:
    """Return the values a thread needs for rows of outputs, with windows of so many values, of so many planes."""
    integers = BITS * (slots + 1) + 1
    return ring + BITS * (window + slots) + integers * INTEGER // itemsize


def scratch_of_columns(values: int, itemsize: int) -> int:
    """Return the values a thread needs for so many sums of a dense layer."""
    return values + 2 * ROWS + (2 * ROWS + 1) * INTEGER // itemsize
