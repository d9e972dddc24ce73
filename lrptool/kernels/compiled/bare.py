"""Operands at bare addresses: what kernels hand on to one another.

An array among a kernel's arguments is seven arguments, and whoever gets it counts its readers: on the way from a tile
to the maps it is stored in that took longer than a tile of few terms. So kernels are handed addresses, and what kind of
values lie there is told by `like`: a zero of that kind, which takes up no more than a register.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype

from lrptool.kernels.compiled.jit import kernel
from lrptool.kernels.compiled.lanes import size_of
from lrptool.kernels.records import SPOT

_I64 = ir.IntType(64)


def reader(record: np.dtype[Any]) -> Any:
    """Return the function of (address, row) that gives a row of a table of such records."""
    kind, size = from_dtype(record), ir.Constant(_I64, record.itemsize)

    @intrinsic
    def read(typingctx, table, row):  # noqa: ARG001
        def generate(context, builder, signature, args):  # noqa: ARG001
            table, row = args
            return builder.inttoptr(builder.add(table, builder.mul(row, size)), context.get_value_type(kind))

        return kind(types.int64, types.int64), generate

    return read


@intrinsic
def item_size(typingctx, like):  # noqa: ARG001
    """Return the bytes of a value of the kind of `like`."""
    size = ir.Constant(_I64, size_of(like))
    return types.int64(like), lambda *_: size


@intrinsic
def as_kind(typingctx, value, like):  # noqa: ARG001
    """Return a number as one of the kind of `like`."""

    def generate(context, builder, signature, args):
        return context.cast(builder, args[0], signature.args[0], signature.return_type)

    return like(value, like), generate


@intrinsic
def pointer_at(typingctx, address, like):  # noqa: ARG001
    """Return an address as a pointer to values of the kind of `like`."""

    def generate(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(like)(types.int64, like), generate


@kernel
def set_all(address, count, value):
    """Write a value `count` times."""
    values = pointer_at(address, value)
    for k in range(count):
        values[k] = value


_read_spot = reader(SPOT)


@kernel
def address_at(frame, place, item, skip, like):
    """Return where value `skip` of an item lies, of a place by its number."""
    spot = _read_spot(frame.spots, place)
    return spot.address + item * spot.apart + skip * item_size(like)


@kernel
def values_at(frame, place, item, skip, like):
    """Return a pointer to value `skip` of a place's item."""
    return pointer_at(address_at(frame, place, item, skip, like), like)
