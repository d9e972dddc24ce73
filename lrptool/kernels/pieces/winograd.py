"""A 3 × 3 product by minimal filtering: 16 products of single values over tiles of 2 × 2 outputs, see `blend`.

A column of tiles is transformed into scratch that stays in a core's own cache, and meets block after block of weights.
"""

from __future__ import annotations

from lrptool.kernels.atomic import address_at, address_of, values_at
from lrptool.kernels.blend import FREQUENCIES, STEP, draw_tiles, spread_tiles
from lrptool.kernels.jit import kernel
from lrptool.kernels.pieces.onward import NOTHING
from lrptool.kernels.pieces.product import fetch, list_living
from lrptool.kernels.pieces.weigh import weigh_on
from lrptool.kernels.shapes import FLOAT32, extent_of_piece, fill, room_of_piece, scratch_of
from lrptool.kernels.simd import REGISTER
from lrptool.kernels.tile import pointer_to


@kernel()
def _rest_of_row(task, tile, end):  # type: ignore[no-untyped-def]
    """Row and column of a tile, and how many tiles up to `end` follow it in its row, itself included."""
    y = tile // task.steps_x
    x = tile - y * task.steps_x
    return y, x, min(end - tile, task.steps_x - x)


@kernel()
def _spread_planes(task, n, g, numbers, count, begin, end, width, places, bases, own):  # type: ignore[no-untyped-def]
    """Transform tiles [begin, end) of `count` planes; return how many values the factors of a frequency take up.

    Factors are written to the beginning of `own`: (16, count · width + lanes of a register), a plane's tiles `width`
    values from those of the next plane.
    """
    item, lanes = own.itemsize, REGISTER // own.itemsize
    # Registers that reach beyond the last plane's tiles end before the next frequency.
    apart = count * width + lanes
    first = address_at(places[task.planes], n, g * task.slots * task.plane_values, bases, own)
    for k in range(count):
        plane, target = first + numbers[k] * task.plane_values * item, address_of(own) + k * width * item
        tile = begin
        while tile < end:
            y, x, met = _rest_of_row(task, tile, end)
            source = plane + STEP * (y * task.cols + x) * item
            for at in range(0, met, lanes):
                spread_tiles(source + STEP * at * item, task.cols * item, target + at * item, apart * item, own)
            target += met * item
            tile += met
    return apart


@kernel()
def _meet(task, packs, values, row, n, channel, rows, begin, end, places, bases, flags, own):  # type: ignore[no-untyped-def]
    """Write the outputs of tiles [begin, end) that lie at an address: (rows, 2, row) values.

    Where there are no values yet, at address 0, ask for what they will meet.
    """
    size, item, apart, tile = task.height * task.width, own.itemsize, STEP * row * own.itemsize, begin
    while tile < end:
        y, x, met = _rest_of_row(task, tile, end)
        count = min(STEP * met, task.width - STEP * x)
        for below in range(min(STEP, task.height - STEP * y)):
            place = (STEP * y + below) * task.width + STEP * x
            if values == 0:
                fetch(task, packs, n, channel, rows, place, count, places, bases, own)
            else:
                source = values + (below * row + STEP * (tile - begin)) * item
                weigh_on(task, packs, source, apart, n, channel, rows, size, place, count, places, bases, flags, own)
        tile += met


@kernel()
def _compute(task, block, factors, apart, offsets, numbers, terms, count, places, bases, values, own):  # type: ignore[no-untyped-def]
    """Write a block of channels' outputs of `count` tiles to `values`: (rows, 2, 2 · width of the tile).

    Factors are (16, apart), those of term k from `offsets[k]` on; `own` takes (16, room of a piece) products.
    """
    item, lanes = own.itemsize, REGISTER // own.itemsize
    rows, _, width = extent_of_piece(task.tile, item)
    room, size = room_of_piece(task.tile, rows, width), task.slots * rows
    weights = values_at(places[task.weights], 0, block * FREQUENCIES * size, 1, bases, own)
    o, p = pointer_to(offsets, 0), pointer_to(numbers, 0)
    at = address_of(own)
    for f in range(FREQUENCIES):
        w, s = pointer_to(weights, f * size), pointer_to(factors, f * apart)
        products = fill(task.tile, w, s, o, p, terms, count, own[f * room : (f + 1) * room])
        at = address_of(products) - f * room * item
    row = STEP * width
    for m in range(rows):
        for k in range(0, count, lanes):
            source, target = at + (m * width + k) * item, address_of(values) + (m * STEP * row + STEP * k) * item
            draw_tiles(source, room * item, target, row * item, own)


@kernel()
def winograd_pieces(task, packs, begin, end, places, bases, flags, tables, own, own_terms):  # type: ignore[no-untyped-def]
    """Compute pieces [begin, end): they count items, groups, columns of tiles and `together` blocks of channels.

    Weights are (groups, blocks, frequencies, slots, rows of the tile); the maps have steps_y × steps_x tiles, and the
    planes everything that tiles reach, in rows of `cols`. Slots whose flag is 0 are left out. Each output is computed
    by one thread in one order. The first values of `own` are for factors, (16, slots · width + lanes of a register),
    the next for a block's outputs, (rows, 2, 2 · width), and the last for its products, (16, room of a piece).
    """
    rows, width, wide = extent_of_piece(task.tile, own.itemsize)
    row = STEP * wide
    tiles, chunks = task.steps_y * task.steps_x, -(-task.blocks // task.together)
    columns = -(-tiles // width)
    factors = own[: FREQUENCIES * (task.slots * wide + REGISTER // own.itemsize)]
    values = own[factors.size : factors.size + rows * STEP * row]
    scratch = own[factors.size + values.size :]
    offsets, numbers = own_terms[: task.slots], own_terms[task.slots : 2 * task.slots]
    table = tables[task.table : task.table + task.slots]
    for step in range(begin, end):
        item, rest = step // (columns * chunks), step % (columns * chunks)
        column, chunk = rest // chunks, rest % chunks
        n, g = item // task.groups, item % task.groups
        alive = flags[task.flags + item * task.slots : task.flags + (item + 1) * task.slots]
        terms = list_living(alive, 1, table, offsets, numbers)
        for k in range(terms):
            offsets[k] = k * wide
        low, high = column * width, min((column + 1) * width, tiles)
        apart = _spread_planes(task, n, g, numbers, terms, low, high, wide, places, bases, factors)
        for block in range(chunk * task.together, min(task.blocks, (chunk + 1) * task.together)):
            channel, top = g * task.channels + block * rows, min(rows, task.channels - block * rows)
            _meet(task, packs, NOTHING, row, n, channel, top, low, high, places, bases, flags, own)
            number = g * task.blocks + block
            _compute(task, number, factors, apart, offsets, numbers, terms, high - low, places, bases, values, scratch)
            at = address_of(values)
            _meet(task, packs, at, row, n, channel, top, low, high, places, bases, flags, own)


def scratch_of_column(shape: int, slots: int) -> int:
    """Return the values a thread needs."""
    rows, _, wide = extent_of_piece.py_func(shape, FLOAT32)
    values: int = FREQUENCIES * (slots * wide + REGISTER // FLOAT32 + scratch_of(shape)) + STEP * STEP * rows * wide
    return values
