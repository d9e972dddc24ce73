"""The product every convolution is made of, forward and transposed.

    out[n, i, q] = x̂[n, i, q] · Σ_k weights[i, k] · planes[n, offsets[k] + q]

A zero-padded plane whose rows follow each other is one flat vector; the factor of a kernel's tap is that vector shifted
by a constant. So a table of offsets describes stride, dilation and padding, and no im2col matrix is built.
"""

from __future__ import annotations

from lrptool.kernels.atomic import address_at, address_of, array_at, values_at
from lrptool.kernels.jit import kernel
from lrptool.kernels.lanes import prefetch
from lrptool.kernels.pieces.weigh import weigh_on, weigh_strided
from lrptool.kernels.simd import SIMD
from lrptool.kernels.tile import make_tile, pointer_to

SLACK = 256
"""Values a buffer of planes has behind its last one: a tile reads whole registers."""

# Tiles as globals, chosen at run time: as variables of a closure they would be part of the key under which machine code
# is kept, and a new process would never find it.
_SHAPES = (SIMD.tiles * 5)[:5]
_ROWS, _VECS = tuple(rows for rows, _ in _SHAPES), tuple(vecs for _, vecs in _SHAPES)
_TILE0, _TILE1, _TILE2, _TILE3, _TILE4 = (make_tile(rows, vecs, SIMD) for rows, vecs in _SHAPES)
_REGISTER = SIMD.lanes * 4


@kernel()
def _run_tile(shape, weights, source, offsets, places, terms, out):  # type: ignore[no-untyped-def]
    """Run one of the tiles."""
    if shape == 0:
        _TILE0(weights, source, offsets, places, terms, out)
    elif shape == 1:
        _TILE1(weights, source, offsets, places, terms, out)
    elif shape == 2:
        _TILE2(weights, source, offsets, places, terms, out)
    elif shape == 3:
        _TILE3(weights, source, offsets, places, terms, out)
    else:
        _TILE4(weights, source, offsets, places, terms, out)


@kernel()
def _living(alive, taps, table, offsets, numbers):  # type: ignore[no-untyped-def]
    """Write offsets and numbers of the terms whose plane holds anything; return how many there are."""
    count = 0
    for p in range(alive.size):
        if alive[p] != 0:
            for k in range(p * taps, (p + 1) * taps):
                offsets[count] = table[k]
                numbers[count] = k
                count += 1
    return count


@kernel()
def _store_strided(task, values, width, n, channel, rows, place, count, places, bases, own):  # type: ignore[no-untyped-def]
    """Write a stretch of rows of a tile, `width` apart, to every stride-th place in their maps.

    With `fill` nothing else is written between these places: they get zeros, to the right and below.
    """
    size, span = task.height * task.width, (count - 1) * task.stride_x + 1
    y, x = place // task.width, place % task.width
    for m in range(rows):
        skip = (channel + m) * size + place
        if task.fill:
            filled = min(span + task.stride_x - 1, task.width - x)
            for below in range(min(task.stride_y, task.height - y)):
                values_at(places[task.out], n, skip + below * task.width, filled, bases, own)[:] = own.dtype.type(0)
        factor = values_at(places[task.x], n, skip, span, bases, own)
        out = values_at(places[task.out], n, skip, span, bases, own)
        source = array_at(values + m * width * own.itemsize, count, own)
        weigh_strided(source, factor, task.part, task.accumulate != 0, out, task.stride_x)


@kernel()
def _store_tile(task, packs, scratch, n, channel, rows, q, end, places, bases, flags, own):  # type: ignore[no-untyped-def]
    """Write positions [q, end) of a tile's rows to their places in their maps.

    Position q is step (q // cols, q % cols); step u lands on row stride_y · u + start_y where from_y ≤ u < to_y, and
    columns likewise. Where `direct`, position and place are the same.
    """
    width, first = scratch.size // rows, address_of(scratch)
    top = min(rows, task.channels - channel % task.channels)
    begin = q
    while begin < end:
        if task.direct:
            stop, source, place, count = end, begin, begin, end - begin
        else:
            u = begin // task.cols
            stop = min(end, (u + 1) * task.cols)
            source = max(begin, u * task.cols + task.from_x)
            count = min(stop, u * task.cols + task.to_x) - source
            if u < task.from_y or u >= task.to_y:
                count = 0
            y = task.stride_y * u + task.start_y
            place = y * task.width + task.stride_x * (source - u * task.cols) + task.start_x
        if count > 0:
            values = first + (source - q) * own.itemsize
            if task.stride_x == 1 and not task.fill:
                apart, size = width * own.itemsize, task.height * task.width
                weigh_on(task, packs, values, apart, n, channel, top, size, place, count, places, bases, flags, own)
            else:
                _store_strided(task, values, width, n, channel, top, place, count, places, bases, own)
        begin = stop


@kernel()
def _fetch(task, n, channel, rows, q, width, places, bases, like):  # type: ignore[no-untyped-def]
    """Ask for what the results of a tile will meet, while it is computed: results go to many maps, a few lines each."""
    size, place = task.height * task.width, q
    if not task.direct:
        u = q // task.cols
        place = (task.stride_y * u + task.start_y) * task.width + task.stride_x * (q - u * task.cols) + task.start_x
    skip, apart, bytes_of = channel * size + place, size * like.itemsize, width * task.stride_x * like.itemsize
    if task.part:
        prefetch(address_at(places[task.x], n, skip, bases, like), rows, apart, bytes_of)
    if task.accumulate:
        prefetch(address_at(places[task.out], n, skip, bases, like), rows, apart, bytes_of)


@kernel()
def product_pieces(task, packs, begin, end, places, bases, flags, tables, own, own_terms):  # type: ignore[no-untyped-def]
    """Compute tiles [begin, end): their number counts items, groups, and blocks of channels and columns of positions.

    Weights are (groups, blocks, slots · taps, rows of the tile); offsets stand in `tables` from `table` on, one per
    slot and tap; the sources of neighbouring columns lie `apart`. Slots whose flag is 0 are left out of the sum. A
    block of weights meets `together` columns in turn, then these meet the next block. Each output is summed by one
    thread in one order.
    """
    rows, vecs = _ROWS[task.tile], _VECS[task.tile]
    width = vecs * (_REGISTER // own.itemsize)
    size = (task.steps_y - 1) * task.cols + task.steps_x
    columns = -(-size // width)
    blocks, all_terms = task.blocks, task.slots * task.taps
    scratch = own[: rows * width]
    table = tables[task.table : task.table + all_terms]
    own_offsets, own_numbers = own_terms[:all_terms], own_terms[all_terms : 2 * all_terms]
    listed, terms, whole = -1, 0, False
    for step in range(begin, end):
        item, rest = step // (blocks * columns), step % (blocks * columns)
        first = rest // (blocks * task.together) * task.together
        met = min(task.together, columns - first)
        block, column = (rest - first * blocks) // met, first + (rest - first * blocks) % met
        n, g = item // task.groups, item % task.groups
        if item != listed:
            alive = flags[task.flags + item * task.slots : task.flags + (item + 1) * task.slots]
            whole = alive.min() != 0
            terms = all_terms if whole else _living(alive, task.taps, table, own_offsets, own_numbers)
            listed = item
        q = column * width
        stop = min(q + width, size)
        channel = g * task.channels + block * rows
        if task.height * task.width > 2 * width:
            _fetch(task, n, channel, rows, q, width, places, bases, own)
        if terms > 0:
            weights = values_at(places[task.weights], 0, (g * blocks + block) * all_terms * rows, 1, bases, own)
            at = g * task.plane_values + column * task.apart
            source = values_at(places[task.planes], n, at, 1, bases, own)
            w, s, t = pointer_to(weights, 0), pointer_to(source, 0), pointer_to(scratch, 0)
            if whole:
                o, p = pointer_to(table, 0), pointer_to(tables, 0)
            else:
                o, p = pointer_to(own_offsets, 0), pointer_to(own_numbers, 0)
            _run_tile(task.tile, w, s, o, p, terms, t)
        else:
            scratch[:] = own.dtype.type(0)
        _store_tile(task, packs, scratch, n, channel, rows, q, stop, places, bases, flags, own)


def rows_of(shape: int) -> int:
    """Return the rows of a tile."""
    return _SHAPES[shape][0]


def width_of(shape: int, itemsize: int) -> int:
    """Return the neighbouring positions of a tile."""
    return _SHAPES[shape][1] * (_REGISTER // itemsize)


SCRATCH = max(rows * vecs for rows, vecs in _SHAPES) * SIMD.lanes
"""Values a thread needs for a tile's results."""


def best_shape(channels: int, size: int) -> int:
    """Return which tile wastes least on `channels` rows and `size` positions."""

    def useful(shape: int) -> float:
        rows, vecs = _SHAPES[shape]
        width = vecs * SIMD.lanes
        filled = channels / (-(-channels // rows) * rows) * size / (-(-size // width) * width)
        # Every step loads its positions anew: few rows make little of them. The constant is from measurements.
        return filled * rows / (rows + 1.8)

    return max(range(len(_SHAPES)), key=useful)
