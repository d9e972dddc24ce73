"""Pooling windows: relevance to each window's maximum, or spread over the window.

Strides make short, gapped loops. So a map is first taken apart into stride² phases, each with a border, whose rows
follow each other: then the values a tap of the window meets are one flat vector, as in a convolution.
"""

from __future__ import annotations

import numpy as np

from lrptool.kernels.atomic import address_of, values_at
from lrptool.kernels.contest import collect, compete
from lrptool.kernels.jit import kernel
from lrptool.kernels.pairs import deal, merge
from lrptool.kernels.pieces.onward import NOTHING, SINGLE, fractions_of
from lrptool.kernels.pieces.weigh import weigh_on


@kernel()
def _phase_size(task):  # type: ignore[no-untyped-def]
    """Rows and columns of one phase: every window's taps fall inside."""
    rows = task.out_height + (task.kernel_y - 1) // task.stride_y
    cols = task.out_width + (task.kernel_x - 1) // task.stride_x
    return rows, cols


@kernel()
def _part_row(row, left, stride, phases, begin, apart, cols):  # type: ignore[no-untyped-def]
    """Deal a row out to its phases: value x goes to place (x + left) // stride of phase (x + left) % stride."""
    if stride == 1:
        inside = phases[begin + left : begin + min(cols, left + row.size)]
        for v in range(inside.size):
            inside[v] = row[v]
    elif stride == 2:
        # Pairs first; at either end one value may be left over.
        low, high = (left + 1) // 2, min(cols, (row.size + left) // 2)
        odd = begin + apart
        deal(row[2 * low - left :], phases[begin + low : begin + high], phases[odd + low : odd + high])
        if left % 2:
            phases[begin + apart + low - 1] = row[0]
        if (row.size + left) % 2 and high < cols:
            phases[begin + high] = row[2 * high - left]
    else:
        for x in range(row.size):
            v = (x + left) // stride
            if v < cols:
                phases[begin + (x + left) % stride * apart + v] = row[x]


@kernel()
def _join_row(phases, begin, apart, cols, left, stride, out):  # type: ignore[no-untyped-def]
    """Collect a row from its phases: the reverse of `_part_row`; zero beyond the last window."""
    zero = out.dtype.type(0)
    for x in range(max(0, stride * cols - left), out.size):
        out[x] = zero
    if stride == 1:
        inside = phases[begin + left : begin + min(cols, left + out.size)]
        for v in range(inside.size):
            out[v] = inside[v]
    elif stride == 2:
        low, high = (left + 1) // 2, min(cols, (out.size + left) // 2)
        odd = begin + apart
        merge(phases[begin + low : begin + high], phases[odd + low : odd + high], out[2 * low - left :])
        if left % 2:
            out[0] = phases[begin + apart + low - 1]
        if (out.size + left) % 2 and high < cols:
            out[2 * high - left] = phases[begin + high]
    else:
        for x in range(min(out.size, stride * cols - left)):
            out[x] = phases[begin + (x + left) % stride * apart + (x + left) // stride]


@kernel()
def _part_phases(x, task, phases, apart, rows, cols):  # type: ignore[no-untyped-def]
    """Take a map apart: phase (a, b) gets rows a, a + stride_y, … and columns b, b + stride_x, … of the padded map.

    Phases lie `apart` from each other; what the map does not cover stays as it is.
    """
    width = task.width
    for u in range(rows):
        for a in range(task.stride_y):
            y = u * task.stride_y + a - task.top
            if 0 <= y < task.height:
                begin = a * task.stride_x * apart + u * cols
                _part_row(x[y * width : (y + 1) * width], task.left, task.stride_x, phases, begin, apart, cols)


@kernel()
def _join_phases(phases, task, apart, rows, cols, out):  # type: ignore[no-untyped-def]
    """Put a map together again from its phases."""
    width = task.width
    for u in range(rows):
        for a in range(task.stride_y):
            y = u * task.stride_y + a - task.top
            if 0 <= y < task.height:
                begin = a * task.stride_x * apart + u * cols
                _join_row(phases, begin, apart, cols, task.left, task.stride_x, out[y * width : (y + 1) * width])
    for y in range(max(0, rows * task.stride_y - task.top), task.height):
        out[y * width : (y + 1) * width] = out.dtype.type(0)


@kernel()
def _at_tap(task, tap, apart, cols):  # type: ignore[no-untyped-def]
    """Where the values a tap meets begin within the phases."""
    ky, kx = tap // task.kernel_x, tap % task.kernel_x
    phase = ky % task.stride_y * task.stride_x + kx % task.stride_x
    return phase * apart + ky // task.stride_y * cols + kx // task.stride_x


@kernel()
def _widen(values, width, out, cols):  # type: ignore[no-untyped-def]
    """Write rows of `width` values into rows of `cols`; what lies between stays as it is."""
    for y in range(values.size // width):
        row, target = values[y * width : (y + 1) * width], out[y * cols : y * cols + width]
        for k in range(width):
            target[k] = row[k]


@kernel()
def _places(task, apart, cols, tables):  # type: ignore[no-untyped-def]
    """Fill tables with the places of a window, phase by phase, and where the phases' places begin.

    Rows of the tables: where the values of a place begin in the phases; in the order of the phases, places by number
    and how many windows their value lies behind the first; beginnings.
    """
    count, found = task.kernel_y * task.kernel_x, 0
    for tap in range(count):
        tables[0, tap] = _at_tap(task, tap, apart, cols)
    for phase in range(task.stride_y * task.stride_x):
        tables[3, phase] = found
        for ky in range(phase // task.stride_x, task.kernel_y, task.stride_y):
            for kx in range(phase % task.stride_x, task.kernel_x, task.stride_x):
                tap = ky * task.kernel_x + kx
                tables[1, found], tables[2, found] = tap, tables[0, tap] - phase * apart
                found += 1
    tables[3, task.stride_y * task.stride_x] = found


@kernel()
def _route_together(task, packs, begin, end, room, places, bases, flags, own, tables):  # type: ignore[no-untyped-def]
    """Route maps [begin, end) in one go: small maps one behind the other make loops of a decent length."""
    rows, cols = _phase_size(task)
    size, windows, count = task.height * task.width, task.out_height * task.out_width, task.kernel_y * task.kernel_x
    apart, item = room * rows * cols, own.itemsize
    whole = task.stride_y * task.stride_x * apart
    flat = (end - begin - 1) * rows * cols + (task.out_height - 1) * cols + task.out_width
    # Values have windows before them, the first ones too; there is nothing in those.
    lead = (task.kernel_y - 1) // task.stride_y * cols + (task.kernel_x - 1) // task.stride_x
    phases, routed, rest = own[:whole], own[whole : 2 * whole], own[2 * whole :]
    spread, winners, joined = rest[: lead + apart], rest[lead + apart :], rest[2 * (lead + apart) :]
    phases[:], spread[:] = own.dtype.type(-np.inf), own.dtype.type(0)
    for step in range(begin, end):
        n, plane, at = step // task.planes, step % task.planes, (step - begin) * rows * cols
        x = values_at(places[task.x], n, plane * size, size, bases, own)
        _part_phases(x, task, phases[at:], apart, rows, cols)
        r = values_at(places[task.r], n, plane * windows, windows, bases, own)
        _widen(r, task.out_width, spread[lead + at :], cols)
    first, won, relevance = address_of(tables), address_of(winners) + lead * item, address_of(spread) + lead * item
    compete(address_of(phases), first, count, won, flat, own)
    for phase in range(task.stride_y * task.stride_x):
        low, high = tables[3, phase], tables[3, phase + 1]
        target = address_of(routed) + phase * apart * item
        numbers = first + (tables.shape[1] + low) * tables.itemsize
        shifts = numbers + tables.shape[1] * tables.itemsize
        if high > low:
            collect(relevance, won, shifts, numbers, high - low, target, apart, own)
        else:
            routed[phase * apart : (phase + 1) * apart] = own.dtype.type(0)
    for step in range(begin, end):
        n, plane, at = step // task.planes, step % task.planes, (step - begin) * rows * cols
        if task.accumulate or task.onwards:
            _join_phases(routed[at:], task, apart, rows, cols, joined[:size])
            weigh_on(
                task,
                packs,
                address_of(joined),
                NOTHING,
                n,
                plane,
                SINGLE,
                size,
                NOTHING,
                size,
                places,
                bases,
                flags,
                own,
            )
        else:
            out_map = values_at(places[task.out], n, plane * size, size, bases, own)
            _join_phases(routed[at:], task, apart, rows, cols, out_map)


@kernel()
def route_pieces(task, packs, begin, end, places, bases, flags, own):  # type: ignore[no-untyped-def]
    """Hand relevance r (planes, out_height, out_width) of maps [begin, end) to each window's first maximum of x.

    The number of a map counts items, then planes; `together` maps are worked on at a time.
    """
    rows, cols = _phase_size(task)
    tables = np.empty((4, task.kernel_y * task.kernel_x + task.stride_y * task.stride_x + 1), np.int64)
    _places(task, task.together * rows * cols, cols, tables)
    for first in range(begin, end, task.together):
        last = min(end, first + task.together)
        _route_together(task, packs, first, last, task.together, places, bases, flags, own, tables)


@kernel()
def _spread(s, task, own, out):  # type: ignore[no-untyped-def]
    """Fill a map with the sum of the values of the windows that hold each position."""
    if s.size == 1 and task.kernel_y >= task.top + task.height and task.kernel_x >= task.left + task.width:
        out[:] = s[0]
        return
    rows, cols = _phase_size(task)
    apart, flat = rows * cols, (task.out_height - 1) * cols + task.out_width
    whole = task.stride_y * task.stride_x * apart
    phases, wide = own[:whole], own[whole : whole + flat]
    phases[:], wide[:] = own.dtype.type(0), own.dtype.type(0)
    _widen(s, task.out_width, wide, cols)
    for tap in range(task.kernel_y * task.kernel_x):
        at = _at_tap(task, tap, apart, cols)
        target = phases[at : at + flat]
        for k in range(flat):
            target[k] += wide[k]
    _join_phases(phases, task, apart, rows, cols, out)


@kernel()
def spread_pieces(task, packs, begin, end, places, bases, flags, own):  # type: ignore[no-untyped-def]
    """Spread fractions of r (planes, out_height, out_width) of maps [begin, end), times `factor`, over their windows.

    What arrives is multiplied by the part of x. The number of a map counts items, then planes; `factor` has one map.
    """
    size, windows = task.height * task.width, task.out_height * task.out_width
    s, spread, rest = own[:windows], own[windows : windows + size], own[windows + size :]
    for step in range(begin, end):
        n, plane = step // task.planes, step % task.planes
        fractions_of(task, n, plane * windows, places, bases, s)
        factor = values_at(places[task.factor], 0, 0, windows, bases, own)
        for k in range(windows):
            s[k] *= factor[k]
        _spread(s, task, rest, spread)
        weigh_on(
            task, packs, address_of(spread), NOTHING, n, plane, SINGLE, size, NOTHING, size, places, bases, flags, own
        )
