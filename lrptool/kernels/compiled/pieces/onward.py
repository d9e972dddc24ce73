"""R / stabilised denominator, written straight into the zero-padded planes of the product behind."""

from __future__ import annotations

import numpy as np

from lrptool.kernels.compiled.bare import address_at, as_kind, item_size, reader, set_all, values_at
from lrptool.kernels.compiled.jit import kernel
from lrptool.kernels.compiled.rows import fraction_lanes
from lrptool.kernels.records import PACK, TABLES

NOTHING, SINGLE = np.int64(0), np.int64(1)
"""Numbers as arguments: a literal would be part of a kernel's type, and have it compiled once more."""

_read_pack = reader(TABLES[PACK])


@kernel
def fractions_of(task, frame, item, skip, out, count, like):
    """Write `count` of a task's fractions of one item, from its value `skip` on, to address `out`; see `Fraction`."""
    r = address_at(frame, task.r, item, skip, like)
    fractions_at(task, frame, item, skip, NOTHING, r, NOTHING, out, NOTHING, SINGLE, count, like)


@kernel
def fractions_at(task, frame, item, skip, size, r, apart, out, out_apart, rows, count, like):
    """Write a task's fractions of relevance at address `r`, of `rows` maps of a size, from their value `skip` on."""
    den, z, epsilon = _operands(task, frame, item, skip, r, like)
    step = size * item_size(like)
    den_apart, z_apart = step if task.normalised else apart, step if task.where else apart
    _fractions(task, (r, den, z, out), (apart, den_apart, z_apart, out_apart), NOTHING, rows, count, epsilon, like)


@kernel
def _operands(task, frame, item, skip, r, like):
    """Return where a fraction's denominators and pre-activations are, and its epsilon; `r` for what it has not."""
    den = address_at(frame, task.den, item, skip, like) if task.normalised else r
    z = address_at(frame, task.z, item, skip, like) if task.where else r
    epsilon = values_at(frame, task.epsilon, item, 0, like)[0] if task.normalised else like
    return den, z, epsilon


@kernel
def _fractions(task, operands, apart, alive, rows, count, epsilon, like):
    """Write a task's fractions of operands at some addresses; see `fraction_lanes`."""
    form = (task.clip, task.where, task.normalised)
    fraction_lanes(operands, apart, alive, rows, count, epsilon, as_kind(task.coefficient, like), form, like)


@kernel
def clear_around(task, plane, y, x, count, like):
    """Write zeros around a stretch of a map's row in its plane: what lies between it and its neighbours.

    Above the map comes with its first value, what is left and right of a row with that row's last, and below with the
    last of all.
    """
    if y == 0 and x == 0:
        set_all(plane, task.top * task.cols + task.left, like)
    if x + count == task.width:
        end = (task.top + y) * task.cols + task.left + task.width
        following = task.plane_values if y == task.height - 1 else end + task.cols - task.width
        set_all(plane + end * item_size(like), following - end, like)


@kernel
def _slot(task, c):
    """Number of a channel's plane among an item's, where the plane begins, and how far the group's next lies behind."""
    each = task.channels // task.groups
    group = 0 if task.groups == 1 else c // each
    inside = task.slot + c - group * each
    number = group * task.slots + inside
    if task.column:
        return number, group * task.plane_values + inside * task.column, task.column
    return number, number * task.plane_values, task.plane_values


@kernel
def hand_on(task, frame, n, channel, channels, begin, r, apart, x, x_apart, count, like):
    """Write the fractions of a stretch of some channels' maps of relevance into their planes.

    `task` is a record of packing, whose channel 0 is channel `shift` here; relevance is at address `r`, that of the
    following channel `apart` from it; with `den_is_x` or `z_is_x` these are at address `x`, `x_apart` from each other.
    Stretches may be handed on in any order; who hands on the ends of rows clears what lies between.
    """
    low, high = max(channel, task.shift), min(channel + channels, task.shift + task.channels)
    each = task.channels // task.groups
    while low < high:
        # Planes of one group follow each other.
        met = high - low if task.groups == 1 else min(high - low, each - (low - task.shift) % each)
        far, x_far = (low - channel) * apart, (low - channel) * x_apart
        _hand_on(task, frame, n, low - task.shift, met, begin, r + far, apart, x + x_far, x_apart, count, like)
        low += met


@kernel
def hand_on_all(first, count, frame, n, channel, channels, begin, r, apart, x, x_apart, values, like):
    """Do as `hand_on` with `values` of each channel, for `count` records of packing, from row `first` on."""
    for k in range(first, first + count):
        hand_on(_read_pack(frame.packs, k), frame, n, channel, channels, begin, r, apart, x, x_apart, values, like)


@kernel
def _hand_on(task, frame, n, first, rows, begin, r, apart, x, x_apart, count, like):
    """Do as `hand_on`, for channels of one group, from the task's channel `first` on."""
    item, size = item_size(like), task.height * task.width
    den, z, epsilon = _operands(task, frame, n, first * size + begin, r, like)
    den_apart = size * item if task.normalised else apart
    z_apart = size * item if task.where else apart
    den, den_apart = (x, x_apart) if task.den_is_x else (den, den_apart)
    z, z_apart = (x, x_apart) if task.z_is_x else (z, z_apart)
    number, skip, step = _slot(task, first)
    plane = address_at(frame, task.planes, n, skip, like)
    alive = frame.flags + task.flags + n * task.groups * task.slots + number
    # A stretch ends with a column of the planes, or with a row of the map.
    length = task.column if task.column else task.width
    y = begin // length
    x_in = begin - y * length
    done = 0
    while done < count:
        met = min(count - done, length - x_in)
        if task.column:
            at = y * task.slots * task.column + x_in
        else:
            at = (task.top + y) * task.cols + task.left + x_in
            if x_in + met == length or (y == 0 and x_in == 0):
                for c in range(rows):
                    clear_around(task, plane + c * step * item, y, x_in, met, like)
        skip = done * item
        operands = (r + skip, den + skip, z + skip, plane + at * item)
        _fractions(task, operands, (apart, den_apart, z_apart, step * item), alive, rows, met, epsilon, like)
        done, y, x_in = done + met, y + 1, 0
