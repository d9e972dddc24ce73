"""Stretches of a map, a whole register at a time, as vector code.

Rows of maps are short: a compiler's loop unrolls for long ones and takes what is left value by value, which for a row
of 27 is all of it. Here what is left is one register more, of which only the first values count.

Operands are addresses, of values of the kind of `like`; operands that do not take part may be any that can be read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lrptool.kernels.simd import REGISTER

_BIT, _I32, _I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
_SIZES = {types.float32: 4, types.float64: 8}
_NAMES = {types.float32: "f32", types.float64: "f64"}


def size_of(kind: Any) -> int:
    """Bytes of a value."""
    return _SIZES[kind]


@dataclass(frozen=True, slots=True)
class Lanes:
    """A register's place in a stretch, and which of its values belong to it.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
    kind : type of numba's
    vector : llvmlite.ir.VectorType
    offset : int64 value
        Bytes from the beginning of the stretch.
    mask : vector of bits, optional
        Values that belong to it; all where there is none.
    """

    builder: Any
    kind: Any
    vector: ir.VectorType
    offset: Any
    mask: Any = None

    def load(self, address: Any) -> Any:
        """A register of an operand; zeros where the stretch has ended."""
        place = pointer(self.builder, address, self.offset, self.vector)
        if self.mask is None:
            return self.builder.load(place, align=size_of(self.kind))
        zeros = same(self.vector, 0.0)
        return self._masked("load", self.vector, [place, self._align, self.mask, zeros])

    def store(self, value: Any, address: Any) -> None:
        """Write a register, as far as the stretch goes."""
        place = pointer(self.builder, address, self.offset, self.vector)
        if self.mask is None:
            self.builder.store(value, place, align=size_of(self.kind))
        else:
            self._masked("store", ir.VoidType(), [value, place, self._align, self.mask])

    def collect(self, values: Any, found: Any) -> None:
        """Add the bits of values of the stretch to those found before."""
        bits = self.builder.bitcast(values, found.type.pointee)
        if self.mask is not None:
            bits = self.builder.and_(bits, self.builder.sext(self.mask, bits.type))
        self.builder.store(self.builder.or_(self.builder.load(found), bits), found)

    @property
    def _align(self) -> Any:
        """What addresses are multiples of."""
        return ir.Constant(_I32, size_of(self.kind))

    def _masked(self, name: str, result: Any, arguments: list[Any]) -> Any:
        """Access memory where the mask is set alone."""
        vector = f"v{self.vector.count}{_NAMES[self.kind]}"
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        name = f"llvm.masked.{name}.{vector}.p0{vector}"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), arguments)


def found_bits(builder: Any, kind: Any) -> Any:
    """Return where `Lanes.collect` keeps the bits of values; none yet."""
    integer = ir.IntType(8 * size_of(kind))
    nothing = ir.Constant(ir.VectorType(integer, REGISTER // size_of(kind)), [0] * (REGISTER // size_of(kind)))
    return cgutils.alloca_once_value(builder, nothing)


def some(builder: Any, found: Any) -> Any:
    """Return whether any value was not zero, of whatever sign; NaN is not."""
    bits = builder.load(found)
    one = ir.Constant(bits.type, [1] * bits.type.count)
    whole = builder.bitcast(builder.shl(bits, one), ir.IntType(8 * REGISTER))
    return builder.icmp_unsigned("!=", whole, ir.Constant(whole.type, 0))


Body = Callable[[Lanes], None]
"""Emits the code for one register."""


def emit_stretch(context: Any, builder: Any, kind: Any, count: Any, body: Body) -> None:
    """Emit the loop over whole registers, and the code for one more where something is left."""
    vector = ir.VectorType(context.get_value_type(kind), REGISTER // _SIZES[kind])
    lanes, size = ir.Constant(_I64, vector.count), ir.Constant(_I64, _SIZES[kind])
    whole = builder.and_(count, ir.Constant(_I64, -vector.count))
    with cgutils.for_range_slice(builder, ir.Constant(_I64, 0), whole, lanes, _I64) as (at, _):
        body(Lanes(builder, kind, vector, builder.mul(at, size)))
    with builder.if_then(builder.icmp_signed("!=", whole, count)):
        numbers = ir.Constant(ir.VectorType(_I64, vector.count), list(range(vector.count)))
        mask = builder.icmp_signed("<", numbers, spread(builder, builder.sub(count, whole), numbers.type))
        body(Lanes(builder, kind, vector, builder.mul(whole, size), mask))


def emit_roomy(context: Any, builder: Any, kind: Any, count: Any, body: Body, *, single: bool = False) -> None:
    """Emit the loop over registers for a stretch that has room behind it for a whole register.

    A `single` value at a time is for what registers cannot take.
    """
    vector = ir.VectorType(context.get_value_type(kind), 1 if single else REGISTER // _SIZES[kind])
    lanes, size = ir.Constant(_I64, vector.count), ir.Constant(_I64, _SIZES[kind])
    with cgutils.for_range_slice(builder, ir.Constant(_I64, 0), count, lanes, _I64) as (at, _):
        body(Lanes(builder, kind, vector, builder.mul(at, size)))


def emit_loop(
    builder: Any, low: Any, high: Any, starts: list[Any], step: Callable[[Any, list[Any]], list[Any]]
) -> list[Any]:
    """Emit a loop over numbers [low, high) that turns running values into others; return the last ones."""
    before = builder.block
    body, behind = (builder.append_basic_block(name) for name in ("row", "rows"))
    builder.cbranch(builder.icmp_signed("<", low, high), body, behind)
    builder.position_at_end(body)
    k = builder.phi(_I64)
    running = [builder.phi(start.type) for start in starts]
    results = step(k, list(running))
    following = builder.add(k, ir.Constant(_I64, 1))
    for phi, start, result in zip([k, *running], [low, *starts], [following, *results], strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(result, builder.block)
    last = builder.block
    builder.cbranch(builder.icmp_signed("<", following, high), body, behind)
    builder.position_at_end(behind)
    ends = [builder.phi(start.type) for start in starts]
    for end, start, result in zip(ends, starts, results, strict=True):
        end.add_incoming(start, before)
        end.add_incoming(result, last)
    return ends


def pointer(builder: Any, address: Any, offset: Any, vector: ir.VectorType) -> Any:
    """A pointer to a vector."""
    return builder.inttoptr(builder.add(address, offset), vector.as_pointer())


def same(vector: ir.VectorType, value: float) -> Any:
    """A constant vector of one value."""
    return ir.Constant(vector, [value] * vector.count)


def spread(builder: Any, scalar: Any, vector: ir.VectorType) -> Any:
    """A vector of one value."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count))


@intrinsic
def copy_lanes(typingctx, source, target, count, like):  # noqa: ARG001
    """Write what is at `source` to `target`; the two do not overlap."""

    def generate(context, builder, signature, args):  # noqa: ARG001
        source, target, count, _ = args
        emit_stretch(context, builder, like, count, lambda lanes: lanes.store(lanes.load(source), target))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3, like), generate
