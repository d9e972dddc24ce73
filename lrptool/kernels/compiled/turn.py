"""Rows and columns of a block of values exchanged, as shuffles of vectors."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lrptool.kernels.compiled.bare import item_size
from lrptool.kernels.compiled.jit import kernel
from lrptool.kernels.compiled.lanes import pointer, size_of
from lrptool.kernels.compiled.shuffles import half_in_turn
from lrptool.kernels.simd import REGISTER

_I64 = ir.IntType(64)


@intrinsic
def _turn_block(typingctx, source, from_apart, target, to_apart, like):  # noqa: ARG001
    """Write what lies in rows `from_apart` bytes from each other as columns: a block as wide and high as a register.

    Interleaving row i with row i + n/2 rotates the bits of a value's number (row, column) by one; after log₂ n times
    row and column have changed places.
    """

    def generate(context, builder, signature, args):  # noqa: ARG001
        source, from_apart, target, to_apart = args[:4]
        size = size_of(like)
        lanes = REGISTER // size
        vector = ir.VectorType(context.get_value_type(like), lanes)
        rows = [
            builder.load(pointer(builder, source, builder.mul(from_apart, ir.Constant(_I64, row)), vector), align=size)
            for row in range(lanes)
        ]
        for _ in range(lanes.bit_length() - 1):
            halves = zip(rows[: lanes // 2], rows[lanes // 2 :], strict=True)
            rows = [half_in_turn(builder, *both, upper=upper) for both in halves for upper in (False, True)]
        for row, values in enumerate(rows):
            where = pointer(builder, target, builder.mul(to_apart, ir.Constant(_I64, row)), vector)
            builder.store(values, where, align=size)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4, like), generate


@kernel
def turn(source, rows, columns, target, apart, like):
    """Write (rows, columns) values at an address to another as (columns, rows), `apart` values from row to row there.

    Both are taken up to whole registers: rows and columns are multiples of its lanes.
    """
    item = item_size(like)
    lanes = REGISTER // item
    for row in range(0, rows, lanes):
        for column in range(0, columns, lanes):
            begin, end = source + (row * columns + column) * item, target + (column * apart + row) * item
            _turn_block(begin, columns * item, end, apart * item, like)
