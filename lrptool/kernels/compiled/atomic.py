"""What threads agree through: counters, and a pause while waiting."""

from __future__ import annotations

import os

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lrptool.kernels.compiled.jit import kernel

PIECES_PER_THREAD = 12
"""Pieces a task is cut into per thread: small enough to even out, large enough to keep neighbours in one cache."""

_PATIENCE = 4096
"""Looks at a counter before a waiting thread offers its core to others."""
_COUNTER = ir.IntType(64)


@intrinsic
def take(typingctx, address, amount):  # noqa: ARG001
    """Add `amount` to the int64 at an address and return what it was, atomically."""

    def generate(context, builder, signature, args):  # noqa: ARG001
        return builder.atomic_rmw("add", builder.inttoptr(args[0], _COUNTER.as_pointer()), args[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def _look(typingctx, address):  # noqa: ARG001
    """Return the int64 at an address as other threads last left it."""

    def generate(context, builder, signature, args):  # noqa: ARG001
        return builder.load_atomic(builder.inttoptr(args[0], _COUNTER.as_pointer()), "acquire", 8)

    return types.int64(types.int64), generate


_offer_core = types.ExternalFunction("sched_yield", types.int32()) if hasattr(os, "sched_yield") else None


@kernel
def wait_for(counter, amount):
    """Return when the counter at an address has reached an amount."""
    looks = 0
    while _look(counter) < amount:
        looks += 1
        if looks % _PATIENCE == 0 and _offer_core is not None:
            _offer_core()
