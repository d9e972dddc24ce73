"""A product of few channels from fractions that are mostly zero: what each place hands on is added where it belongs.

Behind max pooling a quarter of a map's places at most have relevance. Of each place the fractions that are not zero are
listed, their weights added up for a whole window of outputs, and the window added to rows of outputs in scratch; a row
is stored once no further window reaches it.
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
from lrptool.kernels.compiled.rows import add_lanes
from lrptool.kernels.compiled.tile import make_tile
from lrptool.kernels.scratch import BITS, INTEGER, SUMS, values_at_a_time
from lrptool.kernels.simd import SIMD

_UNSIGNED, _ONE = np.uint64(0), np.uint64(1)
"""Numbers that cannot be negative: nothing is asked about an index that is one."""
_TILE = make_tile(1, SUMS, SIMD, turned=True)
_at_a_time = kernel(values_at_a_time)


@kernel
def _list_values(planes, apart, numbers, living, places, room, values, owners, ends, like):
    """List what is not zero at some neighbouring places of `living` planes, and whose it is; operands are addresses.

    A place's list begins `room` entries behind that of the one before. Planes lie `apart` bytes from each other: what
    follows in each of them is asked for, no processor foresees so many.
    """
    numbers, ends, stretch = pointer_at(numbers, room), pointer_at(ends, _UNSIGNED), BITS * item_size(like)
    values, owners = pointer_at(values, like), pointer_at(owners, room)
    some = (_ONE << np.uint64(places)) - _ONE
    for v in range(places):
        ends[v] = v * room
    for k in range(living):
        number = numbers[k]
        place = planes + number * apart
        prefetch(place + 2 * stretch, SINGLE, NOTHING, stretch)
        row, bits = pointer_at(place, like), bits_of(place, like) & some
        while bits:
            v = lowest(bits)
            end = ends[v]
            values[end], owners[end], ends[v] = row[v], number, end + _ONE
            bits &= bits - _ONE


@kernel
def _add_windows(task, frame, weights, places, values, owners, ends, windows, like):
    """Add up the windows of some neighbouring places, a part of all windows after the other."""
    item, room = item_size(like), task.slots
    each, numbers = _at_a_time(item), pointer_at(frame.tables, room)
    ends = pointer_at(ends, room)
    for part in range(task.blocks):
        w = pointer_at(weights + part * room * each * item, like)
        for v in range(places):
            begin, out = v * room, windows + (v * task.blocks + part) * each * item
            if ends[v] > begin:
                source, whose = pointer_at(values + begin * item, like), pointer_at(owners + begin * INTEGER, room)
                _TILE(w, source, numbers, whose, ends[v] - begin, NOTHING, pointer_at(out, like), NOTHING)


@kernel
def _add_to_rows(task, places, ends, windows, ring, first, low, high, like):
    """Add windows to rows of outputs, as far as these lie in [low, high); the windows' first row is `first`."""
    item, lines = item_size(like), task.channels * (2 if task.split else 1)
    ends, wide = pointer_at(ends, first), task.wide * item
    apart, line = task.blocks * _at_a_time(item) * item, task.chunk * item
    begin, end = max(first, low), min(first + task.kept, high)
    skip, first_row = (begin - first) * lines * line, (begin - low) % task.kept
    for v in range(places):
        if ends[v] > v * task.slots:
            # All rows of a place before the next place's, which overlap them: what was just written is slow to read.
            source, row = windows + v * apart + skip, first_row
            for _ in range(begin, end):
                target = ring + row * lines * wide + v * task.stride_x * item
                add_lanes((source, target), (line, wide), lines, task.chunk, like)
                source += lines * line
                row = row + 1 if row + 1 < task.kept else 0


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
    scratch holds `kept` rows of outputs, `wide` values for each of those lines, then windows, lists and where these
    end. Each output is computed by one thread, in the order of steps.
    """
    item, slots = item_size(like), task.slots
    lines = task.channels * (2 if task.split else 1)
    ring_size, bands = task.kept * lines * task.wide, -(-task.height // task.strip)
    windows = frame.own + ring_size * item
    values = windows + BITS * task.blocks * _at_a_time(item) * item
    owners = -(-(values + BITS * slots * item) // INTEGER) * INTEGER
    ends = owners + BITS * slots * INTEGER
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
            for v in range(0, task.steps_x, BITS):
                places = min(BITS, task.steps_x - v)
                planes = address_at(frame, task.planes, n, u * task.steps_x + v, like)
                apart = task.plane_values * item
                _list_values(planes, apart, numbers, living, places, slots, values, owners, ends, like)
                _add_windows(task, frame, weights, places, values, owners, ends, windows, like)
                ring = frame.own + v * task.stride_x * item
                _add_to_rows(task, places, ends, windows, ring, first, low, high, like)
            u += 1
        _store_rows(task, frame, frame.own, n, low, done, high, like)
