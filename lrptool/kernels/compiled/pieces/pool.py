"""Pooling windows: relevance to each window's maximum, or spread over the window.

A map of windows and the map they look at differ in size, and rows are short. So both are laid out as flat vectors: rows
of the one have as many places as there are windows or could be, rows of the other that many times the stride, and of
these every stride-th follows the other, phase by phase. Then all values that some place of the windows meets lie one
stride apart, from the first row to the last.
"""

from __future__ import annotations

import numpy as np

from lrptool.kernels.compiled.bare import address_at, as_kind, item_size, pointer_at, set_all, values_at
from lrptool.kernels.compiled.contest import collect_all, collect_won, compete
from lrptool.kernels.compiled.jit import kernel
from lrptool.kernels.compiled.lanes import copy_lanes
from lrptool.kernels.compiled.pieces.onward import NOTHING, SINGLE, fractions_of
from lrptool.kernels.compiled.pieces.usual import bring_row, collect_usual, compete_usual, route_by_rows
from lrptool.kernels.compiled.pieces.weigh import weigh_on
from lrptool.kernels.records import OTHERS
from lrptool.kernels.scratch import INTEGER
from lrptool.kernels.simd import REGISTER


@kernel
def _layout(task):
    """Rows and columns of windows, with room for every place of the last ones and for the whole map.

    They are those of `Windows.places`, which makes the tables.
    """
    rows = max(task.out_height + (task.kernel_y - 1) // task.stride_y, -(-(task.top + task.height) // task.stride_y))
    cols = max(task.out_width + (task.kernel_x - 1) // task.stride_x, -(-(task.left + task.width) // task.stride_x))
    return rows, cols


@kernel
def _lay_out(x, task, padded, phase, rows, cols, like):
    """Write a map's rows, phase by phase, with −∞ around them: row u of phase a is row u · stride_y + a of the map.

    Map and rows are at addresses.
    """
    item, nothing = item_size(like), as_kind(-np.inf, like)
    wide, end = cols * task.stride_x, task.left + task.width
    for a in range(task.stride_y):
        for u in range(rows):
            y = u * task.stride_y + a - task.top
            row = padded + (a * phase + u * wide) * item
            bring_row(task, x, y, row, wide, like)
            if 0 <= y < task.height:
                set_all(row, task.left, nothing)
                set_all(row + end * item, wide - end, nothing)


@kernel
def _take_out(padded, task, phase, cols, out, like):
    """Write the map's rows one behind the other: the reverse of `_lay_out`."""
    item = item_size(like)
    for y in range(task.height):
        u, a = (y + task.top) // task.stride_y, (y + task.top) % task.stride_y
        begin = a * phase + u * cols * task.stride_x + task.left
        copy_lanes(padded + begin * item, out + y * task.width * item, task.width, like)


@kernel
def _widen(values, rows, width, out, cols, like):
    """Write rows of `width` values into rows of `cols`; what lies between stays as it is. Operands are addresses."""
    item = item_size(like)
    for y in range(rows):
        copy_lanes(values + y * width * item, out + y * cols * item, width, like)


@kernel
def _collect(task, relevance, winners, tables, numbers, target, phase, used, like):
    """Write what every value gets from its windows, laid out as `_lay_out` does; `used` windows of each phase.

    Where nobody has won, all get all.
    """
    item, count, stride = item_size(like), task.kernel_y * task.kernel_x, task.stride_x
    each = count + task.stride_y * stride + 1
    shifts, kinds = tables + each * INTEGER, pointer_at(tables + 2 * each * INTEGER, each)
    named = numbers + count * item
    # One register holds the values of both phases of a stride of two; others have a turn for each phase. What the last
    # register writes beyond its phase is written again with the next, or behind all of them, where there is room.
    pairs = stride == 2
    for a in range(task.stride_y):
        for b in range(1 if pairs else stride):
            kind = a * stride + b
            low, middle, high = kinds[kind], kinds[kind + 1], kinds[kind + 1 + pairs]
            place = target + (a * phase + b) * item
            if winners:
                collect_won(relevance, winners, shifts, named, low, middle, high, place, used, stride, like)
            else:
                collect_all(relevance, winners, shifts, named, low, middle, high, place, used, stride, like)


@kernel
def _route_together(task, frame, begin, end, tables, numbers, like):
    """Route maps [begin, end) in one go: small maps one behind the other make loops of a decent length."""
    rows, cols = _layout(task)
    size, windows, count = task.height * task.width, task.out_height * task.out_width, task.kernel_y * task.kernel_x
    apart, wide, item = rows * cols, rows * cols * task.stride_x, item_size(like)
    phase, used = task.together * wide, (end - begin) * apart
    whole = task.stride_y * phase
    flat = used - apart + (task.out_height - 1) * cols + task.out_width
    # Values have windows before them, the first ones too; there is nothing in those.
    lead = (task.kernel_y - 1) // task.stride_y * cols + (task.kernel_x - 1) // task.stride_x
    held = lead + task.together * apart
    padded = frame.own
    routed = padded + whole * item
    spread = routed + (whole + REGISTER) * item
    winners = spread + held * item
    joined = winners + held * item
    relevance, won = spread + lead * item, winners + lead * item
    set_all(spread, held, like)
    for step in range(begin, end):
        n, plane, at = step // task.planes, step % task.planes, step - begin
        x = address_at(frame, task.x, n, plane * size, like)
        _lay_out(x, task, padded + at * wide * item, phase, rows, cols, like)
        r = address_at(frame, task.r, n, plane * windows, like)
        _widen(r, task.out_height, task.out_width, relevance + at * apart * item, cols, like)
    if task.form != OTHERS:
        second, third = padded + phase * item, padded + cols * task.stride_x * item
        second, third = (second, third) if task.stride_y == 2 else (third, third + cols * item)
        compete_usual(task, padded, second, third, won, flat, like)
        collect_usual(task, relevance, won, cols, routed, phase, used, like)
    else:
        compete(padded, tables, numbers, count, won, flat, task.stride_x, like)
        _collect(task, relevance, won, tables, numbers, routed, phase, used, like)
    for step in range(begin, end):
        n, plane, at = step // task.planes, step % task.planes, step - begin
        values = routed + at * wide * item
        if task.accumulate or task.onwards:
            _take_out(values, task, phase, cols, joined, like)
            weigh_on(task, frame, joined, NOTHING, n, plane, SINGLE, size, NOTHING, size, like)
        else:
            _take_out(values, task, phase, cols, address_at(frame, task.out, n, plane * size, like), like)


@kernel
def _put_back(task, frame, step, like):
    """Route one map of windows of a single value: there is nobody to compete with."""
    size, windows, wide = task.height * task.width, task.out_height * task.out_width, task.out_width
    n, plane = step // task.planes, step % task.planes
    r, whole = values_at(frame, task.r, n, plane * windows, like), pointer_at(frame.own, like)
    set_all(frame.own, size, like)
    for v in range(task.out_height):
        y = v * task.stride_y - task.top
        if 0 <= y < task.height:
            for u in range(wide):
                x = u * task.stride_x - task.left
                if 0 <= x < task.width:
                    whole[y * task.width + x] = r[v * wide + u]
    weigh_on(task, frame, frame.own, NOTHING, n, plane, SINGLE, size, NOTHING, size, like)


@kernel
def route_pieces(task, frame, begin, end, like):
    """Hand relevance r (planes, out_height, out_width) of maps [begin, end) to each window's first maximum of x.

    The number of a map counts items, then planes; `together` maps are worked on at a time. `tables` and `numbers` are
    those of the windows' places, see `Windows.places`.
    """
    if task.kernel_y * task.kernel_x == 1:
        for step in range(begin, end):
            _put_back(task, frame, step, like)
        return
    if task.by_rows:
        rows, cols = _layout(task)
        for step in range(begin, end):
            route_by_rows(task, frame, step, rows, cols, like)
        return
    tables = address_at(frame, task.tables, 0, 0, like)
    numbers = address_at(frame, task.numbers, 0, 0, like)
    for first in range(begin, end, task.together):
        last = min(end, first + task.together)
        _route_together(task, frame, first, last, tables, numbers, like)


@kernel
def _spread(task, s, scratch, tables, numbers, out, like):
    """Fill a map with the sum of the values of the windows that hold each position; operands are addresses."""
    rows, cols = _layout(task)
    phase, item = rows * cols * task.stride_x, item_size(like)
    lead = (task.kernel_y - 1) // task.stride_y * cols + (task.kernel_x - 1) // task.stride_x
    wide = scratch + (task.stride_y * phase + REGISTER) * item
    set_all(wide, lead + rows * cols, like)
    relevance = wide + lead * item
    _widen(s, task.out_height, task.out_width, relevance, cols, like)
    _collect(task, relevance, NOTHING, tables, numbers, scratch, phase, rows * cols, like)
    _take_out(scratch, task, phase, cols, out, like)


@kernel
def spread_pieces(task, frame, begin, end, like):
    """Spread fractions of r (planes, out_height, out_width) of maps [begin, end), times `factor`, over their windows.

    What arrives is multiplied by the part of x. The number of a map counts items, then planes; `factor` has one map.
    `tables` and `numbers` are those of the windows' places, see `Windows.places`.
    """
    size, windows, item = task.height * task.width, task.out_height * task.out_width, item_size(like)
    spread = frame.own + windows * item
    scratch = spread + size * item
    s, factor = pointer_at(frame.own, like), values_at(frame, task.factor, 0, 0, like)
    single = windows == 1 and task.kernel_y >= task.top + task.height and task.kernel_x >= task.left + task.width
    tables = address_at(frame, task.tables, 0, 0, like)
    numbers = address_at(frame, task.numbers, 0, 0, like)
    for step in range(begin, end):
        n, plane = step // task.planes, step % task.planes
        fractions_of(task, frame, n, plane * windows, frame.own, windows, like)
        for k in range(windows):
            s[k] *= factor[k]
        if single:
            set_all(spread, size, s[0])
        else:
            _spread(task, frame.own, scratch, tables, numbers, spread, like)
        weigh_on(task, frame, spread, NOTHING, n, plane, SINGLE, size, NOTHING, size, like)
