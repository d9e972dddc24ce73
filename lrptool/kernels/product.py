"""The one product every transposed convolution is made of, with what comes before and after it in the same pass.

    out[n, i, q] = x̂[n, i, q] · Σ_k weights[i, k] · planes[n, offsets[k] + q]

A zero-padded plane whose rows follow each other is one flat vector; the factor of a kernel's tap is that vector shifted
by a constant. So a table of offsets describes stride, dilation and padding, and no im2col matrix is built.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from lrptool.kernels.jit import kernel
from lrptool.kernels.pack import pack_plane
from lrptool.kernels.schedule import APART, PIECES_PER_THREAD, look, take
from lrptool.kernels.simd import SIMD
from lrptool.kernels.tile import make_tile, pointer_to

SLACK = 128
"""Values a buffer of planes has behind its last one: a tile reads whole registers."""

ONE, ALL, POS, NEG = range(4)
"""Parts of x the result is multiplied by."""

_NEAR = 1 << 18
"""Planes of so many values stay in a core's cache: then one block of weights meets all positions in turn."""


@kernel()
def _store(tile, row, begin, end, cols, first, last, x, part, out, accumulate):  # type: ignore[no-untyped-def]
    """Write positions [begin, end) of one row of a tile to their places in a map, times the part of x.

    Position q is step (q // cols, q % cols); step u lands on row first[0] · u + first[1] where last[0] ≤ u < last[1].
    """
    zero = out.dtype.type(0)
    q = begin
    while q < end:
        u = q // cols
        stop = min(end, (u + 1) * cols, u * cols + last[3])
        start = max(q, u * cols + last[2])
        if last[0] <= u < last[1] and start < stop:
            y = first[0] * u + first[1]
            left = first[2] * (start - u * cols) + first[3]
            target = out[y, left:]
            source = x[y, left:]
            stride = first[2]
            for t in range(stop - start):
                value = tile[row, start - begin + t]
                p = t * stride
                if part == 1:
                    value *= source[p]
                elif part == 2:
                    value *= max(source[p], zero)
                elif part == 3:
                    value *= min(source[p], zero)
                if accumulate:
                    target[p] += value
                else:
                    target[p] = value
        q = (u + 1) * cols


@kernel()
def _pack(step, fractions, r, dens, z, epsilons, layout, planes, alive):  # type: ignore[no-untyped-def]
    """Pack one plane: `step` counts items, fractions and channels; layout is (rows, cols, top, left)."""
    batch, channels = r.shape[0], r.shape[1]
    groups, count = planes.shape[1], len(fractions)
    channel, rest = step % channels, step // channels
    number, n = rest % count, rest // count
    coefficient, where, clip, normalised = fractions[number]
    per_group = channels // groups
    rows, cols, top, left = layout
    g, place = channel // per_group, number * per_group + channel % per_group
    den = dens[0] if number == 0 else dens[1]
    alive[n, g, place] = pack_plane(
        r[n, channel],
        den[n if den.shape[0] > 1 else 0, channel],
        z[n if z.shape[0] > 1 else 0, channel],
        epsilons[number, n if batch > 1 else 0],
        clip != 0,
        int(where),
        normalised != 0,
        r.dtype.type(coefficient),
        planes[n, g, place * rows * cols : (place + 1) * rows * cols],
        cols,
        top,
        left,
    )


@kernel()
def _living(alive, offsets, out_offsets, out_places):  # type: ignore[no-untyped-def]
    """Write offsets and places of the terms whose plane holds anything in any item and group; return their number."""
    batch, groups, planes = alive.shape
    taps = offsets.shape[1]
    count = 0
    for p in range(planes):
        found = False
        for n in range(batch):
            for g in range(groups):
                found |= alive[n, g, p]
        if found:
            for t in range(taps):
                out_offsets[count] = offsets[p, t]
                out_places[count] = p * taps + t
                count += 1
    return count


# Tiles as globals, chosen at run time: as variables of a closure they would be part of the key under which machine code
# is kept, and a new process would never find it.
_SHAPES = (SIMD.tiles * 3)[:3] if len(SIMD.tiles) < 3 else SIMD.tiles
_ROWS, _VECS = tuple(rows for rows, _ in _SHAPES), tuple(vecs for _, vecs in _SHAPES)
_MANY, _SOME, _FEW = (make_tile(rows, vecs, SIMD) for rows, vecs in _SHAPES)
_REGISTER = SIMD.lanes * 4


@kernel(parallel=True)
def product(  # type: ignore[no-untyped-def]
    shape,
    fractions,
    r,
    dens,
    z,
    epsilons,
    layout,
    planes,
    alive,
    weights,
    offsets,
    steps,
    first,
    last,
    x,
    part,
    out,
    accumulate,
    counters,
    threads,
):
    """Compute the product, fractions and factor included, with the tile of `SIMD.tiles[shape]`.

    Parameters are

    - shape: which tile
    - fractions (F, 4): coefficient, where, clip, normalised of each, F ≤ 2; none: the planes are packed already
    - r (N, O, Ho, Wo), dens: two arrays of r's shape or (1, …), z likewise, epsilons (2, N)
    - layout: rows, cols, top, left of a plane; planes (N, G, L); alive bool (N, G, planes)
    - weights (G, B, ·, rows), int64 offsets (planes, taps), steps (U, V), first and last: the landing, see `_store`
    - x (N or 1, G·I, H, W), the part of x, out (N, G·I, H, W), whether to add to it
    - counters int64 (3 · APART,) of zeros, and the number of threads.

    Threads take pieces of work from the counters: a thread that is held up costs its own piece. Each piece owns its
    part of the result and sums in one fixed order, so results do not depend on the threads.
    """
    groups, blocks, stored = weights.shape[0], weights.shape[1], weights.shape[2]
    batch, channels, cols = out.shape[0], out.shape[1] // groups, layout[1]
    rows, vecs = (_ROWS[shape], _VECS[shape])
    width = vecs * (_REGISTER // out.itemsize)
    size = (steps[0] - 1) * cols + steps[1]
    columns = -(-size // width)
    total = batch * groups * blocks * columns
    near = planes.shape[2] <= _NEAR
    piece = max(1, total // (threads * PIECES_PER_THREAD))
    to_pack = batch * len(fractions) * r.shape[1]
    pack_piece = max(1, to_pack // (threads * PIECES_PER_THREAD))
    for _ in prange(threads):
        begin = take(counters, 0, pack_piece)
        while begin < to_pack:
            end = min(begin + pack_piece, to_pack)
            for step in range(begin, end):
                _pack(step, fractions, r, dens, z, epsilons, layout, planes, alive)
            take(counters, APART, end - begin)
            begin = take(counters, 0, pack_piece)
        # Nobody reads a plane before all are written. Pieces are short, so this is.
        while look(counters, APART) < to_pack:
            pass
        own_offsets, own_places = np.empty(offsets.size, np.int64), np.empty(offsets.size, np.int64)
        terms = _living(alive, offsets, own_offsets, own_places)
        scratch = np.zeros((rows, width), out.dtype)
        begin = take(counters, 2 * APART, piece)
        while begin < total:
            for step in range(begin, min(begin + piece, total)):
                if near:
                    column, rest = step % columns, step // columns
                    block, rest = rest % blocks, rest // blocks
                else:
                    block, rest = step % blocks, step // blocks
                    column, rest = rest % columns, rest // columns
                g, n = rest % groups, rest // groups
                q = column * width
                if terms > 0:
                    w = pointer_to(weights, (g * blocks + block) * stored * rows)
                    s = pointer_to(planes, (n * groups + g) * planes.shape[2] + q)
                    o, p, t = pointer_to(own_offsets, 0), pointer_to(own_places, 0), pointer_to(scratch, 0)
                    if shape == 0:
                        _MANY(w, s, o, p, terms, t)
                    elif shape == 1:
                        _SOME(w, s, o, p, terms, t)
                    else:
                        _FEW(w, s, o, p, terms, t)
                source = x[n if x.shape[0] > 1 else 0]
                end = min(q + width, size)
                for m in range(min(rows, channels - block * rows)):
                    i = g * channels + block * rows + m
                    _store(scratch, m, q, end, cols, first, last, source[i], part, out[n, i], accumulate)
            begin = take(counters, 2 * APART, piece)


def rows_of(shape: int) -> int:
    """Return the rows of a tile."""
    return _SHAPES[shape][0]


def best_shape(channels: int, size: int) -> int:
    """Return which tile wastes least on `channels` rows and `size` positions."""

    def useful(shape: int) -> float:
        rows, vecs = _SHAPES[shape]
        width = vecs * SIMD.lanes
        filled = channels / (-(-channels // rows) * rows) * size / (-(-size // width) * width)
        # A step loads rows + vecs values for rows · vecs multiply-adds.
        return filled * min(1.0, rows * vecs / (rows + vecs) / 2)

    return max(range(len(_SHAPES)), key=useful)
