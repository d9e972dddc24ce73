"""R / stabilised denominator, written straight into the zero-padded planes of the product behind."""

from __future__ import annotations

import numpy as np

from lrptool.kernels.atomic import address_at, address_of, array_at, values_at
from lrptool.kernels.jit import kernel
from lrptool.kernels.lanes import fraction_lanes

NOTHING, SINGLE = np.int64(0), np.int64(1)
"""Numbers as arguments: a literal would be part of a kernel's type, and have it compiled once more."""


@kernel()
def fractions_of(task, item, skip, places, bases, out):  # type: ignore[no-untyped-def]
    """Fill `out` with a task's fractions of one item, from value `skip` of it on; see `Fraction`."""
    r = address_at(places[task.r], item, skip, bases, out)
    den, z, epsilon = _operands(task, item, skip, r, places, bases, out)
    _fractions(task, r, den, z, epsilon, address_of(out), out.size, out)


@kernel()
def _operands(task, item, skip, r, places, bases, like):  # type: ignore[no-untyped-def]
    """Return where a fraction's denominators and pre-activations are, and its epsilon; `r` for what it has not."""
    den = address_at(places[task.den], item, skip, bases, like) if task.normalised else r
    z = address_at(places[task.z], item, skip, bases, like) if task.where else r
    epsilon = values_at(places[task.epsilon], item, 0, 1, bases, like)[0] if task.normalised else like.dtype.type(0)
    return den, z, epsilon


@kernel()
def _fractions(task, r, den, z, epsilon, target, count, like):  # type: ignore[no-untyped-def]
    """Write a task's fractions of operands at some addresses; return whether anything is not zero."""
    coefficient = like.dtype.type(task.coefficient)
    return fraction_lanes(r, den, z, target, count, epsilon, coefficient, task.clip, task.where, task.normalised, like)


@kernel()
def _clear(address, count, like):  # type: ignore[no-untyped-def]
    """Write zeros."""
    values = array_at(address, count, like)
    for k in range(count):
        values[k] = 0


@kernel()
def clear_around(task, plane, y, x, count, like):  # type: ignore[no-untyped-def]
    """Write zeros around a stretch of a map's row in its plane: what lies between it and its neighbours.

    Above the map comes with its first value, what is left and right of a row with that row's last, and below with the
    last of all.
    """
    item = like.itemsize
    if y == 0 and x == 0:
        _clear(plane, task.top * task.cols + task.left, like)
    if x + count == task.width:
        end = (task.top + y) * task.cols + task.left + task.width
        following = task.plane_values if y == task.height - 1 else end + task.cols - task.width
        _clear(plane + end * item, following - end, like)


@kernel()
def _stretch(task, p, left):  # type: ignore[no-untyped-def]
    """Where value p of a map lies in its plane, how many of the `left` following lie behind it, and p's row and column.

    Row and column are 0 where planes are columnar.
    """
    if task.column:
        column = p // task.column
        at = column * task.slots * task.column + p - column * task.column
        return at, min(left, (column + 1) * task.column - p), 0, 0
    y = p // task.width
    x = p - y * task.width
    return (task.top + y) * task.cols + task.left + x, min(left, task.width - x), y, x


@kernel()
def _slot(task, c):  # type: ignore[no-untyped-def]
    """Number of a channel's plane among an item's, and where the plane begins."""
    if task.groups == 1:
        number, group = task.slot + c, 0
    else:
        each = task.channels // task.groups
        group = c // each
        number = group * task.slots + task.slot + c - group * each
    if task.column:
        return number, group * task.plane_values + (number - group * task.slots) * task.column
    return number, number * task.plane_values


@kernel()
def hand_on(task, n, channel, channels, begin, r, x, apart, count, places, bases, flags, like):  # type: ignore[no-untyped-def]
    """Write the fractions of a stretch of some channels' maps of relevance into their planes.

    `task` is a record of packing, whose channel 0 is channel `shift` here; relevance is at address `r`, that of the
    following channel `apart` from it; with `den_is_x` or `z_is_x` these are at address `x`, likewise. Stretches may be
    handed on in any order; who hands on the ends of rows clears what lies between.
    """
    item, size = like.itemsize, task.height * task.width
    low, high = max(channel, task.shift), min(channel + channels, task.shift + task.channels)
    done = 0
    while done < count and low < high:
        p = begin + done
        at, met, row, col = _stretch(task, p, count - done)
        source = r + (low - channel) * apart + done * item
        den, z, epsilon = _operands(task, n, (low - task.shift) * size + p, source, places, bases, like)
        den_apart = size * item if task.normalised else apart
        z_apart = size * item if task.where else apart
        known = x + (low - channel) * apart + done * item
        den, den_apart = (known, apart) if task.den_is_x else (den, den_apart)
        z, z_apart = (known, apart) if task.z_is_x else (z, z_apart)
        for c in range(low - task.shift, high - task.shift):
            number, first = _slot(task, c)
            plane = address_at(places[task.planes], n, first, bases, like)
            if not task.column:
                clear_around(task, plane, row, col, met, like)
            if _fractions(task, source, den, z, epsilon, plane + at * item, met, like):
                flags[task.flags + n * task.groups * task.slots + number] = 1
            source, den, z = source + apart, den + den_apart, z + z_apart
        done += met
