"""A product of few channels from fractions that are mostly zero: what each place hands on is added where it belongs.

Behind max pooling a quarter of a map's places at most have relevance. Of each place the fractions that are not zero are
listed, their weights added up for a whole window of outputs, a part after the other, and each part added to rows of
outputs in scratch; a row is stored once no further window reaches it.
"""

from __future__ import annotations

import numpy as np

from lrptool.kernels.compiled.bare import address_at, item_size, pointer_at, set_all
from lrptool.kernels.compiled.bits import bits_of, lowest
from lrptool.kernels.compiled.jit import kernel
from lrptool.kernels.compiled.near import prefetch
from lrptool.kernels.compiled.pieces.onward import NOTHING, SINGLE
from lrptool.kernels.compiled.pieces.product import list_living, pick
from lrptool.kernels.compiled.pieces.weigh import weigh_on
from lrptool.kernels.compiled.window import make_part
from lrptool.kernels.scratch import BITS, INTEGER, stretch_of_line, values_at_a_time
from lrptool.kernels.simd import SIMD

_UNSIGNED, _ONE = np.uint64(0), np.uint64(1)
"""Numbers that cannot be negative: nothing is asked about an index that is one."""
_ADD_PART = make_part(SIMD)
_at_a_time, _stretch = kernel(values_at_a_time), kernel(stretch_of_line)


@kernel
def _list_values(planes, apart, numbers, living, places, room, step, values, offsets, ends, like):
    """List what is not zero at some neighbouring places of `living` planes, and where weights of its plane begin.

    That is a number of bytes behind those of plane 0: planes' weights lie `step` bytes from each other, their values
    `apart` bytes. A place's list begins `room` entries behind that of the one before. What follows in each of the
    planes is asked for: no processor foresees so many. Operands are addresses.
    """
    numbers, ends, stretch = pointer_at(numbers, room), pointer_at(ends, _UNSIGNED), BITS * item_size(like)
    values, offsets = pointer_at(values, like), pointer_at(offsets, room)
    some = (_ONE << np.uint64(places)) - _ONE
    for v in range(places):
        ends[v] = v * room
    for k in range(living):
        number = numbers[k]
        place = planes + number * apart
        prefetch(place + 2 * stretch, SINGLE, NOTHING, stretch)
        row, bits, weights = pointer_at(place, like), bits_of(place, like) & some, number * step
        while bits:
            v = lowest(bits)
            end = ends[v]
            values[end], offsets[end], ends[v] = row[v], weights, end + _ONE
            bits &= bits - _ONE


@kernel
def _find_rows(task, targets, first, low, high, like):
    """Write how far from a place's own output each stretch of its window lies among rows of outputs, in bytes.

    The window's first row is `first`; what lies outside rows [low, high), and what parts have behind a window's end,
    goes to a line nobody reads.
    """
    item, lines = item_size(like), task.channels * (2 if task.split else 1)
    each, targets = _stretch(item), pointer_at(targets, first)
    in_line = task.chunk // each
    for k in range(task.blocks * _at_a_time(item) // each):
        line = k // in_line
        y = first + line // lines
        row = (y - low) % task.kept * lines + line % lines
        if line >= task.kept * lines or y < low or y >= high:
            row = task.kept * lines
        targets[k] = (row * task.wide + k % in_line * each) * item


@kernel
def _add_windows(task, weights, targets, parts, places, values, offsets, ends, ring, like):
    """Add the windows of some neighbouring places to rows of outputs, some parts of all windows one after the other."""
    item, room, begin = item_size(like), task.slots, parts[0]
    each, ends = _at_a_time(item), pointer_at(ends, room)
    stretches = each // _stretch(item)
    for part in range(begin, parts[1]):
        w, where = weights + part * room * each * item, targets + part * stretches * INTEGER
        for v in range(places):
            first, place = v * room, ring + v * task.stride_x * item
            if ends[v] > first:
                _ADD_PART(w, values + first * item, offsets + first * INTEGER, ends[v] - first, where, place, like)


@kernel
def _store_rows(task, frame, ring, n, low, begin, end, like):
    """Write rows [begin, end) of outputs to where they belong, and leave zeros."""
    item, lines = item_size(like), task.channels * (2 if task.split else 1)
    wide, size = task.wide * item, task.height * task.width
    for y in range(begin, end):
        row = ring + (y - low) % task.kept * lines * wide
        values = row - task.start_x * item
        if task.split:
            for c in range(task.channels):
                x = address_at(frame, task.x, n, c * size + y * task.width, like)
                line = values + c * wide
                pick(x, SINGLE, line, line + task.channels * wide, task.width, like)
        weigh_on(task, frame, values, wide, n, NOTHING, task.channels, size, y * task.width, task.width, like)
        set_all(row, lines * task.wide, like)


@kernel
def scattered_pieces(task, frame, begin, end, like):
    """Compute pieces [begin, end): they count items and bands of `strip` rows of outputs.

    Planes are steps_y × steps_x without padding; the window of step (u, v) begins at output (stride_y · u + start_y,
    stride_x · v + start_x) and has `kept` rows, in each of them one of `chunk` values for every channel, twice where it
    is `split`. Weights are (blocks, slots, values added up at a time): windows, cut into parts. The thread's own
    scratch holds `kept` rows of outputs, `wide` values for each of those lines and one more, then lists, where these
    end, and where stretches of windows belong. Each output is computed by one thread, in the order of steps.
    """
    item, slots = item_size(like), task.slots
    lines, each = task.channels * (2 if task.split else 1), _at_a_time(item)
    ring_size, bands = (task.kept * lines + 1) * task.wide, -(-task.height // task.strip)
    values = frame.own + ring_size * item
    offsets = -(-(values + BITS * slots * item) // INTEGER) * INTEGER
    ends = offsets + BITS * slots * INTEGER
    targets = ends + BITS * INTEGER
    weights = address_at(frame, task.weights, NOTHING, NOTHING, like)
    numbers = frame.terms + slots * INTEGER
    set_all(frame.own, ring_size, like)
    for step in range(begin, end):
        n, low = step // bands, step % bands * task.strip
        high, done = min(low + task.strip, task.height), low
        living = list_living(task, frame, n)
        u = max(0, -((task.start_y + task.kept - 1 - low) // task.stride_y))
        while u < task.steps_y and u * task.stride_y + task.start_y < high:
            first = u * task.stride_y + task.start_y
            if first > done:
                _store_rows(task, frame, frame.own, n, low, done, first, like)
                done = first
            _find_rows(task, targets, first, low, high, like)
            row = lines * task.chunk
            parts = (max(0, low - first) * row // each, -(-min(task.kept, high - first) * row // each))
            for v in range(0, task.steps_x, BITS):
                places = min(BITS, task.steps_x - v)
                planes = address_at(frame, task.planes, n, u * task.steps_x + v, like)
                apart, behind = task.plane_values * item, each * item
                _list_values(planes, apart, numbers, living, places, slots, behind, values, offsets, ends, like)
                ring = frame.own + v * task.stride_x * item
                _add_windows(task, weights, targets, parts, places, values, offsets, ends, ring, like)
            u += 1
        _store_rows(task, frame, frame.own, n, low, done, high, like)
