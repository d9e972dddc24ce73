"""Which of some neighbouring values are not zero, as the bits of a number."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lrptool.kernels.compiled.lanes import size_of
from lrptool.kernels.scratch import BITS

_I1, _I64 = ir.IntType(1), ir.IntType(64)


@intrinsic
def bits_of(typingctx, address, like):  # noqa: ARG001
    """Return whether `BITS` values from an address on are not zero, as NaN is not: as bits, the first is the lowest."""

    def generate(context, builder, signature, args):  # noqa: ARG001
        vector = ir.VectorType(context.get_value_type(like), BITS)
        values = builder.load(builder.inttoptr(args[0], vector.as_pointer()), align=size_of(like))
        found = builder.fcmp_unordered("!=", values, ir.Constant(vector, [0.0] * BITS))
        return builder.zext(builder.bitcast(found, ir.IntType(BITS)), _I64)

    return types.uint64(types.int64, like), generate


@intrinsic
def lowest(typingctx, bits):  # noqa: ARG001
    """Return the number of the lowest bit that is set; one has to be."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_I64, [_I64, _I1]), "llvm.cttz.i64")
        return builder.call(function, [args[0], ir.Constant(_I1, 1)])

    return types.uint64(types.uint64), generate
