"""Dense layers: rows of weights that carry nothing are never read, and parts of the weights never exist as a whole."""

from __future__ import annotations

import numpy as np

from lrptool.kernels.atomic import take
from lrptool.kernels.bare import address_at, array_at, as_kind, item_size, values_at
from lrptool.kernels.jit import kernel
from lrptool.kernels.pieces.onward import NOTHING, SINGLE
from lrptool.kernels.rows import weigh_lanes
from lrptool.kernels.team import CLOSED, enter, leave

_ROWS = 8


@kernel()
def _add_rows(weights, begins, positive, negative, out):  # type: ignore[no-untyped-def]
    """Add eight rows of weights at once, times a factor by the sign: eight streams hide latency."""
    a, b, c, d = weights[begins[0] :], weights[begins[1] :], weights[begins[2] :], weights[begins[3] :]
    e, f, g, h = weights[begins[4] :], weights[begins[5] :], weights[begins[6] :], weights[begins[7] :]
    p0, p1, p2, p3, p4, p5, p6, p7 = positive
    n0, n1, n2, n3, n4, n5, n6, n7 = negative
    if (positive == negative).all():
        for i in range(out.size):
            out[i] += p0 * a[i] + p1 * b[i] + p2 * c[i] + p3 * d[i] + p4 * e[i] + p5 * f[i] + p6 * g[i] + p7 * h[i]
        return
    zero = out.dtype.type(0)
    for i in range(out.size):
        out[i] += (
            (p0 if a[i] > zero else n0) * a[i]
            + (p1 if b[i] > zero else n1) * b[i]
            + (p2 if c[i] > zero else n2) * c[i]
            + (p3 if d[i] > zero else n3) * d[i]
            + (p4 if e[i] > zero else n4) * e[i]
            + (p5 if f[i] > zero else n5) * f[i]
            + (p6 if g[i] > zero else n6) * g[i]
            + (p7 if h[i] > zero else n7) * h[i]
        )


@kernel()
def _add_even(weights, begin, factor, squared, out):  # type: ignore[no-untyped-def]
    """Add one row of squared weights, or of ones, times a factor."""
    row = weights[begin:]
    if squared:
        for i in range(out.size):
            out[i] += factor * row[i] * row[i]
    else:
        for i in range(out.size):
            out[i] += factor


@kernel()
def _next_rows(task, frame, o, rows, like):  # type: ignore[no-untyped-def]
    """Write the next rows, from `o` on, that carry anything in any item; return how many, and where to go on."""
    count = 0
    while o < task.rows and count < _ROWS:
        carries = False
        for n in range(task.items):
            carries |= values_at(frame, task.first, n, o, 1, like)[0] != 0
            carries |= values_at(frame, task.second, n, o, 1, like)[0] != 0
        if carries:
            rows[count] = o
            count += 1
        o += 1
    return count, o


@kernel()
def _add_to_item(task, frame, n, rows, count, weights, low, sums, like):  # type: ignore[no-untyped-def]
    """Add some rows of the weights to one item's sums."""
    first = values_at(frame, task.first, n, 0, task.rows, like)
    second = values_at(frame, task.second, n, 0, task.rows, like)
    begins = np.zeros(_ROWS, np.int64)
    positive, negative = np.zeros(_ROWS, sums.dtype), np.zeros(_ROWS, sums.dtype)
    a, b = as_kind(task.first_positive, like), as_kind(task.second_positive, like)
    c, d = as_kind(task.first_negative, like), as_kind(task.second_negative, like)
    for k in range(count):
        s, t = first[rows[k]], second[rows[k]]
        begins[k], positive[k], negative[k] = rows[k] * task.columns + low, a * s + b * t, c * s + d * t
    if task.squared:
        for k in range(count):
            _add_even(weights, begins[k], positive[k], task.squared == 1, sums)
    else:
        _add_rows(weights, begins, positive, negative, sums)


@kernel()
def dense_pieces(task, frame, begin, end, like):  # type: ignore[no-untyped-def]
    """Fill columns of out (items, columns) with the sum of factor · row over the rows of the weights, times x̂.

    A row's factor comes from two vectors s (rows): first_positive · s₁ + second_positive · s₂ for weights > 0, and with
    `_negative` for weights < 0; so every signed part of the weights is read in one pass, for all items. `squared` is 1
    for squared weights, 2 for ones: then the factors of positive weights hold for all. Pieces count blocks of so many
    columns.
    """
    weights = values_at(frame, task.weights, 0, 0, task.rows * task.columns, like)
    rows, item = np.zeros(_ROWS, np.int64), item_size(like)
    for block in range(begin, end):
        low = block * task.block
        width = min(task.block, task.columns - low)
        sums = array_at(frame.own, task.items * width, like)
        sums[:] = like
        count, o = _next_rows(task, frame, 0, rows, like)
        while count > 0:
            for n in range(task.items):
                _add_to_item(task, frame, n, rows, count, weights, low, sums[n * width : (n + 1) * width], like)
            count, o = _next_rows(task, frame, o, rows, like)
        for n in range(task.items):
            values = frame.own + n * width * item
            x = address_at(frame, task.x, n, low, like) if task.part else values
            out = address_at(frame, task.out, n, low, like)
            operands = (values, x, out if task.accumulate else values, out)
            apart = (NOTHING, NOTHING, NOTHING, NOTHING)
            weigh_lanes(operands, apart, SINGLE, width, task.part, task.accumulate, like)


@kernel(entry=True)
def dense_forward(x, weight, positive, negative, squared, out, counter, gate, leads):  # type: ignore[no-untyped-def]
    """Fill out (N, O) with Σ_k x[n, k] · ŵ[o, k]; ŵ is weight (O, K) times a factor by its sign, see `dense_pieces`."""
    if enter(gate) >= CLOSED:
        return
    zero = weight.dtype.type(0)
    row = np.empty(weight.shape[1], weight.dtype)
    o = take(counter, 0, 1)
    while o < weight.shape[0]:
        for i in range(row.size):
            w = weight[o, i]
            if squared == 1:
                row[i] = w * w
            elif squared == 2:
                row[i] = weight.dtype.type(1)
            else:
                row[i] = w * (positive if w > zero else negative)
        for n in range(x.shape[0]):
            total = weight.dtype.type(0)
            for i in range(row.size):
                total += x[n, i] * row[i]
            out[n, o] = total
        o = take(counter, 0, 1)
    leave(gate, leads)
