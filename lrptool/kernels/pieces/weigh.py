"""Value by value: results times a part of x, and fractions times a part of x."""

from __future__ import annotations

from lrptool.kernels.atomic import values_at
from lrptool.kernels.jit import kernel
from lrptool.kernels.pieces.pack import fractions_of


@kernel()
def weigh_into(values, x, part, accumulate, out, stride):  # type: ignore[no-untyped-def]
    """Write values to every stride-th place of `out`, times the part of x."""
    zero = out.dtype.type(0)
    if stride == 1 and part == 1 and accumulate:
        for t in range(values.size):
            out[t] += values[t] * x[t]
    elif stride == 1 and part == 1:
        for t in range(values.size):
            out[t] = values[t] * x[t]
    else:
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
def weigh_pieces(task, begin, end, places, bases, own):  # type: ignore[no-untyped-def]
    """Write fractions of r (channels, values), times a weight per channel and the part of x, or add them.

    Pieces count items, bands of values and channels.
    """
    bands = -(-task.values // task.band)
    for step in range(begin, end):
        c, rest = step % task.channels, step // task.channels
        n, low = rest // bands, rest % bands * task.band
        skip = c * task.values + low
        s = own[: min(task.band, task.values - low)]
        fractions_of(task, n, skip, places, bases, s)
        weight = values_at(places[task.weights], 0, c, 1, bases, own)[0]
        if weight != 1:
            for k in range(s.size):
                s[k] *= weight
        x = values_at(places[task.x], n, skip, s.size, bases, own)
        out = values_at(places[task.out], n, skip, s.size, bases, own)
        weigh_into(s, x, task.part, task.accumulate != 0, out, 1)
