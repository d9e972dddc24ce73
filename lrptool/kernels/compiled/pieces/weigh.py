"""Value by value: results times a part of x, and fractions times a part of x."""

from __future__ import annotations

from lrptool.kernels.compiled.bare import address_at, as_kind, item_size, pointer_at, reader, values_at
from lrptool.kernels.compiled.jit import kernel
from lrptool.kernels.compiled.pieces.onward import NOTHING, SINGLE, fractions_at, hand_on_all
from lrptool.kernels.compiled.rows import weigh_lanes
from lrptool.kernels.records import TABLES, WEIGH

_read_weigh = reader(TABLES[WEIGH])


@kernel
def weigh_strided(values, x, part, accumulate, out, stride, count, like):
    """Write `count` values to every stride-th place from `out` on, times the part of x; operands are addresses."""
    values, x, out = pointer_at(values, like), pointer_at(x, like), pointer_at(out, like)
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


@kernel
def _weigh_at(task, frame, values, apart, x, x_apart, n, channel, channels, size, begin, count, like):
    """Do as `weigh_on` but for the tasks that are next, with x at an address; return where the relevance is."""
    skip, step = channel * size + begin, size * item_size(like)
    out = address_at(frame, task.out, n, skip, like)
    target, target_apart = (out, step) if task.keep else (values, apart)
    # Values that stay where they are, as they are, need no pass over them.
    if task.keep or task.part or task.accumulate:
        factor, factor_apart = (x, x_apart) if task.part else (values, apart)
        old, old_apart = (out, step) if task.accumulate else (values, apart)
        operands, steps = (values, factor, old, target), (apart, factor_apart, old_apart, target_apart)
        weigh_lanes(operands, steps, channels, count, task.part, task.accumulate, like)
    if task.onwards:
        first, packs, r, far = task.onward, task.onwards, target, target_apart
        hand_on_all(first, packs, frame, n, channel, channels, begin, r, far, x, x_apart, count, like)
    return target, target_apart


@kernel
def weigh_on(task, frame, values, apart, n, channel, channels, size, begin, count, like):
    """Write a stretch of some channels' maps, times the part of x, to where relevance lies and to who reads it next.

    Values of a channel are at address `values`, those of the following `apart` from it; maps are of `size`. Where
    nobody reads the relevance itself, it stays in `values`.
    """
    x, step = address_at(frame, task.x, n, channel * size + begin, like), size * item_size(like)
    r, far = _weigh_at(task, frame, values, apart, x, step, n, channel, channels, size, begin, count, like)
    if task.nexts:
        scratch = frame.own + task.spare * item_size(like)
        first, more = task.next, task.nexts
        weigh_fractions(first, more, frame, r, far, scratch, n, channel, channels, size, begin, count, like)


@kernel
def _differ(whole, less, step, out, apart, rows, count, like):
    """Write what a summand is, the sum without the other one, for `rows` of `count` values; operands are addresses."""
    for m in range(rows):
        one, other = pointer_at(whole + m * step, like), pointer_at(less + m * step, like)
        summand = pointer_at(out + m * apart, like)
        for k in range(count):
            summand[k] = one[k] - other[k]


@kernel
def weigh_fractions(first, tasks, frame, r, far, scratch, n, channel, channels, size, begin, count, like):
    """Weigh the fractions of a stretch of some channels' maps of relevance, as so many tasks from row `first` on say.

    Relevance of a channel is at address `r`, that of the following `far` from it; `scratch` is the address of twice as
    many values. With `differs`, x is what lies at `whole` without what lies at `less`.
    """
    item, skip = item_size(like), channel * size + begin
    apart, step = count * item, size * item
    summand = scratch + channels * apart
    for k in range(first, first + tasks):
        task = _read_weigh(frame.weighs, k)
        fractions_at(task, frame, n, skip, size, r, far, scratch, apart, channels, count, like)
        weights = values_at(frame, task.weights, 0, channel, like)
        for m in range(channels):
            if weights[m] != as_kind(1, like):
                s = pointer_at(scratch + m * apart, like)
                for i in range(count):
                    s[i] *= weights[m]
        if task.differs:
            whole = address_at(frame, task.whole, n, skip, like)
            less = address_at(frame, task.less, n, skip, like)
            _differ(whole, less, step, summand, apart, channels, count, like)
            x, x_apart = summand, apart
        else:
            x, x_apart = address_at(frame, task.x, n, skip, like), step
        _weigh_at(task, frame, scratch, apart, x, x_apart, n, channel, channels, size, begin, count, like)


@kernel
def weigh_pieces(row, frame, begin, end, like):
    """Write fractions of r (channels, values), times a weight per channel and the part of x, or add them.

    Pieces count items, bands of values and channels. The task is that of a row; the `beside` following ones have the
    same pieces, and are carried out with it.
    """
    task = _read_weigh(frame.weighs, row)
    bands = -(-task.values // task.band)
    for step in range(begin, end):
        c, rest = step % task.channels, step // task.channels
        n, low = rest // bands, rest % bands * task.band
        size, count = task.values, min(task.band, task.values - low)
        r = address_at(frame, task.r, n, c * size + low, like)
        weigh_fractions(row, 1 + task.beside, frame, r, NOTHING, frame.own, n, c, SINGLE, size, low, count, like)
