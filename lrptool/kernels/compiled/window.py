"""A part of a window of outputs that few values have weights for, emitted as vector code.

Sums stay in registers until the last value, and are added to rows of outputs then. Neighbouring windows overlap there,
and what was just written is slow to read; but by then the next window's sums are under way, and nobody waits.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lrptool.kernels.compiled.lanes import emit_loop, pointer, size_of, spread
from lrptool.kernels.compiled.tile import ELEMENT, multiply_add
from lrptool.kernels.scratch import INTEGER, LINE, SUMS
from lrptool.kernels.simd import Simd

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def _value(builder: Any, address: Any, k: Any, kind: Any, size: int) -> Any:
    """Value k at an address."""
    place = builder.add(address, builder.mul(k, ir.Constant(_I64, size)))
    return builder.load(builder.inttoptr(place, kind.as_pointer()))


def _emit_sums(builder: Any, like: Any, weights: Any, values: Any, offsets: Any, count: Any, simd: Simd) -> list[Any]:
    """Emit the loop over values; return the sums."""
    (element, suffix), size = ELEMENT[like], size_of(like)
    vector = ir.VectorType(element, simd.lanes * 4 // size)
    added = multiply_add(builder, vector, suffix, fused=simd.fused)

    def step(k: Any, sums: list[Any]) -> list[Any]:
        value = spread(builder, _value(builder, values, k, element, size), vector)
        weight = builder.add(weights, _value(builder, offsets, k, _I64, INTEGER))
        places = [pointer(builder, weight, ir.Constant(_I64, m * simd.lanes * 4), vector) for m in range(SUMS)]
        return [added(value, builder.load(at, align=size), one) for at, one in zip(places, sums, strict=True)]

    nothing = ir.Constant(vector, [0.0] * vector.count)
    return emit_loop(builder, ir.Constant(_I64, 0), count, [nothing] * SUMS, step)


def make_part(simd: Simd) -> Any:
    """Return what adds a part of a window, as a function numba can call.

    The function of (weights, values, offsets, count, targets, place, like) adds Σ_k values[k] · a part of the window of
    value k to rows of outputs; k counts to `count`. That part begins offsets[k] bytes behind address `weights`, and is
    `SUMS` registers long. Each of its stretches belongs to an address of its own, targets[m] bytes behind `place`. All
    operands but the last are addresses.
    """

    @intrinsic
    def add_part(typingctx, weights, values, offsets, count, targets, place, like):  # noqa: ARG001
        def generate(context, builder, signature, args):  # noqa: ARG001
            weights, values, offsets, count, targets, place, _ = args
            totals = _emit_sums(builder, like, weights, values, offsets, count, simd)
            stretches = _cut(builder, totals)
            vector, size = stretches[0].type, size_of(like)
            where = [
                pointer(builder, place, _value(builder, targets, ir.Constant(_I64, m), _I64, INTEGER), vector)
                for m in range(len(stretches))
            ]
            sums = [builder.fadd(builder.load(at, align=size), one) for at, one in zip(where, stretches, strict=True)]
            for at, one in zip(where, sums, strict=True):
                builder.store(one, at, align=size)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6, like), generate

    return add_part


def _cut(builder: Any, totals: list[Any]) -> list[Any]:
    """Cut registers into stretches of values that lie side by side among the outputs, too."""
    lanes = totals[0].type.count
    each = min(LINE, lanes)
    undefined = ir.Constant(totals[0].type, ir.Undefined)
    numbers = [list(range(first, first + each)) for first in range(0, lanes, each)]
    masks = [ir.Constant(ir.VectorType(_I32, each), some) for some in numbers]
    return [builder.shuffle_vector(total, undefined, mask) for total in totals for mask in masks]
