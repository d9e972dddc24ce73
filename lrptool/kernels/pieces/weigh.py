"""Value by value: results times a part of x, and fractions times a part of x."""

from __future__ import annotations

from lrptool.kernels.bare import address_at, array_at, as_kind, item_size, reader, values_at
from lrptool.kernels.jit import kernel
from lrptool.kernels.pieces.onward import NOTHING, SINGLE, fractions_of, hand_on_all
from lrptool.kernels.records import TABLES, WEIGH
from lrptool.kernels.rows import weigh_lanes

_read_weigh = reader(TABLES[WEIGH])


@kernel()
def weigh_strided(values, x, part, accumulate, out, stride, count, like):  # type: ignore[no-untyped-def]
    """Write `count` values to every stride-th place from `out` on, times the part of x; operands are addresses."""
    span = (count - 1) * stride + 1
    values, x, out = array_at(values, count, like), array_at(x, span, like), array_at(out, span, like)
    for t in range(count):
        p = t * stride
        value = values[t]
        if part == 1:
            value *= x[p]
        elif part == 2:
            value *= max(x[p], like)
        elif part == 3:
            value *= min(x[p], like)
        out[p] = out[p] + value if accumulate else value


@kernel()
def _weigh_at(task, frame, values, x, apart, n, channel, channels, size, begin, count, like):  # type: ignore[no-untyped-def]
    """Do as `weigh_on`, with x at an address."""
    skip, step = channel * size + begin, size * item_size(like)
    out = address_at(frame, task.out, n, skip, like)
    target = out if task.keep else values
    target_apart = step if task.keep else apart
    # Values that stay where they are, as they are, need no pass over them.
    if task.keep or task.part or task.accumulate:
        factor, factor_apart = (x, step) if task.part else (values, apart)
        old, old_apart = (out, step) if task.accumulate else (values, apart)
        operands, steps = (values, factor, old, target), (apart, factor_apart, old_apart, target_apart)
        weigh_lanes(operands, steps, channels, count, task.part, task.accumulate, like)
    if task.onwards:
        first, packs = task.onward, task.onwards
        hand_on_all(first, packs, frame, n, channel, channels, begin, target, x, target_apart, count, like)


@kernel()
def weigh_on(task, frame, values, apart, n, channel, channels, size, begin, count, like):  # type: ignore[no-untyped-def]
    """Write a stretch of some channels' maps, times the part of x, to where relevance lies and to who reads it next.

    Values of a channel are at address `values`, those of the following `apart` from it; maps are of `size`. Where
    nobody reads the relevance itself, it stays in `values`.
    """
    x = address_at(frame, task.x, n, channel * size + begin, like)
    _weigh_at(task, frame, values, x, apart, n, channel, channels, size, begin, count, like)


@kernel()
def _differ(task, frame, item, skip, out, count, like):  # type: ignore[no-untyped-def]
    """Write what a summand is to address `out`: the sum without the other one."""
    whole = values_at(frame, task.whole, item, skip, count, like)
    less = values_at(frame, task.less, item, skip, count, like)
    summand = array_at(out, count, like)
    for k in range(count):
        summand[k] = whole[k] - less[k]


@kernel()
def _weigh_piece(task, frame, step, like):  # type: ignore[no-untyped-def]
    """Carry out one piece of one task."""
    bands = -(-task.values // task.band)
    c, rest = step % task.channels, step // task.channels
    n, low = rest // bands, rest % bands * task.band
    skip, count = c * task.values + low, min(task.band, task.values - low)
    fractions_of(task, frame, n, skip, frame.own, count, like)
    weight = values_at(frame, task.weights, 0, c, 1, like)[0]
    if weight != as_kind(1, like):
        s = array_at(frame.own, count, like)
        for k in range(count):
            s[k] *= weight
    x = address_at(frame, task.x, n, skip, like)
    if task.differs:
        x = frame.own + task.band * item_size(like)
        _differ(task, frame, n, skip, x, count, like)
    _weigh_at(task, frame, frame.own, x, NOTHING, n, c, SINGLE, task.values, low, count, like)


@kernel()
def weigh_pieces(row, frame, begin, end, like):  # type: ignore[no-untyped-def]
    """Write fractions of r (channels, values), times a weight per channel and the part of x, or add them.

    Pieces count items, bands of values and channels. With `differs`, x is what lies at `whole` without what lies at
    `less`. The task is that of a row; the `beside` following ones have the same pieces, and are carried out with it.
    """
    beside = _read_weigh(frame.weighs, row).beside
    for step in range(begin, end):
        for k in range(row, row + 1 + beside):
            _weigh_piece(_read_weigh(frame.weighs, k), frame, step, like)
