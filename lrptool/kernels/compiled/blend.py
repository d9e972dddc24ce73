"""Transforms of Winograd's minimal filtering F(2 × 2, 3 × 3), a register of neighbouring tiles at a time.

Four outputs of a 3 × 3 kernel take 16 multiplications instead of 36 between values and weights that are transformed
first; the transforms are sums. Winograd 1980; Lavin and Gray 2016, doi:10.1109/CVPR.2016.435, section 4.1.

Operands are addresses, of values of the kind of `like`. An output depends on no value that its kernel does not cover,
not even if that is not finite: what lies beyond a map may be anything.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lrptool.kernels.compiled.lanes import pointer, size_of
from lrptool.kernels.compiled.shuffles import every_second, in_turn
from lrptool.kernels.shapes import STEP
from lrptool.kernels.simd import REGISTER

TILE = 4
"""Values a tile spans along an axis; products per tile are its square."""

_I64 = ir.IntType(64)


def _offset(builder: Any, apart: Any, count: int) -> Any:
    """How far `count` steps lead."""
    return builder.mul(apart, ir.Constant(_I64, count))


def _spread_out(builder: Any, d: list[Any]) -> list[Any]:
    """Bᵀ d: four values of a tile become four factors."""
    return [
        builder.fsub(d[0], d[2]),
        builder.fadd(d[1], d[2]),
        builder.fsub(d[2], d[1]),
        builder.fsub(d[1], d[3]),
    ]


def _draw_in(builder: Any, m: list[Any]) -> list[Any]:
    """Aᵀ m: four products of a tile become two outputs."""
    return [
        builder.fadd(builder.fadd(m[0], m[1]), m[2]),
        builder.fsub(builder.fsub(m[1], m[2]), m[3]),
    ]


@intrinsic
def spread_tiles(typingctx, source, row, target, apart, like):  # noqa: ARG001
    """Write Bᵀ d B of a register of tiles d.

    Tiles follow each other from `source` on, in rows that lie `row` bytes apart. Factors of one frequency follow each
    other; those of the next lie `apart` bytes further on.
    """

    def generate(context, builder, signature, args):  # noqa: ARG001
        source, row, target, apart = args[:4]
        size = size_of(like)
        lanes = REGISTER // size
        one = ir.VectorType(context.get_value_type(like), lanes)
        two = ir.VectorType(one.element, STEP * lanes)
        rows = []
        for y in range(TILE):
            begins = [builder.add(_offset(builder, row, y), ir.Constant(_I64, x * size)) for x in (0, STEP)]
            pairs = [builder.load(pointer(builder, source, begin, two), align=size) for begin in begins]
            rows.append([every_second(builder, pair, x) for pair in pairs for x in range(STEP)])
        wide = [_spread_out(builder, values) for values in rows]
        for x in range(TILE):
            for y, factor in enumerate(_spread_out(builder, [values[x] for values in wide])):
                where = pointer(builder, target, _offset(builder, apart, y * TILE + x), one)
                builder.store(factor, where, align=size)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4, like), generate


@intrinsic
def draw_tiles(typingctx, source, apart, target, row, like):  # noqa: ARG001
    """Write Aᵀ m A of a register of tiles whose products m lie `apart` bytes from each other: two rows of outputs."""

    def generate(context, builder, signature, args):  # noqa: ARG001
        source, apart, target, row = args[:4]
        size = size_of(like)
        lanes = REGISTER // size
        one = ir.VectorType(context.get_value_type(like), lanes)
        two = ir.VectorType(one.element, STEP * lanes)
        columns = []
        for x in range(TILE):
            begins = [_offset(builder, apart, y * TILE + x) for y in range(TILE)]
            products = [builder.load(pointer(builder, source, begin, one), align=size) for begin in begins]
            columns.append(_draw_in(builder, products))
        for y in range(STEP):
            outputs = in_turn(builder, *_draw_in(builder, [column[y] for column in columns]))
            builder.store(outputs, pointer(builder, target, _offset(builder, row, y), two), align=size)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4, like), generate
