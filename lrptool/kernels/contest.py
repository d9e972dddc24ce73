"""Which value of a window is the largest, and what each value wins, as vector code that keeps results in registers.

A loop over one of a window's places after the other keeps its running maximum in memory: five accesses for each value,
where one is enough.

Operands are addresses, of values of the kind of `like` or, for tables, of int64; tables have one row per place of a
window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lrptool.kernels.lanes import emit_stretch, pointer, size_of, spread

_I64 = ir.IntType(64)
_ENTRY = ir.Constant(_I64, 8)


def _entry(builder: Any, table: Any, k: Any) -> Any:
    """A table's value in some row."""
    address = builder.add(table, builder.mul(k, _ENTRY))
    return builder.load(builder.inttoptr(address, _I64.as_pointer()))


def _loop(builder: Any, count: Any, starts: list[Any], step: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """Emit a loop over `count` ≥ 1 rows that turns running values into others; return the last ones."""
    before = builder.block
    body, behind = (builder.append_basic_block(name) for name in ("row", "rows"))
    builder.branch(body)
    builder.position_at_end(body)
    k = builder.phi(_I64)
    running = [builder.phi(start.type) for start in starts]
    results = step(k, list(running))
    following = builder.add(k, ir.Constant(_I64, 1))
    for phi, start, result in zip([k, *running], [ir.Constant(_I64, 0), *starts], [following, *results], strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(result, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, count), body, behind)
    builder.position_at_end(behind)
    return results


def _converted(builder: Any, number: Any, vector: ir.VectorType) -> Any:
    """A vector of an integer as values."""
    return spread(builder, builder.sitofp(number, vector.element), vector)


@intrinsic
def compete(typingctx, values, offsets, places, winners, count, like):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Write, for each of `count` windows, which of its `places` has the first maximum.

    Values of a place lie `offsets` from `values` on, one per window. A window without any value above −∞ has no winner:
    −1.
    """
    kind = like.dtype

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
        values, offsets, places, winners, count, _ = args
        size = ir.Constant(_I64, size_of(kind))

        def body(vector: ir.VectorType, at: Any) -> None:
            def step(k: Any, running: list[Any]) -> list[Any]:
                best, winner = running
                offset = builder.add(at, builder.mul(_entry(builder, offsets, k), size))
                value = builder.load(pointer(builder, values, offset, vector), align=size_of(kind))
                wins = builder.fcmp_ordered(">", value, best)
                return [
                    builder.select(wins, value, best),
                    builder.select(wins, _converted(builder, k, vector), winner),
                ]

            starts = [ir.Constant(vector, [number] * vector.count) for number in (float("-inf"), -1.0)]
            _, winner = _loop(builder, places, starts, step)
            builder.store(winner, pointer(builder, winners, at, vector), align=size_of(kind))

        emit_stretch(context, builder, kind, count, body, again=True)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5, like), generate


@intrinsic
def collect(typingctx, relevance, winners, shifts, numbers, places, target, count, like):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Write, for each of `count` values, the relevance of the windows it has won.

    It is place `numbers` of the window `shifts` before it, one row for each of the `places` it can have.
    """
    kind = like.dtype

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
        relevance, winners, shifts, numbers, places, target, count, _ = args
        size = ir.Constant(_I64, size_of(kind))

        def body(vector: ir.VectorType, at: Any) -> None:
            zero = ir.Constant(vector, [0.0] * vector.count)

            def step(k: Any, running: list[Any]) -> list[Any]:
                offset = builder.sub(at, builder.mul(_entry(builder, shifts, k), size))
                won, winner = (
                    builder.load(pointer(builder, address, offset, vector), align=size_of(kind))
                    for address in (relevance, winners)
                )
                number = _converted(builder, _entry(builder, numbers, k), vector)
                is_won = builder.fcmp_ordered("==", winner, number)
                return [builder.fadd(running[0], builder.select(is_won, won, zero))]

            (total,) = _loop(builder, places, [zero], step)
            builder.store(total, pointer(builder, target, at, vector), align=size_of(kind))

        emit_stretch(context, builder, kind, count, body, again=True)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7, like), generate
