"""Which value of a window is the largest, and what each value gets from its windows, as vector code.

A loop over one of a window's places after the other keeps its running maximum in memory: five accesses for each value,
where one is enough.

Maps lie in rows of as many values as windows fit in, times the stride: then the values that one place of the windows
meets are every stride-th of a flat vector, and so are the values whose windows are the same.

What is written may end up to a register later, and what is read is there that far.

Operands are addresses, of values of the kind of `like` or, for tables of offsets, of int64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lrptool.kernels.compiled.lanes import Lanes, emit_loop, emit_roomy, pointer, same, size_of, spread
from lrptool.kernels.compiled.shuffles import every_second, in_turn

_I64 = ir.IntType(64)
_ENTRY = ir.Constant(_I64, 8)
_SHUFFLED = (1, 2)
"""Strides whose values are taken a register at a time; with others it is one value after the other."""


def _entry(builder: Any, table: Any, k: Any) -> Any:
    """A table's value in some row."""
    address = builder.add(table, builder.mul(k, _ENTRY))
    return builder.load(builder.inttoptr(address, _I64.as_pointer()))


def _number(builder: Any, table: Any, k: Any, vector: ir.VectorType, size: Any) -> Any:
    """A register of the value in some row of a table of values: comparing takes it from memory as it is."""
    address = builder.add(table, builder.mul(k, size))
    return spread(builder, builder.load(builder.inttoptr(address, vector.element.as_pointer())), vector)


def _by_stride(
    context: Any, builder: Any, kind: Any, count: Any, stride: Any, body: Callable[[int, Lanes], None]
) -> None:
    """Emit a stretch once for every stride that is taken a register at a time, and once value by value for the rest.

    The first argument of `body` is the stride, or 0 for any other.
    """
    behind = builder.append_basic_block("behind")
    for known in _SHUFFLED:
        then, other = (builder.append_basic_block(name) for name in ("this", "other"))
        builder.cbranch(builder.icmp_signed("==", stride, ir.Constant(_I64, known)), then, other)
        builder.position_at_end(then)
        emit_roomy(context, builder, kind, count, partial(body, known))
        builder.branch(behind)
        builder.position_at_end(other)
    emit_roomy(context, builder, kind, count, partial(body, 0), single=True)
    builder.branch(behind)
    builder.position_at_end(behind)


def _wide(vector: ir.VectorType, known: int) -> ir.VectorType:
    """The vector that holds a register of values of every place within a stride."""
    return ir.VectorType(vector.element, vector.count * max(1, known))


@intrinsic
def compete(typingctx, values, offsets, numbers, places, winners, count, stride, like):  # noqa: ARG001
    """Write, for each of `count` windows, which of its `places` has the first maximum.

    Values of a place lie `offsets`, one row for each, from `values` on, `stride` from window to window; `numbers` are
    values that stand for the places, none of them negative. A window without any value above −∞ has no winner: −1.
    """

    def generate(context, builder, signature, args):  # noqa: ARG001
        values, offsets, numbers, places, winners, count, stride, _ = args
        size = ir.Constant(_I64, size_of(like))

        def body(known: int, lanes: Lanes) -> None:
            vector, first = lanes.vector, builder.mul(lanes.offset, stride)

            def step(k: Any, running: list[Any]) -> list[Any]:
                best, winner = running
                offset = builder.add(first, builder.mul(_entry(builder, offsets, k), size))
                value = builder.load(pointer(builder, values, offset, _wide(vector, known)), align=size_of(like))
                value = every_second(builder, value, 0) if known == 2 else value
                wins = builder.fcmp_ordered(">", value, best)
                return [
                    builder.select(wins, value, best),
                    builder.select(wins, _number(builder, numbers, k, vector, size), winner),
                ]

            starts = [same(vector, number) for number in (float("-inf"), -1.0)]
            _, winner = emit_loop(builder, ir.Constant(_I64, 0), places, starts, step)
            lanes.store(winner, winners)

        _by_stride(context, builder, like, count, stride, body)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7, like), generate


def _collected(lanes: Lanes, operands: Sequence[Any], rows: tuple[Any, Any]) -> Any:
    """A register of what values get from their windows; `rows` of the tables say which these are."""
    relevance, winners, shifts, numbers = operands
    builder, vector, size = lanes.builder, lanes.vector, ir.Constant(_I64, size_of(lanes.kind))
    zero = same(vector, 0.0)

    def step(k: Any, running: list[Any]) -> list[Any]:
        back = builder.mul(_entry(builder, shifts, k), size)
        found = lanes.load(builder.sub(relevance, back))
        if winners is not None:
            winner = lanes.load(builder.sub(winners, back))
            number = _number(builder, numbers, k, vector, size)
            found = builder.select(builder.fcmp_ordered("==", winner, number), found, zero)
        return [builder.fadd(running[0], found)]

    (total,) = emit_loop(builder, *rows, [zero], step)
    return total


def _make_collect(*, won: bool) -> Any:
    """Return what sums the relevance of windows for each of their values, or of those windows alone that it has won."""

    @intrinsic
    def collect(typingctx, relevance, winners, shifts, numbers, low, middle, high, target, count, stride, like):  # noqa: ARG001

        def generate(context, builder, signature, args):  # noqa: ARG001
            relevance, winners, shifts, numbers, low, middle, high, target, count, stride, _ = args
            operands = (relevance, winners if won else None, shifts, numbers)

            def body(known: int, lanes: Lanes) -> None:
                found = _collected(lanes, operands, (low, middle))
                if known == 2:
                    found = in_turn(builder, found, _collected(lanes, operands, (middle, high)))
                place = pointer(builder, target, builder.mul(lanes.offset, stride), found.type)
                builder.store(found, place, align=size_of(like))

            _by_stride(context, builder, like, count, stride, body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 10, like), generate

    return collect


collect_won, collect_all = _make_collect(won=True), _make_collect(won=False)
"""Write, for every stride-th of the values from `target` on, the sum of the relevance of `count` windows each.

Such a value is place `numbers` of the window `shifts` before it, in rows [low, middle) of these tables, of which the
first holds values. With a stride of 2 rows [middle, high) are for the values between.
"""
