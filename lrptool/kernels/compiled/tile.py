"""The innermost loop, emitted as vector code: a tile of outputs kept in registers.

    tile[m, v] = Σ_k weights[places[k], m] · source[offsets[k] + v]

for `rows` weights m and `vecs` registers of neighbouring positions v. Every step of the sum loads `vecs` vectors,
broadcasts `rows` weights and does rows × vecs multiply-adds; nothing is stored before the end. numba's own vectoriser
reaches a third of this speed, because it keeps the accumulators in memory.

A turned tile has it the other way round: positions m are broadcast, and registers hold weights v of neighbouring
channels. Small maps fill it better.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lrptool.kernels.compiled.near import LINE, emit_prefetch
from lrptool.kernels.simd import Simd

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_AHEAD = 40
"""Terms whose weights are on their way: a block of weights is more than the first cache holds."""
ELEMENT = {types.float32: (ir.FloatType(), "f32"), types.float64: (ir.DoubleType(), "f64")}


def multiply_add(builder: Any, vector: Any, suffix: str, *, fused: bool) -> Callable[[Any, Any, Any], Any]:
    """Return the emitter of a · b + c."""
    if not fused:
        return lambda a, b, c: builder.fadd(builder.fmul(a, b), c)
    name = f"llvm.fma.v{vector.count}{suffix}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
    return lambda a, b, c: builder.call(function, [a, b, c])


def _emit(
    builder: Any, args: Any, element: Any, suffix: str, shape: tuple[int, int, int], *, fused: bool, turned: bool
) -> None:
    """Emit the loop over k and the stores behind it; the shape is rows, vectors and their lanes."""
    rows, vecs, lanes = shape
    weights, source, offsets, places, terms, before, out, apart = args
    vector = ir.VectorType(element, lanes)
    undefined = ir.Constant(vector, ir.Undefined)
    first_lane = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
    align = 4 if suffix == "f32" else 8
    added = multiply_add(builder, vector, suffix, fused=fused)

    def at(pointer: Any, index: int) -> Any:
        return builder.bitcast(builder.gep(pointer, [ir.Constant(_I64, index)]), vector.as_pointer())

    entry, function = builder.block, builder.function
    results = [builder.gep(out, [builder.mul(apart, ir.Constant(_I64, m))]) for m in range(rows)]
    more, body, done = (function.append_basic_block(name) for name in ("more", "terms", "store"))
    builder.cbranch(cgutils.is_not_null(builder, before), more, body)
    builder.position_at_end(more)
    held = [builder.load(at(row, v * lanes), align=align) for row in results for v in range(vecs)]
    builder.branch(body)
    builder.position_at_end(body)
    k = builder.phi(_I64)
    sums = [builder.phi(vector) for _ in held]
    nothing = ir.Constant(vector, [0.0] * lanes)
    for phi, old, new in [
        (k, ir.Constant(_I64, 0), ir.Constant(_I64, 0)),
        *((*pair, nothing) for pair in zip(sums, held, strict=True)),
    ]:
        phi.add_incoming(old, more)
        phi.add_incoming(new, entry)
    shifted = builder.gep(source, [builder.load(builder.gep(offsets, [k]))])
    each = vecs * lanes if turned else rows
    place = builder.mul(builder.load(builder.gep(places, [k])), ir.Constant(_I64, each))
    weight = builder.gep(weights, [place])
    for value in range(0, each, LINE // align):
        ahead = builder.gep(weight, [ir.Constant(_I64, _AHEAD * each + value)])
        emit_prefetch(builder, ahead, into_first=True)
    wide, single = (weight, shifted) if turned else (shifted, weight)
    loaded = [builder.load(at(wide, v * lanes), align=align) for v in range(vecs)]
    totals = []
    for m in range(rows):
        scalar = builder.load(builder.gep(single, [ir.Constant(_I64, m)]))
        spread = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
        spread = builder.shuffle_vector(spread, undefined, first_lane)
        totals += [added(spread, loaded[v], sums[m * vecs + v]) for v in range(vecs)]
    following = builder.add(k, ir.Constant(_I64, 1))
    for phi, value in [(k, following), *zip(sums, totals, strict=True)]:
        phi.add_incoming(value, body)
    builder.cbranch(builder.icmp_signed("<", following, terms), body, done)
    builder.position_at_end(done)
    for index, total in enumerate(totals):
        builder.store(total, at(results[index // vecs], index % vecs * lanes), align=align)


def make_tile(rows: int, vecs: int, simd: Simd, *, turned: bool = False) -> Any:
    """Return the tile as a function numba can call.

    The function takes pointers to weights (·, rows), source, int64 offsets (K,) and places (K,), the number of terms
    K ≥ 1, how many came before, a pointer to where results go, and how many values one row's lie behind those of the
    row before. Results are rows × (vecs · lanes), added to what is there if any term came before. It reads `vecs` whole
    registers from every offset on: the source needs that much room behind its last value. float32, or float64 with half
    the lanes.

    Where it is turned, weights are (·, vecs · lanes), and `rows` values are read from every offset on.
    """

    @intrinsic
    def tile(typingctx, weights, source, offsets, places, terms, before, out, apart):  # noqa: ARG001
        element, suffix = ELEMENT[weights.dtype]
        lanes = simd.lanes if suffix == "f32" else simd.lanes // 2

        def generate(context, builder, signature, args):  # noqa: ARG001
            _emit(builder, args, element, suffix, (rows, vecs, lanes), fused=simd.fused, turned=turned)
            return context.get_dummy_value()

        return types.void(weights, source, offsets, places, terms, before, out, types.int64), generate

    return tile
