"""How a tile computes a piece, some channels at neighbouring positions; `lrptool.kernels.shapes` chooses the tile."""

from __future__ import annotations

from lrptool.kernels import shapes
from lrptool.kernels.compiled.bare import item_size, pointer_at, set_all
from lrptool.kernels.compiled.jit import kernel
from lrptool.kernels.compiled.tile import make_tile
from lrptool.kernels.compiled.turn import turn
from lrptool.kernels.shapes import SHAPES, TURNED
from lrptool.kernels.simd import SIMD

_ROWS = tuple(rows for rows, _ in SHAPES)
_TILE0, _TILE1, _TILE2, _TILE3, _TILE4 = (make_tile(rows, vecs, SIMD) for rows, vecs in SHAPES[:TURNED])
_TILE5, _TILE6 = (make_tile(rows, vecs, SIMD, turned=True) for rows, vecs in SHAPES[TURNED:])

extent_of_piece = kernel(shapes.extent_of_piece)


@kernel
def _run_tile(shape, weights, source, offsets, places, terms, before, out, apart):
    """Run one of the tiles."""
    if shape == 0:
        _TILE0(weights, source, offsets, places, terms, before, out, apart)
    elif shape == 1:
        _TILE1(weights, source, offsets, places, terms, before, out, apart)
    elif shape == 2:
        _TILE2(weights, source, offsets, places, terms, before, out, apart)
    elif shape == 3:
        _TILE3(weights, source, offsets, places, terms, before, out, apart)
    elif shape == 4:
        _TILE4(weights, source, offsets, places, terms, before, out, apart)
    elif shape == 5:
        _TILE5(weights, source, offsets, places, terms, before, out, apart)
    else:
        _TILE6(weights, source, offsets, places, terms, before, out, apart)


@kernel
def fill(shape, weights, source, offsets, numbers, terms, before, count, results, apart, sums, like):
    """Add up terms of `count` positions of a block of channels.

    Operands are addresses. A channel's `results` lie `apart` values behind those of the one before; those of turned
    tiles are in `sums`, which takes a whole piece, until `finish` has been called. Terms that came `before` are in
    there already.
    """
    item = item_size(like)
    w, o, p = pointer_at(weights, like), pointer_at(offsets, terms), pointer_at(numbers, terms)
    if shape < TURNED:
        _run_tile(shape, w, pointer_at(source, like), o, p, terms, before, pointer_at(results, like), apart)
    else:
        rows, positions = extent_of_piece(shape, item)[0], _ROWS[shape]
        for at in range(0, count, positions):
            begin, place = source + at * item, sums + at * rows * item
            _run_tile(shape, w, pointer_at(begin, like), o, p, terms, before, pointer_at(place, like), rows)


@kernel
def finish(shape, terms, results, apart, sums, like):
    """Let results be what `fill` has added up, in whole registers; zeros of no terms.

    Pieces that follow each other are finished in that order: what is beyond the positions of one is the next one's.
    """
    rows, _, wide = extent_of_piece(shape, item_size(like))
    if terms == 0:
        for m in range(rows):
            set_all(results + m * apart * item_size(like), wide, like)
    elif shape >= TURNED:
        turn(sums, wide, rows, results, apart, like)
