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
def _run_tile(shape, weights, source, offsets, places, terms, before, out):  # type: ignore[no-untyped-def]
    """Run one of the tiles."""
    if shape == 0:
        _TILE0(weights, source, offsets, places, terms, before, out)
    elif shape == 1:
        _TILE1(weights, source, offsets, places, terms, before, out)
    elif shape == 2:
        _TILE2(weights, source, offsets, places, terms, before, out)
    elif shape == 3:
        _TILE3(weights, source, offsets, places, terms, before, out)
    elif shape == 4:
        _TILE4(weights, source, offsets, places, terms, before, out)
    elif shape == 5:
        _TILE5(weights, source, offsets, places, terms, before, out)
    else:
        _TILE6(weights, source, offsets, places, terms, before, out)


@kernel()
def extent_of_piece(shape, itemsize):  # type: ignore[no-untyped-def]
    """Channels and positions of a piece, and positions up to whole registers."""
    lanes = REGISTER // itemsize
    if shape < _TURNED:
        return _ROWS[shape], _VECS[shape] * lanes, _VECS[shape] * lanes
    positions = _SIDE_BY_SIDE * _ROWS[shape]
    return _VECS[shape] * lanes, positions, -(-positions // lanes) * lanes


@kernel()
def room_of_piece(shape, rows, wide):  # type: ignore[no-untyped-def]
    """Values that results take up while they are computed; turned ones are there twice."""
    return rows * wide if shape < _TURNED else 2 * rows * wide


@kernel()
def fill(shape, weights, source, offsets, numbers, terms, before, count, scratch, like):  # type: ignore[no-untyped-def]
    """Add up terms of `count` positions of a block of channels in `scratch`, which has the room of a piece.

    Operands are addresses. Results are there as soon as `finish` has been called; terms that came `before` are in the
    sums already.
    """
    item = item_size(like)
    rows, _, wide = extent_of_piece(shape, item)
    results = scratch + (room_of_piece(shape, rows, wide) - rows * wide) * item
    w, o, p = pointer_at(weights, like), pointer_at(offsets, terms), pointer_at(numbers, terms)
    if shape < _TURNED:
        _run_tile(shape, w, pointer_at(source, like), o, p, terms, before, pointer_at(results, like))
    else:
        positions = _ROWS[shape]
        for at in range(0, count, positions):
            begin, place = source + at * item, scratch + at * rows * item
            _run_tile(shape, w, pointer_at(begin, like), o, p, terms, before, pointer_at(place, like))


@kernel()
def finish(shape, terms, scratch, like):  # type: ignore[no-untyped-def]
    """Return where the results of `fill` are, (channels, positions) in whole registers; zeros of no terms."""
    item = item_size(like)
    rows, _, wide = extent_of_piece(shape, item)
    results = scratch + (room_of_piece(shape, rows, wide) - rows * wide) * item
    if terms == 0:
        array_at(results, rows * wide, like)[:] = like
    elif shape >= _TURNED:
        turn(scratch, wide, results, rows, like)
    return results


def extent_of(shape: int, itemsize: int) -> tuple[int, int]:
    """Return the channels and positions of a piece."""
    rows, width, _ = extent_of_piece.py_func(shape, itemsize)
    return rows, width


def scratch_of(shape: int) -> int:
    """Return the values a thread needs for a piece's results."""
    rows, _, wide = extent_of_piece.py_func(shape, FLOAT32)
    scratch: int = room_of_piece.py_func(shape, rows, wide)
    return scratch


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
