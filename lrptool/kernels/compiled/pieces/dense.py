"""Dense layers: rows of weights that carry nothing are never read, and parts of the weights never exist as a whole."""

from __future__ import annotations

from lrptool.kernels.compiled.atomic import take
from lrptool.kernels.compiled.bare import address_at, as_kind, item_size, pointer_at, set_all, values_at
from lrptool.kernels.compiled.gate import enter, leave
from lrptool.kernels.compiled.jit import kernel
from lrptool.kernels.compiled.pieces.onward import NOTHING, SINGLE
from lrptool.kernels.compiled.rows import weigh_lanes
from lrptool.kernels.scratch import INTEGER, ROWS
from lrptool.kernels.team import CLOSED


@kernel
def _add_rows(begins, positive, negative, out, count, like):
    """Add eight rows of weights, from eight addresses on, times a factor by the sign: eight streams hide latency."""
    a, b, c, d = (
        pointer_at(begins[0], like),
        pointer_at(begins[1], like),
        pointer_at(begins[2], like),
        pointer_at(begins[3], like),
    )
    e, f, g, h = (
        pointer_at(begins[4], like),
        pointer_at(begins[5], like),
        pointer_at(begins[6], like),
        pointer_at(begins[7], like),
    )
    p0, p1, p2, p3 = positive[0], positive[1], positive[2], positive[3]
    p4, p5, p6, p7 = positive[4], positive[5], positive[6], positive[7]
    n0, n1, n2, n3 = negative[0], negative[1], negative[2], negative[3]
    n4, n5, n6, n7 = negative[4], negative[5], negative[6], negative[7]
    one_kind = p0 == n0 and p1 == n1 and p2 == n2 and p3 == n3 and p4 == n4 and p5 == n5 and p6 == n6 and p7 == n7
    if one_kind:
        for i in range(count):
            out[i] += p0 * a[i] + p1 * b[i] + p2 * c[i] + p3 * d[i] + p4 * e[i] + p5 * f[i] + p6 * g[i] + p7 * h[i]
        return
    for i in range(count):
        out[i] += (
            (p0 if a[i] > like else n0) * a[i]
            + (p1 if b[i] > like else n1) * b[i]
            + (p2 if c[i] > like else n2) * c[i]
            + (p3 if d[i] > like else n3) * d[i]
            + (p4 if e[i] > like else n4) * e[i]
            + (p5 if f[i] > like else n5) * f[i]
            + (p6 if g[i] > like else n6) * g[i]
            + (p7 if h[i] > like else n7) * h[i]
        )


@kernel
def _add_even(begin, factor, squared, out, count, like):
    """Add the row of squared weights at an address, or of ones, times a factor."""
    row = pointer_at(begin, like)
    if squared:
        for i in range(count):
            out[i] += factor * row[i] * row[i]
    else:
        for i in range(count):
            out[i] += factor


@kernel
def _next_rows(task, frame, o, rows, like):
    """Write the next rows, from `o` on, that carry anything in any item; return how many, and where to go on."""
    count = 0
    while o < task.rows and count < ROWS:
        carries = False
        for n in range(task.items):
            carries |= values_at(frame, task.first, n, o, like)[0] != 0
            carries |= values_at(frame, task.second, n, o, like)[0] != 0
        if carries:
            rows[count] = o
            count += 1
        o += 1
    return count, o


@kernel
def _add_to_item(task, frame, n, rows, count, weights, low, room, sums, width, like):
    """Add some rows of the weights, at an address, to one item's sums; there is `room` for what their factors are."""
    first = values_at(frame, task.first, n, 0, like)
    second = values_at(frame, task.second, n, 0, like)
    begins, factors = pointer_at(room, rows[0]), room + ROWS * INTEGER
    positive, negative = pointer_at(factors, like), pointer_at(factors + ROWS * item_size(like), like)
    for k in range(ROWS):
        begins[k], positive[k], negative[k] = weights, like, like
    a, b = as_kind(task.first_positive, like), as_kind(task.second_positive, like)
    c, d = as_kind(task.first_negative, like), as_kind(task.second_negative, like)
    for k in range(count):
        s, t = first[rows[k]], second[rows[k]]
        begins[k] = weights + (rows[k] * task.columns + low) * item_size(like)
        positive[k], negative[k] = a * s + b * t, c * s + d * t
    if task.squared:
        for k in range(count):
            _add_even(begins[k], positive[k], task.squared == 1, sums, width, like)
    else:
        _add_rows(begins, positive, negative, sums, width, like)


@kernel
def dense_pieces(task, frame, begin, end, like):
    """Fill columns of out (items, columns) with the sum of factor · row over the rows of the weights, times x̂.

    A row's factor comes from two vectors s (rows): first_positive · s₁ + second_positive · s₂ for weights > 0, and with
    `_negative` for weights < 0; so every signed part of the weights is read in one pass, for all items. `squared` is 1
    for squared weights, 2 for ones: then the factors of positive weights hold for all. Pieces count blocks of so many
    columns.
    """
    weights = address_at(frame, task.weights, 0, 0, like)
    item = item_size(like)
    for block in range(begin, end):
        low = block * task.block
        width = min(task.block, task.columns - low)
        set_all(frame.own, task.items * width, like)
        # Behind the sums: the numbers of some rows, and room for their factors.
        numbers = -(-(frame.own + task.items * width * item) // INTEGER) * INTEGER
        rows, room = pointer_at(numbers, low), numbers + ROWS * INTEGER
        count, o = _next_rows(task, frame, 0, rows, like)
        while count > 0:
            for n in range(task.items):
                own = pointer_at(frame.own + n * width * item, like)
                _add_to_item(task, frame, n, rows, count, weights, low, room, own, width, like)
            count, o = _next_rows(task, frame, o, rows, like)
        for n in range(task.items):
            values = frame.own + n * width * item
            x = address_at(frame, task.x, n, low, like) if task.part else values
            out = address_at(frame, task.out, n, low, like)
            operands = (values, x, out if task.accumulate else values, out)
            apart = (NOTHING, NOTHING, NOTHING, NOTHING)
            weigh_lanes(operands, apart, SINGLE, width, task.part, task.accumulate, like)


@kernel
def forward_dense(like, x, weight, factors, squared, out, own, sizes, counter, gate, leads):
    """Fill out (N, O) with Σ_k x[n, k] · ŵ[o, k]; ŵ is weight (O, K) times a factor by its sign, see `dense_pieces`.

    Operands are addresses, `sizes` that of N, O and K, `own` that of room for K values for every thread.
    """
    worker = enter(gate)
    if worker >= CLOSED:
        return 0
    sizes = pointer_at(sizes, gate)
    items, rows, columns = sizes[0], sizes[1], sizes[2]
    weight, row = pointer_at(weight, like), pointer_at(own + worker * columns * item_size(like), like)
    x, out, factors = pointer_at(x, like), pointer_at(out, like), pointer_at(factors, like)
    one = as_kind(1, like)
    o = take(counter, 1)
    while o < rows:
        for i in range(columns):
            w = weight[o * columns + i]
            if squared == 1:
                row[i] = w * w
            elif squared == 2:
                row[i] = one
            else:
                row[i] = w * (factors[0] if w > like else factors[1])
        for n in range(items):
            total = like
            for i in range(columns):
                total += x[n * columns + i] * row[i]
            out[n * rows + o] = total
        o = take(counter, 1)
    leave(gate, leads)
    return 0
