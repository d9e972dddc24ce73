"""Memory asked for before it is needed: what no processor foresees, because it lies in many maps, or far behind."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_BYTE, _I32, _I64 = ir.IntType(8).as_pointer(), ir.IntType(32), ir.IntType(64)
_READ, _SECOND, _FIRST, _DATA = 0, 2, 3, 1
LINE = 64
"""Bytes that caches move at a time, on most processors."""


def emit_prefetch(builder: Any, pointer: Any, *, into_first: bool) -> None:
    """Emit what brings a line into the first cache, or the second; memory that is not there does no harm."""
    kind = ir.FunctionType(ir.VoidType(), [_BYTE, _I32, _I32, _I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    how = (_READ, _FIRST if into_first else _SECOND, _DATA)
    builder.call(function, [builder.bitcast(pointer, _BYTE), *(ir.Constant(_I32, value) for value in how)])


@intrinsic
def prefetch(typingctx, address, count, apart, size):  # noqa: ARG001
    """Ask for `count` stretches of `size` bytes, `apart` from each other, to be brought into the second cache."""

    def generate(context, builder, signature, args):  # noqa: ARG001
        address, count, apart, size = args
        with cgutils.for_range(builder, count, intp=_I64) as row:
            first = builder.add(address, builder.mul(row.index, apart))
            with cgutils.for_range_slice(builder, ir.Constant(_I64, 0), size, ir.Constant(_I64, LINE), _I64) as (at, _):
                emit_prefetch(builder, builder.inttoptr(builder.add(first, at), _BYTE), into_first=False)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate
