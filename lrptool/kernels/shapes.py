"""Tiles to choose from, and how one of them computes a piece: some channels at neighbouring positions."""

from __future__ import annotations

from lrptool.kernels.bare import array_at, item_size, pointer_at
from lrptool.kernels.jit import kernel
from lrptool.kernels.simd import REGISTER, SIMD
from lrptool.kernels.tile import make_tile
from lrptool.kernels.turn import turn

# Tiles as globals, chosen at run time: as variables of a closure they would be part of the key under which machine code
# is kept, and a new process would never find it.
_TURNED = 5
"""The first of the turned tiles; there are two of them. A set with fewer of the others has these more than once."""
_SHAPES = (SIMD.tiles * _TURNED)[:_TURNED] + SIMD.turned
_ROWS, _VECS = tuple(rows for rows, _ in _SHAPES), tuple(vecs for _, vecs in _SHAPES)
_TILE0, _TILE1, _TILE2, _TILE3, _TILE4 = (make_tile(rows, vecs, SIMD) for rows, vecs in _SHAPES[:_TURNED])
_TILE5, _TILE6 = (make_tile(rows, vecs, SIMD, turned=True) for rows, vecs in _SHAPES[_TURNED:])
_SIDE_BY_SIDE = 4
"""Turned tiles whose results are stored together: a tile's own stretches would be short."""
FLOAT32 = 4
"""Bytes of the values production works on; of larger ones fewer fit into what they need."""
_KEPT = 120_000
"""Weights of a block that a core's own cache holds beside what they meet: turned tiles read all of them anew for every
few positions."""
_LEAST_PIECES = 16
"""Pieces of work below which threads would wait for one another."""


@kernel()
def _run_tile(shape, weights, source, offsets, places, terms, before, out, apart):  # type: ignore[no-untyped-def]
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


@kernel()
def extent_of_piece(shape, itemsize):  # type: ignore[no-untyped-def]
    """Channels and positions of a piece, and positions up to whole registers."""
    lanes = REGISTER // itemsize
    if shape < _TURNED:
        return _ROWS[shape], _VECS[shape] * lanes, _VECS[shape] * lanes
    positions = _SIDE_BY_SIDE * _ROWS[shape]
    return _VECS[shape] * lanes, positions, -(-positions // lanes) * lanes


@kernel()
def fill(shape, weights, source, offsets, numbers, terms, before, count, results, apart, sums, like):  # type: ignore[no-untyped-def]
    """Add up terms of `count` positions of a block of channels.

    Operands are addresses. A channel's `results` lie `apart` values behind those of the one before; those of turned
    tiles are in `sums`, which takes a whole piece, until `finish` has been called. Terms that came `before` are in
    there already.
    """
    item = item_size(like)
    w, o, p = pointer_at(weights, like), pointer_at(offsets, terms), pointer_at(numbers, terms)
    if shape < _TURNED:
        _run_tile(shape, w, pointer_at(source, like), o, p, terms, before, pointer_at(results, like), apart)
    else:
        rows, positions = extent_of_piece(shape, item)[0], _ROWS[shape]
        for at in range(0, count, positions):
            begin, place = source + at * item, sums + at * rows * item
            _run_tile(shape, w, pointer_at(begin, like), o, p, terms, before, pointer_at(place, like), rows)


@kernel()
def finish(shape, terms, results, apart, sums, like):  # type: ignore[no-untyped-def]
    """Let results be what `fill` has added up, in whole registers; zeros of no terms.

    Pieces that follow each other are finished in that order: what is beyond the positions of one is the next one's.
    """
    rows, _, wide = extent_of_piece(shape, item_size(like))
    if terms == 0:
        for m in range(rows):
            array_at(results + m * apart * item_size(like), wide, like)[:] = like
    elif shape >= _TURNED:
        turn(sums, wide, rows, results, apart, like)


def extent_of(shape: int, itemsize: int) -> tuple[int, int]:
    """Return the channels and positions of a piece."""
    rows, width, _ = extent_of_piece.py_func(shape, itemsize)
    return rows, width


def extent_of_strip(shape: int, pieces: int) -> tuple[int, int]:
    """Return channels and values per channel of results of pieces that follow each other, float32."""
    rows, width, wide = extent_of_piece.py_func(shape, FLOAT32)
    return rows, (pieces - 1) * width + wide


def sums_of(shape: int) -> int:
    """Return the values a piece's results take up before they are turned; 0 where they are not."""
    rows, _, wide = extent_of_piece.py_func(shape, FLOAT32)
    return rows * wide if shape >= _TURNED else 0


def fits_one(rows: int) -> bool:
    """Whether a tile that is not turned can hold so many rows."""
    return rows <= max(_ROWS[:_TURNED])


def narrowest() -> int:
    """Return the positions of the narrowest tile that is not turned."""
    return min(extent_of(shape, FLOAT32)[1] for shape in range(_TURNED))


def best_shape(channels: int, size: int, terms: int, *, unit: int = 1, widest: int | None = None) -> int:
    """Return which tile wastes least on `channels` rows and `size` positions, each a sum of so many terms.

    Every `unit` rows are of one tile, which some tile has to hold, see `fits_one`. With `widest` tiles are not turned,
    and no wider; the `narrowest` is at most that.
    """

    def useful(shape: int) -> float:
        rows, width = extent_of(shape, FLOAT32)
        turned = shape >= _TURNED
        kept = rows // unit * unit
        if not kept or (turned and unit > 1):
            return 0.0
        if widest is not None and (turned or width > widest):
            return 0.0
        if turned and (terms * rows > _KEPT or -(-channels // kept) * -(-size // width) < _LEAST_PIECES):
            return 0.0
        step = _ROWS[shape] if turned else width
        filled = channels / (-(-channels // kept) * rows) * size / (-(-size // step) * step)
        # Every step loads its vectors anew: few broadcasts make little of them. Turning results takes time of its own.
        # The constants are from measurements.
        return filled * _ROWS[shape] / (_ROWS[shape] + 1.8) * (0.97 if turned else 1.0)

    return max(range(len(_SHAPES)), key=useful)
