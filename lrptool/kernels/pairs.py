"""Pairs of values taken apart and put together again, as shuffles of vectors: a compiler makes a loop over values."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lrptool.kernels.jit import kernel
from lrptool.kernels.shuffles import every_second, in_turn
from lrptool.kernels.tile import pointer_to

_LANES = 16


def _vector(pointer: Any, lanes: int) -> Any:
    """The vector type of some lanes of what a pointer points to."""
    return ir.VectorType(pointer.type.pointee, lanes)


@intrinsic
def _deal(typingctx, source, even, odd):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Write 32 values alternately to two places."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
        align = context.get_abi_sizeof(args[0].type.pointee)
        wide, narrow = _vector(args[0], 2 * _LANES), _vector(args[0], _LANES)
        values = builder.load(builder.bitcast(args[0], wide.as_pointer()), align=align)
        for begin, pointer in enumerate(args[1:]):
            half = every_second(builder, values, begin)
            builder.store(half, builder.bitcast(pointer, narrow.as_pointer()), align=align)
        return context.get_dummy_value()

    return types.void(source, even, odd), generate


@intrinsic
def _merge(typingctx, even, odd, out):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Write 16 values each of two places alternately."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
        align = context.get_abi_sizeof(args[0].type.pointee)
        wide, narrow = _vector(args[0], 2 * _LANES), _vector(args[0], _LANES)
        halves = [builder.load(builder.bitcast(p, narrow.as_pointer()), align=align) for p in args[:2]]
        builder.store(in_turn(builder, *halves), builder.bitcast(args[2], wide.as_pointer()), align=align)
        return context.get_dummy_value()

    return types.void(even, odd, out), generate


@kernel()
def deal(source, even, odd):  # type: ignore[no-untyped-def]
    """Write source[0], source[2], … to `even` and the values between them to `odd`, as many as `even` has."""
    whole = even.size // _LANES * _LANES
    for k in range(0, whole, _LANES):
        _deal(pointer_to(source, 2 * k), pointer_to(even, k), pointer_to(odd, k))
    for k in range(whole, even.size):
        even[k] = source[2 * k]
        odd[k] = source[2 * k + 1]


@kernel()
def merge(even, odd, out):  # type: ignore[no-untyped-def]
    """Write `even` and `odd` alternately to `out`; the reverse of `deal`."""
    whole = even.size // _LANES * _LANES
    for k in range(0, whole, _LANES):
        _merge(pointer_to(even, k), pointer_to(odd, k), pointer_to(out, 2 * k))
    for k in range(whole, even.size):
        out[2 * k] = even[k]
        out[2 * k + 1] = odd[k]
