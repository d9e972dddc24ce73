"""The product every convolution is made of, forward and transposed.

    out[n, i, q] = x̂[n, i, q] · Σ_k weights[i, k] · planes[n, offsets[k] + q]

A zero-padded plane whose rows follow each other is one flat vector; the factor of a kernel's tap is that vector shifted
by a constant. So a table of offsets describes stride, dilation and padding, and no im2col matrix is built.
"""

from __future__ import annotations

import numpy as np

from lrptool.kernels.compiled.bare import address_at, item_size, pointer_at, reader, set_all
from lrptool.kernels.compiled.jit import kernel
from lrptool.kernels.compiled.near import LINE, prefetch
from lrptool.kernels.compiled.pieces.onward import NOTHING, SINGLE
from lrptool.kernels.compiled.pieces.weigh import weigh_on, weigh_strided
from lrptool.kernels.compiled.tiles import extent_of_piece, fill, finish
from lrptool.kernels.records import PACK, TABLES, WEIGH
from lrptool.kernels.scratch import INTEGER

_FLAG = np.uint8(0)

_read_pack, _read_weigh = reader(TABLES[PACK]), reader(TABLES[WEIGH])


@kernel
def list_living(task, frame, item):
    """Write offsets and numbers of the terms whose plane holds anything to the thread's own; return how many there are.

    First come all offsets, behind them numbers: there is room for a product's terms twice.
    """
    slots, taps = task.slots, task.taps
    alive = pointer_at(frame.flags + task.flags + item * slots, _FLAG)
    table = pointer_at(frame.tables + task.table * INTEGER, slots)
    own = pointer_at(frame.terms, slots)
    count = 0
    for p in range(slots):
        if alive[p] != 0:
            for k in range(p * taps, (p + 1) * taps):
                own[count] = table[k]
                own[slots * taps + count] = k
                count += 1
    return count


@kernel
def pick(x, stride, values, rest, count, like):
    """Let values give way to others where every stride-th of x is not positive; operands are addresses."""
    x, values, rest = (
        pointer_at(x, like),
        pointer_at(values, like),
        pointer_at(rest, like),
    )
    for t in range(count):
        if not x[t * stride] > 0:
            values[t] = rest[t]


@kernel
def _store_strided(task, frame, values, width, n, channel, rows, place, count, like):
    """Write a stretch of rows of a tile, `width` apart, to every stride-th place in their maps.

    With `fill` nothing else is written between these places: they get zeros, to the right and below.
    """
    size, span, item = task.height * task.width, (count - 1) * task.stride_x + 1, item_size(like)
    y, x = place // task.width, place % task.width
    for m in range(rows):
        skip = (channel + m) * size + place
        out = address_at(frame, task.out, n, skip, like)
        if task.fill:
            filled = min(span + task.stride_x - 1, task.width - x)
            for below in range(min(task.stride_y, task.height - y)):
                set_all(out + below * task.width * item, filled, like)
        factor = address_at(frame, task.x, n, skip, like)
        source = values + m * width * item
        weigh_strided(source, factor, task.part, task.accumulate, out, task.stride_x, count, like)


@kernel
def _store_tile(task, frame, first, width, n, channel, rows, q, end, like):
    """Write positions [q, end) of a strip's rows, which lie at address `first`, to their places in their maps.

    Position q is step (q // cols, q % cols); step u lands on row stride_y · u + start_y where from_y ≤ u < to_y, and
    columns likewise. Where `direct`, position and place are the same.
    """
    top = min(rows, task.channels - channel % task.channels)
    apart, size = width * item_size(like), task.height * task.width
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
            values = first + (source - q) * item_size(like)
            if task.split:
                for m in range(top):
                    x = address_at(frame, task.x, n, (channel + m) * size + place, like)
                    pick(x, task.stride_x, values + m * apart, values + (m + task.channels) * apart, count, like)
            if task.stride_x == 1 and not task.fill:
                weigh_on(task, frame, values, apart, n, channel, top, size, place, count, like)
            else:
                _store_strided(task, frame, values, width, n, channel, top, place, count, like)
        begin = stop


@kernel
def _take_in_turn(source, wide, stride, count, line, like):
    """Write `count` values of each of `stride` rows, `wide` apart, in turn; operands are addresses."""
    out = pointer_at(line, like)
    for b in range(stride):
        row = pointer_at(source + b * wide * item_size(like), like)
        for t in range(count):
            out[t * stride + b] = row[t]


@kernel
def _store_merged(task, frame, first, wide, line, n, block, q, end, like):
    """Write positions [q, end) of a block's rows, which lie at address `first`, to their places in their maps.

    A channel's columns of a phase follow each other, first those for positive x where it is `split`; `line` has room
    for two lines of results. Position q is step (q // cols, q % cols), and a step lands on stride rows and columns.
    """
    item, size, stride = item_size(like), task.height * task.width, task.stride_x
    halves = 2 if task.split else 1
    lines = task.kept // (halves * stride)
    begin = q
    while begin < end:
        u = begin // task.cols
        v, stop = begin - u * task.cols, min(end, (u + 1) * task.cols)
        count = min(stop - begin, task.steps_x - v)
        left = stride * v + task.start_x
        low, high = max(0, -left), min(count * stride, task.width - left)
        for k in range(lines if high > low else 0):
            number = block * lines + k
            a, c = number // task.channels, number % task.channels
            y = task.stride_y * u + task.start_y + a
            if a < task.stride_y and 0 <= y < task.height:
                place = y * task.width + left + low
                source = first + (k * halves * stride * wide + begin - q) * item
                _take_in_turn(source, wide, stride, count, line, like)
                if task.split:
                    rest = line + stride * wide * item
                    _take_in_turn(source + stride * wide * item, wide, stride, count, rest, like)
                    x = address_at(frame, task.x, n, c * size + place, like)
                    pick(x, SINGLE, line + low * item, rest + low * item, high - low, like)
                weigh_on(task, frame, line + low * item, NOTHING, n, c, SINGLE, size, place, high - low, like)
        begin = stop


@kernel
def _place(task, q):
    """Where position q of the steps lands on a map."""
    if task.direct:
        return q
    u = q // task.cols
    return (task.stride_y * u + task.start_y) * task.width + task.stride_x * (q - u * task.cols) + task.start_x


@kernel
def fetch(task, frame, n, channel, channels, place, count, like):
    """Ask for what results for a stretch of some channels' maps will meet, while they are computed."""
    size, item = task.height * task.width, item_size(like)
    skip, apart, stretch = channel * size + place, size * item, count * item
    if task.part:
        prefetch(address_at(frame, task.x, n, skip, like), channels, apart, stretch)
    if task.accumulate:
        prefetch(address_at(frame, task.out, n, skip, like), channels, apart, stretch)
    for k in range(task.onward, task.onward + task.onwards):
        pack = _read_pack(frame.packs, k)
        first = skip - pack.shift * size
        if pack.normalised and pack.den != task.x:
            prefetch(address_at(frame, pack.den, n, first, like), channels, apart, stretch)
        if pack.where and pack.z != task.x:
            prefetch(address_at(frame, pack.z, n, first, like), channels, apart, stretch)
    for k in range(task.next, task.next + task.nexts):
        following = _read_weigh(frame.weighs, k)
        if following.normalised and following.den != task.x:
            prefetch(address_at(frame, following.den, n, skip, like), channels, apart, stretch)
        if following.where and following.z != task.x:
            prefetch(address_at(frame, following.z, n, skip, like), channels, apart, stretch)
        if following.differs:
            prefetch(address_at(frame, following.less, n, skip, like), channels, apart, stretch)
        elif following.part and following.x != task.x:
            prefetch(address_at(frame, following.x, n, skip, like), channels, apart, stretch)


@kernel
def _fetch_results(task, frame, n, channel, channels, q, end, like):
    """Ask for what results at positions [q, end) will meet: one stretch, or one for every row that a stride leaves."""
    begin = q
    while begin < end:
        stop = end if task.stride_y == 1 else min(end, (begin // task.cols + 1) * task.cols)
        place = _place(task, begin)
        count = _place(task, stop) - place if task.stride_y == 1 else (stop - begin) * task.stride_x
        fetch(task, frame, n, channel, channels, place, count, like)
        begin = stop


@kernel
def _fetch_terms(source, table, terms, width, like):
    """Ask for what a column's terms will read from `source` on.

    Terms of one row meet the same lines: each asks for one, in turn.
    """
    offsets, item = pointer_at(table, terms), item_size(like)
    lines = -(-width * item // LINE)
    for k in range(terms):
        prefetch(source + offsets[k] * item + k % lines * LINE, SINGLE, NOTHING, SINGLE)


@kernel
def _columns_of_strip(task, column, first, met, left):
    """Return how many columns of a block follow each other in a strip, from one of `met` on; no more than are left."""
    return min(task.strip - (column - first) % task.strip, first + met - column, left)


@kernel
def _tiles_at_once(task, column, first, met, left):
    """Return how many tiles fill the strips there is scratch for."""
    tiles = 0
    for _ in range(task.strips):
        if tiles < left:
            count = _columns_of_strip(task, column, first, met, left - tiles)
            tiles, column = tiles + count, column + count
            column = first if column == first + met else column
    return tiles


@kernel
def _ask(task, frame, n, channel, block, column, rows, width, size, like):
    """Ask for what a tile's results will meet; maps hardly larger than that lie behind each other anyway."""
    if task.height * task.width > 2 * width and not task.merged:
        top, q = min(rows, task.channels - block * rows), column * width
        _fetch_results(task, frame, n, channel + block * rows, top, q, min(q + width, size), like)


@kernel
def _add_up(task, frame, unit, block, column, tiles, first, met, terms, like):
    """Compute `tiles` tiles, from one of a block and column on, in strips in the thread's own scratch.

    Of `met` columns from `first` on, those of a block follow each other, then those of the next. Terms are added up in
    chunks: a core's first cache holds the weights of one, and its second what it reads of the planes.
    """
    item, all_terms = item_size(like), task.slots * task.taps
    rows, width, _ = extent_of_piece(task.tile, item)
    size, apart, each = (task.steps_y - 1) * task.cols + task.steps_x, all_terms * rows, rows * task.wide * item
    # Terms count from 0 on where none is left out: these numbers stand at the beginning of the tables.
    whole = terms == all_terms
    table = frame.tables + task.table * INTEGER
    offsets, numbers = (table, frame.tables) if whole else (frame.terms, frame.terms + all_terms * INTEGER)
    n, g = unit // task.groups, unit % task.groups
    for before in range(0, terms, task.chunk):
        some = min(task.chunk, terms - before)
        o, p = offsets + before * INTEGER, numbers + before * INTEGER
        b, c, done, results, sums = block, column, 0, frame.own, frame.own + task.strips * each
        while done < tiles:
            count = _columns_of_strip(task, c, first, met, tiles - done)
            weights = address_at(frame, task.weights, 0, (g * task.blocks + b) * apart, like)
            _fetch_weights(weights, block - b, apart, rows, before, some, done + count < tiles, terms, like)
            for k in range(c, c + count):
                source = address_at(frame, task.planes, n, g * task.plane_values + k * task.apart, like)
                if before + some == terms:
                    _ask(task, frame, n, g * task.channels, b, k, rows, width, size, like)
                if task.foresee and before == 0 and b == 0 and (k + 1) * width < size:
                    _fetch_terms(source + task.apart * item, table, all_terms, width, like)
                at, met_here = results + (k - c) * width * item, min(width, size - k * width)
                fill(task.tile, weights, source, o, p, some, before, met_here, at, task.wide, sums, like)
                sums += task.sums * item
            done, c, results = done + count, c + count, results + each
            b, c = (b + 1, first) if c == first + met else (b, c)


@kernel
def _fetch_weights(weights, back, apart, rows, before, some, more, terms, like):
    """Ask for the weights of the next block, `apart` values on; or of the next chunk, of a block `back` from here."""
    if more:
        ahead = apart + before * rows
    elif before + some < terms:
        ahead = back * apart + (before + some) * rows
    else:
        ahead = apart
    prefetch(weights + ahead * item_size(like), SINGLE, NOTHING, some * rows * item_size(like))


@kernel
def product_pieces(task, frame, begin, end, like):
    """Compute tiles [begin, end): their number counts items, groups, and blocks of channels and columns of positions.

    Weights are (groups, blocks, slots · taps, rows of the tile); offsets stand among the tables from `table` on, one
    per slot and tap; the sources of neighbouring columns lie `apart`. Slots whose flag is 0 are left out of the sum. A
    block of weights meets `together` columns in turn, then these meet the next block; with `foresee` the first block
    asks for what the next column reads. With `split` the second half of the channels is for what is not positive of x.
    With `merged` a block's first `kept` rows are of all phases of a stride, see `_store_merged`. Results of up to
    `strip` columns of a block, rows of `wide` values, are stored together, and so many `strips` are computed at a time,
    `chunk` terms of all of them after the other; a turned tile's sums take up `sums` values until then. Each output is
    summed by one thread in one order.
    """
    item = item_size(like)
    rows, width, _ = extent_of_piece(task.tile, item)
    size = (task.steps_y - 1) * task.cols + task.steps_x
    columns, blocks, each = -(-size // width), task.blocks, rows * task.wide * item
    own_sums = frame.own + task.strips * each
    line = own_sums + task.strips * task.strip * task.sums * item
    listed, terms, step = -1, 0, begin
    while step < end:
        unit, rest = step // (blocks * columns), step % (blocks * columns)
        first = rest // (blocks * task.together) * task.together
        met = min(task.together, columns - first)
        block, column = (rest - first * blocks) // met, first + (rest - first * blocks) % met
        tiles = _tiles_at_once(task, column, first, met, min((first + met) * blocks - rest, end - step))
        if unit != listed:
            terms, listed = list_living(task, frame, unit), unit
        _add_up(task, frame, unit, block, column, tiles, first, met, terms, like)
        n, channel = unit // task.groups, unit % task.groups * task.channels
        step, results, sums = step + tiles, frame.own, own_sums
        while tiles > 0:
            count = _columns_of_strip(task, column, first, met, tiles)
            for k in range(count):
                finish(task.tile, terms, results + k * width * item, task.wide, sums, like)
                sums += task.sums * item
            q, stop = column * width, min((column + count) * width, size)
            if task.merged:
                _store_merged(task, frame, results, task.wide, line, n, block, q, stop, like)
            else:
                _store_tile(task, frame, results, task.wide, n, channel + block * rows, rows, q, stop, like)
            tiles, column, results = tiles - count, column + count, results + each
            block, column = (block + 1, first) if column == first + met else (block, column)
