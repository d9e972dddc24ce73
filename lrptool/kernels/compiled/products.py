"""Products, whichever way they are computed: machine code of its own, which the parallel region calls by name."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lrptool.kernels.compiled.bare import reader
from lrptool.kernels.compiled.jit import kernel
from lrptool.kernels.compiled.pieces.product import product_pieces
from lrptool.kernels.compiled.pieces.scattered import scattered_pieces
from lrptool.kernels.compiled.pieces.winograd import winograd_pieces
from lrptool.kernels.machine_code import SYMBOLS
from lrptool.kernels.records import FILTERED, FRAME, PRODUCT, SCATTERED, TABLES

_read_frame, _read_product = reader(FRAME), reader(TABLES[PRODUCT])


@kernel
def products(like, task, frame, begin, end):
    """Compute pieces [begin, end) of the product whose record is at an address, for the thread whose frame is."""
    product, frame = _read_product(task, 0), _read_frame(frame, 0)
    if product.method == FILTERED:
        winograd_pieces(product, frame, begin, end, like)
    elif product.method == SCATTERED:
        scattered_pieces(product, frame, begin, end, like)
    else:
        product_pieces(product, frame, begin, end, like)
    return 0


@intrinsic
def call_products(typingctx, like, task, frame, begin, end):  # noqa: ARG001
    """Call `products`, wherever its machine code is."""

    def generate(context, builder, signature, args):  # noqa: ARG001
        kind = ir.FunctionType(ir.IntType(64), [argument.type for argument in args])
        function = cgutils.get_or_insert_function(builder.module, kind, f"{SYMBOLS}products_{like}")
        return builder.call(function, args)

    return types.int64(like, *[types.int64] * 4), generate
