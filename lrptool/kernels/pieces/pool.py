"""Pooling windows: relevance to each window's maximum, or spread over the window.

A map of windows and the map they look at differ in size, and rows are short. So both are laid out as flat vectors: rows
of the one have as many places as there are windows or could be, rows of the other that many times the stride, and of
these every stride-th follows the other, phase by phase. Then all values that some place of the windows meets lie one
stride apart, from the first row to the last.
"""

from __future__ import annotations

import numpy as np

from lrptool.kernels.atomic import address_of, values_at
from lrptool.kernels.contest import collect_all, collect_won, compete
from lrptool.kernels.jit import kernel
from lrptool.kernels.lanes import copy_lanes
from lrptool.kernels.pieces.onward import NOTHING, SINGLE, fractions_of
from lrptool.kernels.pieces.weigh import weigh_on
from lrptool.kernels.simd import REGISTER


@kernel()
def _layout(task):  # type: ignore[no-untyped-def]
    """Rows and columns of windows, with room for every place of the last ones and for the whole map."""
    rows = max(task.out_height + (task.kernel_y - 1) // task.stride_y, -(-(task.top + task.height) // task.stride_y))
    cols = max(task.out_width + (task.kernel_x - 1) // task.stride_x, -(-(task.left + task.width) // task.stride_x))
    return rows, cols


@kernel()
def _lay_out(x, task, padded, phase, rows, cols):  # type: ignore[no-untyped-def]
    """Write a map's rows, phase by phase, with −∞ around them: row u of phase a is row u · stride_y + a of the map."""
    nothing, wide, end = padded.dtype.type(-np.inf), cols * task.stride_x, task.left + task.width
    for a in range(task.stride_y):
        for u in range(rows):
            y = u * task.stride_y + a - task.top
            row = padded[a * phase + u * wide : a * phase + (u + 1) * wide]
            if 0 <= y < task.height:
                source = address_of(x) + y * task.width * x.itemsize
                copy_lanes(source, address_of(row) + task.left * x.itemsize, task.width, x)
                row[: task.left], row[end:] = nothing, nothing
            else:
                row[:] = nothing


@kernel()
def _take_out(padded, task, phase, cols, out):  # type: ignore[no-untyped-def]
    """Write the map's rows one behind the other: the reverse of `_lay_out`."""
    for y in range(task.height):
        u, a = (y + task.top) // task.stride_y, (y + task.top) % task.stride_y
        begin = a * phase + u * cols * task.stride_x + task.left
        target = address_of(out) + y * task.width * out.itemsize
        copy_lanes(address_of(padded) + begin * out.itemsize, target, task.width, out)


@kernel()
def _widen(values, width, out, cols):  # type: ignore[no-untyped-def]
    """Write rows of `width` values into rows of `cols`; what lies between stays as it is."""
    for y in range(values.size // width):
        source, target = y * width * values.itemsize, y * cols * values.itemsize
        copy_lanes(address_of(values) + source, address_of(out) + target, width, values)


@kernel()
def _places(task, phase, cols, like):  # type: ignore[no-untyped-def]
    """Return tables of the places of a window, and of who has which.

    Rows of the tables: where the values of a place begin; place by place in the order of the values that have them, how
    many windows before the value's own the place is of; and where the places of each kind of value begin, by the phases
    of its row and column. Rows of the numbers: of the places, in either order.
    """
    count, found = task.kernel_y * task.kernel_x, 0
    tables = np.empty((3, count + task.stride_y * task.stride_x + 1), np.int64)
    numbers = np.empty((2, count), like.dtype)
    for a in range(task.stride_y):
        for b in range(task.stride_x):
            tables[2, a * task.stride_x + b] = found
            for ky in range(a, task.kernel_y, task.stride_y):
                for kx in range(b, task.kernel_x, task.stride_x):
                    back = ky // task.stride_y * cols + kx // task.stride_x
                    tables[0, ky * task.kernel_x + kx] = a * phase + b + back * task.stride_x
                    tables[1, found] = back
                    numbers[0, found], numbers[1, found] = found, ky * task.kernel_x + kx
                    found += 1
    tables[2, task.stride_y * task.stride_x] = count
    return tables, numbers


@kernel()
def _collect(task, relevance, winners, tables, numbers, target, phase, used, like):  # type: ignore[no-untyped-def]
    """Write what every value gets from its windows, laid out as `_lay_out` does; `used` windows of each phase.

    Where nobody has won, all get all.
    """
    item, shifts = like.itemsize, address_of(tables) + tables.shape[1] * tables.itemsize
    named = address_of(numbers) + numbers.shape[1] * numbers.itemsize
    stride = task.stride_x
    # One register holds the values of both phases of a stride of two; others have a turn for each phase. What the last
    # register writes beyond its phase is written again with the next, or behind all of them, where there is room.
    pairs = stride == 2
    for a in range(task.stride_y):
        for b in range(1 if pairs else stride):
            kind = a * stride + b
            low, middle, high = tables[2, kind], tables[2, kind + 1], tables[2, kind + 1 + pairs]
            place = target + (a * phase + b) * item
            if winners:
                collect_won(relevance, winners, shifts, named, low, middle, high, place, used, stride, like)
            else:
                collect_all(relevance, winners, shifts, named, low, middle, high, place, used, stride, like)


@kernel()
def _route_together(task, packs, begin, end, room, places, bases, flags, own, tables, numbers):  # type: ignore[no-untyped-def]
    """Route maps [begin, end) in one go: small maps one behind the other make loops of a decent length."""
    rows, cols = _layout(task)
    size, windows, count = task.height * task.width, task.out_height * task.out_width, task.kernel_y * task.kernel_x
    apart, wide, item = rows * cols, rows * cols * task.stride_x, own.itemsize
    phase, used = room * wide, (end - begin) * apart
    whole = task.stride_y * phase
    flat = used - apart + (task.out_height - 1) * cols + task.out_width
    # Values have windows before them, the first ones too; there is nothing in those.
    lead = (task.kernel_y - 1) // task.stride_y * cols + (task.kernel_x - 1) // task.stride_x
    padded, routed, rest = own[:whole], own[whole : 2 * whole], own[2 * whole + REGISTER :]
    held = lead + room * apart
    spread, winners, joined = rest[:held], rest[held : 2 * held], rest[2 * held :]
    spread[:] = own.dtype.type(0)
    for step in range(begin, end):
        n, plane, at = step // task.planes, step % task.planes, step - begin
        x = values_at(places[task.x], n, plane * size, size, bases, own)
        _lay_out(x, task, padded[at * wide :], phase, rows, cols)
        r = values_at(places[task.r], n, plane * windows, windows, bases, own)
        _widen(r, task.out_width, spread[lead + at * apart :], cols)
    won, relevance = address_of(winners) + lead * item, address_of(spread) + lead * item
    compete(address_of(padded), address_of(tables), address_of(numbers), count, won, flat, task.stride_x, own)
    _collect(task, relevance, won, tables, numbers, address_of(routed), phase, used, own)
    for step in range(begin, end):
        n, plane, at = step // task.planes, step % task.planes, step - begin
        if task.accumulate or task.onwards:
            _take_out(routed[at * wide :], task, phase, cols, joined)
            relevances = address_of(joined)
            weigh_on(task, packs, relevances, NOTHING, n, plane, SINGLE, size, NOTHING, size, places, bases, flags, own)
        else:
            out_map = values_at(places[task.out], n, plane * size, size, bases, own)
            _take_out(routed[at * wide :], task, phase, cols, out_map)


@kernel()
def route_pieces(task, packs, begin, end, places, bases, flags, own):  # type: ignore[no-untyped-def]
    """Hand relevance r (planes, out_height, out_width) of maps [begin, end) to each window's first maximum of x.

    The number of a map counts items, then planes; `together` maps are worked on at a time.
    """
    rows, cols = _layout(task)
    tables, numbers = _places(task, task.together * rows * cols * task.stride_x, cols, own)
    for first in range(begin, end, task.together):
        last = min(end, first + task.together)
        _route_together(task, packs, first, last, task.together, places, bases, flags, own, tables, numbers)


@kernel()
def _spread(s, task, own, tables, numbers, out):  # type: ignore[no-untyped-def]
    """Fill a map with the sum of the values of the windows that hold each position."""
    if s.size == 1 and task.kernel_y >= task.top + task.height and task.kernel_x >= task.left + task.width:
        out[:] = s[0]
        return
    rows, cols = _layout(task)
    phase = rows * cols * task.stride_x
    lead = (task.kernel_y - 1) // task.stride_y * cols + (task.kernel_x - 1) // task.stride_x
    padded, wide = own[: task.stride_y * phase], own[task.stride_y * phase + REGISTER :]
    wide[: lead + rows * cols] = own.dtype.type(0)
    _widen(s, task.out_width, wide[lead:], cols)
    relevance = address_of(wide) + lead * own.itemsize
    _collect(task, relevance, NOTHING, tables, numbers, address_of(padded), phase, rows * cols, own)
    _take_out(padded, task, phase, cols, out)


@kernel()
def spread_pieces(task, packs, begin, end, places, bases, flags, own):  # type: ignore[no-untyped-def]
    """Spread fractions of r (planes, out_height, out_width) of maps [begin, end), times `factor`, over their windows.

    What arrives is multiplied by the part of x. The number of a map counts items, then planes; `factor` has one map.
    """
    size, windows = task.height * task.width, task.out_height * task.out_width
    s, spread, rest = own[:windows], own[windows : windows + size], own[windows + size :]
    rows, cols = _layout(task)
    tables, numbers = _places(task, rows * cols * task.stride_x, cols, own)
    for step in range(begin, end):
        n, plane = step // task.planes, step % task.planes
        fractions_of(task, n, plane * windows, places, bases, s)
        factor = values_at(places[task.factor], 0, 0, windows, bases, own)
        for k in range(windows):
            s[k] *= factor[k]
        _spread(s, task, rest, tables, numbers, spread)
        weigh_on(
            task, packs, address_of(spread), NOTHING, n, plane, SINGLE, size, NOTHING, size, places, bases, flags, own
        )
