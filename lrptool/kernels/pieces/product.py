"""The product every convolution is made of, forward and transposed.

    out[n, i, q] = x̂[n, i, q] · Σ_k weights[i, k] · planes[n, offsets[k] + q]

A zero-padded plane whose rows follow each other is one flat vector; the factor of a kernel's tap is that vector shifted
by a constant. So a table of offsets describes stride, dilation and padding, and no im2col matrix is built.
"""

from __future__ import annotations

from lrptool.kernels.atomic import address_at, address_of, array_at, values_at
from lrptool.kernels.jit import kernel
from lrptool.kernels.near import LINE, prefetch
from lrptool.kernels.pieces.onward import NOTHING, SINGLE
from lrptool.kernels.pieces.weigh import weigh_on, weigh_strided
from lrptool.kernels.shapes import extent_of_piece, fill
from lrptool.kernels.tile import pointer_to

SLACK = 256
"""Values a buffer of planes has behind its last one: a tile reads whole registers."""


@kernel()
def list_living(alive, taps, table, offsets, numbers):  # type: ignore[no-untyped-def]
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
def _pick(task, values, width, n, channel, rows, place, count, places, bases, own):  # type: ignore[no-untyped-def]
    """Let results for positive x give way, where x is not, to those of as many channels further on."""
    size, span = task.height * task.width, (count - 1) * task.stride_x + 1
    for m in range(rows):
        x = values_at(places[task.x], n, (channel + m) * size + place, span, bases, own)
        first = array_at(values + m * width * own.itemsize, count, own)
        rest = array_at(values + (m + task.channels) * width * own.itemsize, count, own)
        for t in range(count):
            if not x[t * task.stride_x] > 0:
                first[t] = rest[t]


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
            place = _place(task, source)
        if count > 0:
            values = first + (source - q) * own.itemsize
            if task.split:
                _pick(task, values, width, n, channel, top, place, count, places, bases, own)
            if task.stride_x == 1 and not task.fill:
                apart, size = width * own.itemsize, task.height * task.width
                weigh_on(task, packs, values, apart, n, channel, top, size, place, count, places, bases, flags, own)
            else:
                _store_strided(task, values, width, n, channel, top, place, count, places, bases, own)
        begin = stop


@kernel()
def _place(task, q):  # type: ignore[no-untyped-def]
    """Where position q of the steps lands on a map."""
    if task.direct:
        return q
    u = q // task.cols
    return (task.stride_y * u + task.start_y) * task.width + task.stride_x * (q - u * task.cols) + task.start_x


@kernel()
def fetch(task, packs, n, channel, channels, place, count, places, bases, like):  # type: ignore[no-untyped-def]
    """Ask for what results for a stretch of some channels' maps will meet, while they are computed."""
    size = task.height * task.width
    skip, apart, stretch = channel * size + place, size * like.itemsize, count * like.itemsize
    if task.part:
        prefetch(address_at(places[task.x], n, skip, bases, like), channels, apart, stretch)
    if task.accumulate:
        prefetch(address_at(places[task.out], n, skip, bases, like), channels, apart, stretch)
    for k in range(task.onward, task.onward + task.onwards):
        pack = packs[k]
        first = skip - pack.shift * size
        if pack.normalised and pack.den != task.x:
            prefetch(address_at(places[pack.den], n, first, bases, like), channels, apart, stretch)
        if pack.where and pack.z != task.x:
            prefetch(address_at(places[pack.z], n, first, bases, like), channels, apart, stretch)


@kernel()
def _fetch_results(task, packs, n, channel, channels, q, end, places, bases, like):  # type: ignore[no-untyped-def]
    """Ask for what results at positions [q, end) will meet: one stretch, or one for every row that a stride leaves."""
    begin = q
    while begin < end:
        stop = end if task.stride_y == 1 else min(end, (begin // task.cols + 1) * task.cols)
        place = _place(task, begin)
        count = _place(task, stop) - place if task.stride_y == 1 else (stop - begin) * task.stride_x
        fetch(task, packs, n, channel, channels, place, count, places, bases, like)
        begin = stop


@kernel()
def _fetch_terms(source, table, width, like):  # type: ignore[no-untyped-def]
    """Ask for what a column's terms will read from `source` on.

    Terms of one row meet the same lines: each asks for one, in turn.
    """
    lines = -(-width * like.itemsize // LINE)
    for k in range(table.size):
        prefetch(source + table[k] * like.itemsize + k % lines * LINE, SINGLE, NOTHING, SINGLE)


@kernel()
def product_pieces(task, packs, begin, end, places, bases, flags, tables, own, own_terms):  # type: ignore[no-untyped-def]
    """Compute tiles [begin, end): their number counts items, groups, and blocks of channels and columns of positions.

    Weights are (groups, blocks, slots · taps, rows of the tile); offsets stand in `tables` from `table` on, one per
    slot and tap; the sources of neighbouring columns lie `apart`. Slots whose flag is 0 are left out of the sum. A
    block of weights meets `together` columns in turn, then these meet the next block; with `foresee` the first block
    asks for what the next column reads. With `split` the second half of the channels is for what is not positive of x.
    Each output is summed by one thread in one order.
    """
    rows, width, _ = extent_of_piece(task.tile, own.itemsize)
    size = (task.steps_y - 1) * task.cols + task.steps_x
    columns = -(-size // width)
    blocks, all_terms = task.blocks, task.slots * task.taps
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
            terms = all_terms if whole else list_living(alive, task.taps, table, own_offsets, own_numbers)
            listed = item
        q = column * width
        stop = min(q + width, size)
        channel = g * task.channels + block * rows
        # Maps hardly larger than that lie behind each other anyway.
        if task.height * task.width > 2 * width:
            top = min(rows, task.channels - block * rows)
            _fetch_results(task, packs, n, channel, top, q, stop, places, bases, own)
        weights = values_at(places[task.weights], 0, (g * blocks + block) * all_terms * rows, 1, bases, own)
        at = g * task.plane_values + column * task.apart
        source = values_at(places[task.planes], n, at, 1, bases, own)
        w, s = pointer_to(weights, 0), pointer_to(source, 0)
        if whole:
            o, p = pointer_to(table, 0), pointer_to(tables, 0)
        else:
            o, p = pointer_to(own_offsets, 0), pointer_to(own_numbers, 0)
        if task.foresee and block == 0 and column + 1 < columns:
            _fetch_terms(address_of(source) + task.apart * own.itemsize, table, width, own)
        scratch = fill(task.tile, w, s, o, p, terms, stop - q, own)
        _store_tile(task, packs, scratch, n, channel, rows, q, stop, places, bases, flags, own)
