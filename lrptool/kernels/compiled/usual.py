"""The contest of `lrptool.kernels.compiled.contest` for windows that most networks have, with nothing to look up.

All places are asked one after the other without a loop over them: what each value gets is found four times as fast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lrptool.kernels.compiled.lanes import Lanes, emit_roomy, pointer, same, size_of
from lrptool.kernels.compiled.shuffles import every_second, in_turn

_I64 = ir.IntType(64)


def _make_compete(kernel: int, stride: int) -> Any:
    """Return `compete` for windows of `kernel` rows and columns, `stride` from each other."""

    @intrinsic
    def compete(typingctx, first, second, third, winners, count, like):  # noqa: ARG001

        def generate(context, builder, signature, args):  # noqa: ARG001
            *rows, winners, count, _ = args
            size = size_of(like)

            def body(lanes: Lanes) -> None:
                vector = lanes.vector
                wide = ir.VectorType(vector.element, vector.count * stride)
                begin = builder.mul(lanes.offset, ir.Constant(_I64, stride))
                best, winner = same(vector, float("-inf")), same(vector, -1.0)
                for y, x in np.ndindex(kernel, kernel):
                    offset = builder.add(begin, ir.Constant(_I64, x // stride * stride * size))
                    value = builder.load(pointer(builder, rows[y], offset, wide), align=size)
                    value = every_second(builder, value, x % stride) if stride == 2 else value
                    wins = builder.fcmp_ordered(">", value, best)
                    best = builder.select(wins, value, best)
                    winner = builder.select(wins, same(vector, float(y * kernel + x)), winner)
                lanes.store(winner, winners)

            emit_roomy(context, builder, like, count, body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5, like), generate

    return compete


def _make_collect(kernel: int, stride: int) -> Any:
    """Return `collect_won` for all values of such windows."""
    places = list(np.ndindex(kernel, kernel))

    @intrinsic
    def collect(typingctx, relevance, winners, cols, target, phase, count, like):  # noqa: ARG001

        def generate(context, builder, signature, args):  # noqa: ARG001
            relevance, winners, cols, target, phase, count, _ = args
            size = size_of(like)

            def found(lanes: Lanes, a: int, b: int) -> Any:
                """What values of a phase of rows and one of columns get."""
                zero = total = same(lanes.vector, 0.0)
                for y, x in [place for place in places if (place[0] % stride, place[1] % stride) == (a, b)]:
                    down = builder.mul(cols, ir.Constant(_I64, y // stride * size))
                    back = builder.add(down, ir.Constant(_I64, x // stride * size))
                    winner = lanes.load(builder.sub(winners, back))
                    won = builder.fcmp_ordered("==", winner, same(lanes.vector, float(y * kernel + x)))
                    given = builder.select(won, lanes.load(builder.sub(relevance, back)), zero)
                    total = builder.fadd(total, given)
                return total

            # What the last register of a phase writes beyond it is written again with the next.
            for a in range(stride):

                def body(lanes: Lanes, a: int = a) -> None:
                    values = [found(lanes, a, b) for b in range(stride)]
                    both = in_turn(builder, *values) if stride == 2 else values[0]
                    begin = builder.mul(phase, ir.Constant(_I64, a * size))
                    offset = builder.add(begin, builder.mul(lanes.offset, ir.Constant(_I64, stride)))
                    builder.store(both, pointer(builder, target, offset, both.type), align=size)

                emit_roomy(context, builder, like, count, body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6, like), generate

    return collect


compete_3_2, compete_3_1, compete_2_2 = (_make_compete(*form) for form in ((3, 2), (3, 1), (2, 2)))
"""Write which place of each of `count` windows has the first maximum; −1 where there is none.

Rows of the windows' values begin at `first`, `second` and, where there is one, `third`.
"""

collect_3_2, collect_3_1, collect_2_2 = (_make_collect(*form) for form in ((3, 2), (3, 1), (2, 2)))
"""Write the sum of the relevance of the windows that each value has won, for `count` windows in rows of `cols`.

What the values of a phase of rows get is written from `target` on, that of the next `phase` values behind it.
"""
