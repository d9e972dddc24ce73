"""Work that threads take from counters: a thread that is held up costs its own piece, not everybody's."""

from __future__ import annotations

from numba import types
from numba.extending import intrinsic

PIECES_PER_THREAD = 6
"""Pieces a step is cut into per thread: small enough to even out, large enough to keep neighbours in one cache."""


@intrinsic
def take(typingctx, counters, index, amount):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Add `amount` to item `index` of an int64 array and return what it was, atomically."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        wide = [
            context.cast(builder, arg, of, types.int64) for arg, of in zip(args[1:], signature.args[1:], strict=True)
        ]
        return builder.atomic_rmw("add", builder.gep(data, [wide[0]]), wide[1], "seq_cst")

    return types.int64(counters, index, amount), generate


@intrinsic
def look(typingctx, counters, index):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Return item `index` of an int64 array as other threads last left it."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        wide = context.cast(builder, args[1], signature.args[1], types.int64)
        return builder.load_atomic(builder.gep(data, [wide]), "acquire", 8)

    return types.int64(counters, index), generate


APART = 8
"""Counters stand this far apart: a cache line each."""
