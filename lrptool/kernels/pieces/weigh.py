"""Value by value: results times a part of x, and fractions times a part of x."""

from __future__ import annotations

from lrptool.kernels.atomic import address_at, address_of, values_at
from lrptool.kernels.jit import kernel
from lrptool.kernels.pieces.onward import NOTHING, SINGLE, fractions_of, hand_on
from lrptool.kernels.rows import weigh_lanes


@kernel()
def weigh_strided(values, x, part, accumulate, out, stride):  # type: ignore[no-untyped-def]
    """Write values to every stride-th place of `out`, times the part of x."""
    zero = out.dtype.type(0)
    for t in range(values.size):
        p = t * stride
        value = values[t]
        if part == 1:
            value *= x[p]
        elif part == 2:
            value *= max(x[p], zero)
        elif part == 3:
            value *= min(x[p], zero)
        out[p] = out[p] + value if accumulate else value


@kernel()
def _weigh_at(task, packs, values, x, apart, n, channel, channels, size, begin, count, places, bases, flags, like):  # type: ignore[no-untyped-def]
    """Do as `weigh_on`, with x at an address."""
    skip, step = channel * size + begin, size * like.itemsize
    out = address_at(places[task.out], n, skip, bases, like)
    target = out if task.keep else values
    target_apart = step if task.keep else apart
    # Values that stay where they are, as they are, need no pass over them.
    if task.keep or task.part or task.accumulate:
        factor, factor_apart = (x, step) if task.part else (values, apart)
        old, old_apart = (out, step) if task.accumulate else (values, apart)
        operands, steps = (values, factor, old, target), (apart, factor_apart, old_apart, target_apart)
        weigh_lanes(operands, steps, channels, count, task.part, task.accumulate, like)
    for k in range(task.onward, task.onward + task.onwards):
        pack = packs[k]
        hand_on(pack, n, channel, channels, begin, target, x, target_apart, count, places, bases, flags, like)


@kernel()
def weigh_on(task, packs, values, apart, n, channel, channels, size, begin, count, places, bases, flags, like):  # type: ignore[no-untyped-def]
    """Write a stretch of some channels' maps, times the part of x, to where relevance lies and to who reads it next.

    Values of a channel are at address `values`, those of the following `apart` from it; maps are of `size`. Where
    nobody reads the relevance itself, it stays in `values`.
    """
    x = address_at(places[task.x], n, channel * size + begin, bases, like)
    _weigh_at(task, packs, values, x, apart, n, channel, channels, size, begin, count, places, bases, flags, like)


@kernel()
def _differ(task, item, skip, places, bases, out):  # type: ignore[no-untyped-def]
    """Fill `out` with what a summand is: the sum without the other one."""
    whole = values_at(places[task.whole], item, skip, out.size, bases, out)
    less = values_at(places[task.less], item, skip, out.size, bases, out)
    for k in range(out.size):
        out[k] = whole[k] - less[k]


@kernel()
def _weigh_piece(task, packs, step, places, bases, flags, own):  # type: ignore[no-untyped-def]
    """Carry out one piece of one task."""
    bands = -(-task.values // task.band)
    c, rest = step % task.channels, step // task.channels
    n, low = rest // bands, rest % bands * task.band
    skip = c * task.values + low
    s = own[: min(task.band, task.values - low)]
    fractions_of(task, n, skip, places, bases, s)
    weight = values_at(places[task.weights], 0, c, 1, bases, own)[0]
    if weight != 1:
        for k in range(s.size):
            s[k] *= weight
    x = address_at(places[task.x], n, skip, bases, own)
    if task.differs:
        summand = own[task.band : task.band + s.size]
        _differ(task, n, skip, places, bases, summand)
        x = address_of(summand)
    _weigh_at(task, packs, address_of(s), x, NOTHING, n, c, SINGLE, task.values, low, s.size, places, bases, flags, own)


@kernel()
def weigh_pieces(tasks, row, packs, begin, end, places, bases, flags, own):  # type: ignore[no-untyped-def]
    """Write fractions of r (channels, values), times a weight per channel and the part of x, or add them.

    Pieces count items, bands of values and channels. With `differs`, x is what lies at `whole` without what lies at
    `less`. The `beside` following tasks have the same pieces, and are carried out with them.
    """
    for step in range(begin, end):
        for k in range(row, row + 1 + tasks[row].beside):
            _weigh_piece(tasks[k], packs, step, places, bases, flags, own)
