"""What threads agree through: counters, and a pause while waiting."""

from __future__ import annotations

import os

from numba import types
from numba.extending import intrinsic

from lrptool.kernels.jit import kernel

PIECES_PER_THREAD = 12
"""Pieces a task is cut into per thread: small enough to even out, large enough to keep neighbours in one cache."""

_PATIENCE = 4096
"""Looks at a counter before a waiting thread offers its core to others."""


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


_offer_core = types.ExternalFunction("sched_yield", types.int32()) if hasattr(os, "sched_yield") else None


@kernel()
def wait_for(counters, index, amount):  # type: ignore[no-untyped-def]
    """Return when a counter has reached an amount."""
    looks = 0
    while look(counters, index) < amount:
        looks += 1
        if looks % _PATIENCE == 0 and _offer_core is not None:
            _offer_core()
