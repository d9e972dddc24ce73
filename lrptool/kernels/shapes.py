"""Tiles to choose from, and what one of them computes at a time, a piece: some channels at neighbouring positions."""

from __future__ import annotations

from lrptool.kernels.simd import REGISTER, SIMD

TURNED = 5
"""The first of the turned tiles; there are two of them. A set with fewer of the others has these more than once."""
SHAPES = (SIMD.tiles * TURNED)[:TURNED] + SIMD.turned
_ROWS, _VECS = tuple(rows for rows, _ in SHAPES), tuple(vecs for _, vecs in SHAPES)
STEP = 2
"""Outputs along an axis from a tile of minimal filtering to the next, see `lrptool.kernels.compiled.blend`."""
FREQUENCIES = 16
"""Its products of single values."""
_SIDE_BY_SIDE = 4
"""Turned tiles whose results are stored together: a tile's own stretches would be short."""
FLOAT32 = 4
"""Bytes of the values production works on; of larger ones fewer fit into what they need."""
_KEPT = 120_000
"""Weights of a block that a core's own cache holds beside what they meet: turned tiles read all of them anew for every
few positions."""
_LEAST_PIECES = 16
"""Pieces of work below which threads would wait for one another."""


def extent_of_piece(shape: int, itemsize: int) -> tuple[int, int, int]:
    """Return channels and positions of a piece, and positions up to whole registers; compiled, too."""
    lanes = REGISTER // itemsize
    if shape < TURNED:
        return _ROWS[shape], _VECS[shape] * lanes, _VECS[shape] * lanes
    positions = _SIDE_BY_SIDE * _ROWS[shape]
    return _VECS[shape] * lanes, positions, -(-positions // lanes) * lanes


def extent_of(shape: int, itemsize: int) -> tuple[int, int]:
    """Return the channels and positions of a piece."""
    rows, width, _ = extent_of_piece(shape, itemsize)
    return rows, width


def extent_of_strip(shape: int, pieces: int) -> tuple[int, int]:
    """Return channels and values per channel of results of pieces that follow each other, float32."""
    rows, width, wide = extent_of_piece(shape, FLOAT32)
    return rows, (pieces - 1) * width + wide


def sums_of(shape: int) -> int:
    """Return the values a piece's results take up before they are turned; 0 where they are not."""
    rows, _, wide = extent_of_piece(shape, FLOAT32)
    return rows * wide if shape >= TURNED else 0


def fits_one(rows: int) -> bool:
    """Whether a tile that is not turned can hold so many rows."""
    return rows <= max(_ROWS[:TURNED])


def narrowest() -> int:
    """Return the positions of the narrowest tile that is not turned."""
    return min(extent_of(shape, FLOAT32)[1] for shape in range(TURNED))


def best_shape(channels: int, size: int, terms: int, *, unit: int = 1, widest: int | None = None) -> int:
    """Return which tile wastes least on `channels` rows and `size` positions, each a sum of so many terms.

    Every `unit` rows are of one tile, which some tile has to hold, see `fits_one`. With `widest` tiles are not turned,
    and no wider; the `narrowest` is at most that.
    """

    def useful(shape: int) -> float:
        rows, width = extent_of(shape, FLOAT32)
        turned = shape >= TURNED
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

    return max(range(len(SHAPES)), key=useful)
