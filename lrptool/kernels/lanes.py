"""Stretches of a map, a whole register at a time, as vector code.

Rows of maps are short: a compiler's loop unrolls for long ones and takes what is left value by value, which for a row
of 27 is all of it. Here what is left is taken in halves of a register, quarters, and so on.

Operands are addresses, of values of the kind of `like`; operands that do not take part may be any that can be read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lrptool.kernels.simd import REGISTER

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_SIZES = {types.float32: 4, types.float64: 8}


def size_of(kind: Any) -> int:
    """Bytes of a value."""
    return _SIZES[kind]


Body = Callable[[ir.VectorType, Any], None]
"""Emits the code for one vector; the second argument is how many bytes it lies behind the beginning."""


def emit_stretch(
    context: Any, builder: Any, kind: Any, count: Any, body: Body, *, again: bool, single: bool = False
) -> None:
    """Emit the loop over whole registers, and its parts for what is left.

    Where values may be written `again`, the last register overlaps the one before. Registers of a `single` value take
    one after the other.
    """
    element, size = context.get_value_type(kind), _SIZES[kind]
    lanes = 1 if single else REGISTER // size
    done = cgutils.alloca_once_value(builder, ir.Constant(_I64, 0))

    def step(width: int) -> None:
        at = builder.load(done)
        body(ir.VectorType(element, width), builder.mul(at, ir.Constant(_I64, size)))
        builder.store(builder.add(at, ir.Constant(_I64, width)), done)

    whole = builder.and_(count, ir.Constant(_I64, -lanes))
    test, loop, rest = (builder.append_basic_block(name) for name in ("test", "loop", "rest"))
    builder.branch(test)
    builder.position_at_end(test)
    builder.cbranch(builder.icmp_signed("<", builder.load(done), whole), loop, rest)
    builder.position_at_end(loop)
    step(lanes)
    builder.branch(test)
    builder.position_at_end(rest)
    if single:
        return
    with builder.if_then(builder.icmp_signed("!=", whole, count)):
        if again:
            _emit_overlapping(builder, count, lanes, step, done)
        else:
            while lanes > 1:
                lanes //= 2
                with builder.if_then(cgutils.is_not_null(builder, builder.and_(count, ir.Constant(_I64, lanes)))):
                    step(lanes)


def _emit_overlapping(builder: Any, count: Any, lanes: int, step: Callable[[int], None], done: Any) -> None:
    """Emit one more register that ends with the last value; where there are fewer, two of half the size, and so on."""
    with builder.if_else(builder.icmp_signed(">=", count, ir.Constant(_I64, lanes))) as (enough, fewer):
        with enough:
            builder.store(builder.sub(count, ir.Constant(_I64, lanes)), done)
            step(lanes)
        with fewer:
            half = lanes // 2
            if half == 1:
                step(1)
            else:
                with builder.if_then(builder.icmp_signed(">=", count, ir.Constant(_I64, half))):
                    step(half)
                _emit_overlapping(builder, count, half, step, done)


def pointer(builder: Any, address: Any, offset: Any, vector: ir.VectorType) -> Any:
    """A pointer to a vector."""
    return builder.inttoptr(builder.add(address, offset), vector.as_pointer())


def spread(builder: Any, scalar: Any, vector: ir.VectorType) -> Any:
    """A vector of one value."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count))


@intrinsic
def copy_lanes(typingctx, source, target, count, like):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Write what is at `source` to `target`; the two do not overlap."""
    kind = like.dtype

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
        source, target, count, _ = args

        def body(vector: ir.VectorType, offset: Any) -> None:
            values = builder.load(pointer(builder, source, offset, vector), align=_SIZES[kind])
            builder.store(values, pointer(builder, target, offset, vector), align=_SIZES[kind])

        emit_stretch(context, builder, kind, count, body, again=True)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3, like), generate
