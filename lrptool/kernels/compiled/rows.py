"""Rows of a tile: results times a part of x, and fractions of relevance, as vector code.

A tile has a dozen rows of two registers each. Whatever is asked about a row takes as long as its arithmetic, so it is
asked once for all rows, and the forms that nearly all layers have get loops of their own.

`places` are addresses of operands' first rows, of values of the kind of `like`, and `apart` how many bytes their next
rows lie behind; operands that do not take part may be any that can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lrptool.kernels.compiled.lanes import Lanes, emit_stretch, found_bits, same, some, spread
from lrptool.kernels.records import EVERYWHERE, NEGATIVE, POSITIVE, REST

_BYTE, _BIT, _I64 = ir.IntType(8), ir.IntType(1), ir.IntType(64)
_ADDRESSES = types.UniTuple(types.int64, 4)
_NAMES = {types.float32: "f32", types.float64: "f64"}


def _is(builder: Any, scalar: Any, value: int) -> Any:
    """Whether an integer is some value."""
    return builder.icmp_signed("==", scalar, ir.Constant(scalar.type, value))


def _in_each_row(builder: Any, rows: Any, places: Any, apart: Any, body: Callable[[Any, Sequence[Any]], None]) -> None:
    """Emit a loop over rows; the body gets the row's number and its operands' addresses."""
    operands = list(zip(cgutils.unpack_tuple(builder, places), cgutils.unpack_tuple(builder, apart), strict=True))
    with cgutils.for_range(builder, rows, intp=_I64) as loop:
        body(loop.index, [builder.add(first, builder.mul(loop.index, step)) for first, step in operands])


def _factor(builder: Any, x: Any, part: Any) -> Any:
    """The part of x, numbered as in `records`."""
    zero, one = same(x.type, 0.0), same(x.type, 1.0)
    # NaN stays what it is: relevance that is not finite is to be found.
    positive = builder.select(builder.fcmp_ordered("<=", x, zero), zero, x)
    negative = builder.select(builder.fcmp_ordered(">=", x, zero), zero, x)
    signed = builder.select(_is(builder, part, 2), positive, builder.select(_is(builder, part, 3), negative, x))
    return builder.select(_is(builder, part, 0), one, signed)


def _multiply_add(builder: Any, a: Any, b: Any, c: Any, kind: Any) -> Any:
    """Return a · b + c, rounded once on processors that can, and twice on others."""
    name = f"llvm.fmuladd.v{a.type.count}{_NAMES[kind]}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type] * 3), name)
    return builder.call(function, [a, b, c])


@intrinsic
def weigh_lanes(typingctx, places, apart, rows, count, part, accumulate, like):  # noqa: ARG001
    """Write values · the part of x, plus what is in `old` if `accumulate`, to a target, for `rows` of `count` values.

    Operands are values, x, old and target.
    """

    def generate(context, builder, signature, args):  # noqa: ARG001
        places, apart, rows, count, part, accumulate, _ = args
        whole, adds = _is(builder, part, 1), cgutils.is_not_null(builder, accumulate)

        def emit(weighed: Callable[[Any, Any, Callable[[], Any]], Any]) -> None:
            def row(_: Any, at: Sequence[Any]) -> None:
                def body(lanes: Lanes) -> None:
                    values, factor = (lanes.load(place) for place in at[:2])
                    lanes.store(weighed(values, factor, lambda: lanes.load(at[2])), at[3])

                emit_stretch(context, builder, like, count, body)

            _in_each_row(builder, rows, places, apart, row)

        def any_form(values: Any, factor: Any, before: Callable[[], Any]) -> Any:
            # One rounding wherever there is one, two where there are two: a stretch may be cut anywhere, and its rest
            # is other code. Left to the compiler, one of them is fused and the other is not.
            factor = _factor(builder, factor, part)
            added = _multiply_add(builder, values, factor, before(), like)
            return builder.select(adds, added, builder.fmul(values, factor))

        with builder.if_else(builder.and_(whole, builder.not_(adds))) as (usual, other):
            with usual:
                emit(lambda values, factor, _: builder.fmul(values, factor))
            with other:
                emit(any_form)
        return context.get_dummy_value()

    return types.void(_ADDRESSES, _ADDRESSES, *[types.int64] * 4, like), generate


def _away_from_zero(builder: Any, d: Any, epsilon: Any) -> Any:
    """Epsilon with the denominator's sign; sign(0) = +1."""
    return builder.select(
        builder.fcmp_ordered("<", d, same(d.type, 0.0)), builder.fsub(same(d.type, -0.0), epsilon), epsilon
    )


def _stable(builder: Any, d: Any, epsilon: Any, clip: Any) -> Any:
    """The denominator kept away from zero."""
    signed = _away_from_zero(builder, d, epsilon)
    size = builder.select(builder.fcmp_ordered("<", d, same(d.type, 0.0)), builder.fsub(same(d.type, -0.0), d), d)
    small = builder.fcmp_ordered("<", size, epsilon)
    return builder.select(clip, builder.select(small, signed, d), builder.fadd(d, signed))


@intrinsic
def fraction_lanes(typingctx, places, apart, alive, rows, count, epsilon, coefficient, form, like):  # noqa: ARG001
    """Write coefficient · r / (den ± epsilon) to a target: zero where z has the other sign, or with z − den for den.

    Operands are r, den, z and target; the form is whether to clip, where, and whether to divide, see `Fraction`. Bytes
    from address `alive` on, if there is one, are set to 1 for `rows` of `count` values that are not all zero; NaN is
    not, so that it is not taken for dead.
    """

    def generate(context, builder, signature, args):  # noqa: ARG001
        places, apart, alive, rows, count, epsilon, coefficient, form, _ = args
        clip, where, normalised = cgutils.unpack_tuple(builder, form)
        clipped, divides = cgutils.is_not_null(builder, clip), cgutils.is_not_null(builder, normalised)

        def emit(fraction: Callable[[Any, Any, Callable[[], Any]], Any]) -> None:
            def row(number: Any, at: Sequence[Any]) -> None:
                found = found_bits(builder, like)

                def body(lanes: Lanes) -> None:
                    r = builder.fmul(lanes.load(at[0]), spread(builder, coefficient, lanes.vector))
                    s = fraction(r, lanes.load(at[1]), lambda: lanes.load(at[2]))
                    lanes.store(s, at[3])
                    lanes.collect(s, found)

                emit_stretch(context, builder, like, count, body)
                with builder.if_then(builder.and_(some(builder, found), cgutils.is_not_null(builder, alive))):
                    flag = builder.inttoptr(builder.add(alive, number), _BYTE.as_pointer())
                    builder.store(ir.Constant(_BYTE, 1), flag)

            _in_each_row(builder, rows, places, apart, row)

        def shifted(r: Any, d: Any, _: Callable[[], Any]) -> Any:
            return builder.fdiv(r, builder.fadd(d, _away_from_zero(builder, d, spread(builder, epsilon, d.type))))

        def rest(r: Any, d: Any, whole: Callable[[], Any]) -> Any:
            return shifted(r, builder.fsub(whole(), d), whole)

        def any_form(r: Any, d: Any, sign: Callable[[], Any]) -> Any:
            d = builder.select(_is(builder, where, REST), builder.fsub(sign(), d), d)
            stable = _stable(builder, d, spread(builder, epsilon, d.type), clipped)
            s = builder.fdiv(r, builder.select(divides, stable, same(d.type, 1.0)))
            zero, z = same(d.type, 0.0), sign()
            for number, wrong in ((POSITIVE, "<="), (NEGATIVE, ">=")):
                asked = spread(builder, _is(builder, where, number), ir.VectorType(_BIT, d.type.count))
                s = builder.select(builder.and_(builder.fcmp_ordered(wrong, z, zero), asked), zero, s)
            return s

        usual_form = builder.and_(divides, builder.not_(clipped))
        with builder.if_else(builder.and_(usual_form, _is(builder, where, EVERYWHERE))) as (usual, other):
            with usual:
                emit(shifted)
            with other, builder.if_else(builder.and_(usual_form, _is(builder, where, REST))) as (left, any_other):
                with left:
                    emit(rest)
                with any_other:
                    emit(any_form)
        return context.get_dummy_value()

    given = (_ADDRESSES, _ADDRESSES, *[types.int64] * 3, like, like, types.UniTuple(types.int64, 3), like)
    return types.void(*given), generate
