"""Tiles to choose from, and how one of them computes a piece: some channels at neighbouring positions."""

from __future__ import annotations

from lrptool.kernels.atomic import address_of
from lrptool.kernels.jit import kernel
from lrptool.kernels.simd import SIMD
from lrptool.kernels.tile import make_tile, pointer_behind, pointer_to
from lrptool.kernels.turn import turn

# Tiles as globals, chosen at run time: as variables of a closure they would be part of the key under which machine code
# is kept, and a new process would never find it.
_TURNED = 5
_SHAPES = (SIMD.tiles * _TURNED)[:_TURNED] + SIMD.turned
_ROWS, _VECS = tuple(rows for rows, _ in _SHAPES), tuple(vecs for _, vecs in _SHAPES)
_TILE0, _TILE1, _TILE2, _TILE3, _TILE4 = (make_tile(rows, vecs, SIMD) for rows, vecs in _SHAPES[:_TURNED])
_TILE5, _TILE6 = (make_tile(rows, vecs, SIMD, turned=True) for rows, vecs in _SHAPES[_TURNED:])
_REGISTER = SIMD.lanes * 4
_SIDE_BY_SIDE = 4
"""Turned tiles whose results are stored together: a tile's own stretches would be short."""
_LEAST_PIECES = 16
"""Pieces of work below which threads would wait for one another."""


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
    elif shape == 4:
        _TILE4(weights, source, offsets, places, terms, out)
    elif shape == 5:
        _TILE5(weights, source, offsets, places, terms, out)
    else:
        _TILE6(weights, source, offsets, places, terms, out)


@kernel()
def extent_of_piece(shape, itemsize):  # type: ignore[no-untyped-def]
    """Channels and positions of a piece."""
    lanes = _REGISTER // itemsize
    if shape < _TURNED:
        return _ROWS[shape], _VECS[shape] * lanes
    return _VECS[shape] * lanes, _SIDE_BY_SIDE * _ROWS[shape]


@kernel()
def scratch_of_piece(shape, itemsize):  # type: ignore[no-untyped-def]
    """Values a piece's results take while they are computed."""
    rows, width = extent_of_piece(shape, itemsize)
    if shape < _TURNED:
        return rows * width
    lanes = _REGISTER // itemsize
    return 2 * rows * -(-width // lanes) * lanes


@kernel()
def fill(shape, weights, source, offsets, places, terms, count, own):  # type: ignore[no-untyped-def]
    """Compute `count` positions of a block of channels; return (channels, ·) results within `own`."""
    rows, width = extent_of_piece(shape, own.itemsize)
    if shape < _TURNED:
        scratch = own[: rows * width]
        if terms > 0:
            _run_tile(shape, weights, source, offsets, places, terms, pointer_to(own, 0))
        else:
            scratch[:] = own.dtype.type(0)
        return scratch
    lanes, positions = _REGISTER // own.itemsize, _ROWS[shape]
    width = -(-width // lanes) * lanes
    scratch = own[rows * width : 2 * rows * width]
    if terms > 0:
        for at in range(0, count, positions):
            begin = pointer_behind(source, at)
            _run_tile(shape, weights, begin, offsets, places, terms, pointer_to(own, at * rows))
        turn(address_of(own), width, address_of(scratch), rows, own)
    else:
        scratch[:] = own.dtype.type(0)
    return scratch


def extent_of(shape: int, itemsize: int) -> tuple[int, int]:
    """Return the channels and positions of a piece."""
    extent: tuple[int, int] = extent_of_piece.py_func(shape, itemsize)
    return extent


def scratch_of(shape: int) -> int:
    """Return the values a thread needs for a piece's results."""
    rows, width = extent_of(shape, 4)
    return rows * width if shape < _TURNED else 2 * rows * -(-width // SIMD.lanes) * SIMD.lanes


def fits_one(channels: int) -> bool:
    """Whether a tile can hold so many channels."""
    return channels <= max(_ROWS[:_TURNED])


def best_shape(channels: int, size: int, *, whole: bool = False, widest: int | None = None) -> int:
    """Return which tile wastes least on `channels` rows and `size` positions.

    `whole` ones hold all channels. With `widest` they are not turned, and no wider if there is one that narrow.
    """
    narrowest = min(extent_of(shape, 4)[1] for shape in range(_TURNED))

    def useful(shape: int) -> float:
        rows, width = extent_of(shape, 4)
        turned = shape >= _TURNED
        if whole and (turned or rows < channels):
            return 0.0
        if widest is not None and (turned or width > max(widest, narrowest)):
            return 0.0
        if turned and -(-channels // rows) * -(-size // width) < _LEAST_PIECES:
            return 0.0
        step = _ROWS[shape] if turned else width
        filled = channels / (-(-channels // rows) * rows) * size / (-(-size // step) * step)
        # Every step loads its vectors anew: few broadcasts make little of them. Turning results takes time of its own.
        # The constants are from measurements.
        return filled * _ROWS[shape] / (_ROWS[shape] + 1.8) * (0.97 if turned else 1.0)

    return max(range(len(_SHAPES)), key=useful)
