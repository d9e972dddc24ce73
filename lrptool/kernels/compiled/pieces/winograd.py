"""A 3 × 3 product by minimal filtering: 16 products of single values over tiles of 2 × 2 outputs, see `blend`.

A column of tiles is transformed into scratch that stays in a core's own cache, and meets block after block of weights.
"""

from __future__ import annotations

from lrptool.kernels.compiled.bare import address_at, item_size, pointer_at
from lrptool.kernels.compiled.blend import draw_tiles, spread_tiles
from lrptool.kernels.compiled.jit import kernel
from lrptool.kernels.compiled.pieces.onward import NOTHING
from lrptool.kernels.compiled.pieces.product import fetch, list_living
from lrptool.kernels.compiled.pieces.weigh import weigh_on
from lrptool.kernels.compiled.tiles import extent_of_piece, fill, finish
from lrptool.kernels.scratch import INTEGER
from lrptool.kernels.shapes import FREQUENCIES, STEP
from lrptool.kernels.simd import REGISTER


@kernel
def _rest_of_row(task, tile, end):
    """Row and column of a tile, and how many tiles up to `end` follow it in its row, itself included."""
    y = tile // task.steps_x
    x = tile - y * task.steps_x
    return y, x, min(end - tile, task.steps_x - x)


@kernel
def _spread_planes(task, frame, n, g, numbers, count, begin, end, width, like):
    """Transform tiles [begin, end) of `count` planes; return how many values the factors of a frequency take up.

    Factors are written to the beginning of the thread's own scratch: (16, count · width + lanes of a register), a
    plane's tiles `width` values from those of the next plane.
    """
    item = item_size(like)
    lanes = REGISTER // item
    # Registers that reach beyond the last plane's tiles end before the next frequency.
    apart = count * width + lanes
    first = address_at(frame, task.planes, n, g * task.slots * task.plane_values, like)
    planes = pointer_at(numbers, count)
    for k in range(count):
        plane, target = first + planes[k] * task.plane_values * item, frame.own + k * width * item
        tile = begin
        while tile < end:
            y, x, met = _rest_of_row(task, tile, end)
            source = plane + STEP * (y * task.cols + x) * item
            for at in range(0, met, lanes):
                spread_tiles(source + STEP * at * item, task.cols * item, target + at * item, apart * item, like)
            target += met * item
            tile += met
    return apart


@kernel
def _meet(task, frame, values, row, n, channel, rows, begin, end, like):
    """Write the outputs of tiles [begin, end) that lie at an address: (rows, 2, row) values.

    Where there are no values yet, at address 0, ask for what they will meet.
    """
    size, item, tile = task.height * task.width, item_size(like), begin
    apart = STEP * row * item
    while tile < end:
        y, x, met = _rest_of_row(task, tile, end)
        count = min(STEP * met, task.width - STEP * x)
        for below in range(min(STEP, task.height - STEP * y)):
            place = (STEP * y + below) * task.width + STEP * x
            if values == 0:
                fetch(task, frame, n, channel, rows, place, count, like)
            else:
                source = values + (below * row + STEP * (tile - begin)) * item
                weigh_on(task, frame, source, apart, n, channel, rows, size, place, count, like)
        tile += met


@kernel
def _compute(task, frame, block, apart, offsets, numbers, terms, count, values, scratch, like):
    """Write a block of channels' outputs of `count` tiles to `values`: (rows, 2, 2 · width of the tile).

    Factors are (16, apart), those of term k from `offsets[k]` on; `scratch` takes (16, rows, width) products, and a
    piece's sums behind them.
    """
    item = item_size(like)
    lanes = REGISTER // item
    rows, _, width = extent_of_piece(task.tile, item)
    room, size = rows * width * item, task.slots * rows
    weights = address_at(frame, task.weights, 0, block * FREQUENCIES * size, like)
    sums = scratch + FREQUENCIES * room
    for f in range(FREQUENCIES):
        w, s, products = weights + f * size * item, frame.own + f * apart * item, scratch + f * room
        if terms:
            fill(task.tile, w, s, offsets, numbers, terms, NOTHING, count, products, width, sums, like)
        finish(task.tile, terms, products, width, sums, like)
    row = STEP * width
    for m in range(rows):
        for k in range(0, count, lanes):
            source, target = scratch + (m * width + k) * item, values + (m * STEP * row + STEP * k) * item
            draw_tiles(source, room, target, row * item, like)


@kernel
def winograd_pieces(task, frame, begin, end, like):
    """Compute pieces [begin, end): they count items, groups, columns of tiles and `together` blocks of channels.

    Weights are (groups, blocks, frequencies, slots, rows of the tile); the maps have steps_y × steps_x tiles, and the
    planes everything that tiles reach, in rows of `cols`. Slots whose flag is 0 are left out. Each output is computed
    by one thread in one order. The first of the thread's own values are for factors, (16, slots · width + lanes of a
    register), the next for a block's outputs, (rows, 2, 2 · width), and the last for its products, see `_compute`.
    """
    item = item_size(like)
    rows, width, wide = extent_of_piece(task.tile, item)
    row = STEP * wide
    tiles, chunks = task.steps_y * task.steps_x, -(-task.blocks // task.together)
    columns = -(-tiles // width)
    values = frame.own + FREQUENCIES * (task.slots * wide + REGISTER // item) * item
    scratch = values + rows * STEP * row * item
    numbers = frame.terms + task.slots * INTEGER
    offsets = pointer_at(frame.terms, begin)
    for step in range(begin, end):
        unit, rest = step // (columns * chunks), step % (columns * chunks)
        column, chunk = rest // chunks, rest % chunks
        n, g = unit // task.groups, unit % task.groups
        terms = list_living(task, frame, unit)
        for k in range(terms):
            offsets[k] = k * wide
        low, high = column * width, min((column + 1) * width, tiles)
        apart = _spread_planes(task, frame, n, g, numbers, terms, low, high, wide, like)
        for block in range(chunk * task.together, min(task.blocks, (chunk + 1) * task.together)):
            channel, top = g * task.channels + block * rows, min(rows, task.channels - block * rows)
            _meet(task, frame, NOTHING, row, n, channel, top, low, high, like)
            number = g * task.blocks + block
            _compute(task, frame, number, apart, frame.terms, numbers, terms, high - low, values, scratch, like)
            _meet(task, frame, values, row, n, channel, top, low, high, like)
