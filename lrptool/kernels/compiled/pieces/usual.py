"""Max pooling with windows that most networks have.

Large maps take a row of windows after the other: all that is written and read again stays in a core's nearest cache.
"""

from __future__ import annotations

import numpy as np

from lrptool.kernels.compiled.bare import address_at, as_kind, item_size, set_all
from lrptool.kernels.compiled.jit import kernel
from lrptool.kernels.compiled.lanes import copy_lanes
from lrptool.kernels.compiled.near import prefetch
from lrptool.kernels.compiled.pieces.onward import NOTHING, SINGLE
from lrptool.kernels.compiled.pieces.weigh import weigh_on
from lrptool.kernels.compiled.usual import collect_2_2, collect_3_1, collect_3_2, compete_2_2, compete_3_1, compete_3_2
from lrptool.kernels.records import FORM_2_2, FORM_3_1, FORM_3_2
from lrptool.kernels.simd import REGISTER


@kernel
def compete_usual(task, first, second, third, winners, count, like):
    """Write which place of each of `count` windows has the first maximum, given where rows of values begin."""
    if task.form == FORM_3_2:
        compete_3_2(first, second, third, winners, count, like)
    elif task.form == FORM_2_2:
        compete_2_2(first, second, third, winners, count, like)
    elif task.form == FORM_3_1:
        compete_3_1(first, second, third, winners, count, like)


@kernel
def collect_usual(task, relevance, winners, cols, target, phase, count, like):
    """Write what values get from the windows they have won, `phase` values from one phase of rows to the next."""
    if task.form == FORM_3_2:
        collect_3_2(relevance, winners, cols, target, phase, count, like)
    elif task.form == FORM_2_2:
        collect_2_2(relevance, winners, cols, target, phase, count, like)
    elif task.form == FORM_3_1:
        collect_3_1(relevance, winners, cols, target, phase, count, like)


@kernel
def bring_row(task, x, y, row, wide, like):
    """Write a row of the map where it belongs in a row of windows; −∞ all over it where there is none."""
    item = item_size(like)
    if 0 <= y < task.height:
        # This row of the next map: it is wanted once this map has been routed.
        prefetch(x + (task.height + y) * task.width * item, SINGLE, NOTHING, task.width * item)
        copy_lanes(x + y * task.width * item, row + task.left * item, task.width, like)
    else:
        set_all(row, wide, as_kind(-np.inf, like))


@kernel
def route_by_rows(task, frame, step, rows, cols, like):
    """Route one map, row of windows by row; `rows` and `cols` are those of the layout.

    Scratch holds relevance and winners of all windows, with as many in front as are before the last place of one; as
    many rows of the map as a window has; as many rows of what values get as windows are apart; and all of it.
    """
    n, plane, item = step // task.planes, step % task.planes, item_size(like)
    kernel_y, stride = task.kernel_y, task.stride_y
    size, wide = task.height * task.width, cols * stride + REGISTER
    lead, held = 2 * cols + 2, (rows + 2) * cols + 2
    spread = frame.own
    winners = spread + held * item
    ring = winners + (held + REGISTER) * item
    given = ring + kernel_y * wide * item
    joined = given + stride * wide * item
    keeps = task.accumulate or task.onwards
    out = joined if keeps else address_at(frame, task.out, n, plane * size, like)
    x = address_at(frame, task.x, n, plane * size, like)
    r = address_at(frame, task.r, n, plane * task.out_height * task.out_width, like)
    set_all(spread, held, like)
    set_all(ring, kernel_y * wide, as_kind(-np.inf, like))
    brought = 0
    for v in range(rows):
        first = v * stride
        while brought < first + kernel_y:
            bring_row(task, x, brought - task.top, ring + brought % kernel_y * wide * item, wide, like)
            brought += 1
        relevance, won = spread + (lead + v * cols) * item, winners + (lead + v * cols) * item
        if v < task.out_height:
            copy_lanes(r + v * task.out_width * item, relevance, task.out_width, like)
            second, third = ring + (first + 1) % kernel_y * wide * item, ring + (first + 2) % kernel_y * wide * item
            compete_usual(task, ring + first % kernel_y * wide * item, second, third, won, task.out_width, like)
        collect_usual(task, relevance, won, cols, given, wide, cols, like)
        for a in range(stride):
            y = first + a - task.top
            if 0 <= y < task.height:
                copy_lanes(given + (a * wide + task.left) * item, out + y * task.width * item, task.width, like)
    if keeps:
        weigh_on(task, frame, joined, NOTHING, n, plane, SINGLE, size, NOTHING, size, like)
