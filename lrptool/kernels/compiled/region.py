"""The parallel region: threads walk through a list of tasks together, taking pieces of work from counters.

Entering and leaving a region costs as much as a small layer, so a whole way back is one. Every thread has its share of
a task, the same part of the maps from task to task, so that what it reads is mostly what it wrote; then it takes from
others' shares. A thread that is held up costs its own piece, not everybody's; nobody waits but for what he needs. Every
piece owns its part of the result and sums in one fixed order, so results do not depend on the number of threads.
"""

from __future__ import annotations

from lrptool.kernels.compiled.atomic import PIECES_PER_THREAD, take, wait_for
from lrptool.kernels.compiled.bare import reader
from lrptool.kernels.compiled.gate import enter, leave
from lrptool.kernels.compiled.jit import kernel
from lrptool.kernels.compiled.pieces.dense import dense_pieces
from lrptool.kernels.compiled.pieces.pack import pack_pieces
from lrptool.kernels.compiled.pieces.pool import route_pieces, spread_pieces
from lrptool.kernels.compiled.pieces.weigh import weigh_pieces
from lrptool.kernels.compiled.products import call_products
from lrptool.kernels.records import DENSE, FRAME, PACK, PRODUCT, ROUTE, SPREAD, TABLES, TASK
from lrptool.kernels.team import APART

_read_frame, _read_task = reader(FRAME), reader(TASK)
_read_pack, _read_route, _read_spread, _read_dense = (reader(TABLES[kind]) for kind in (PACK, ROUTE, SPREAD, DENSE))
_FRAME_SIZE, _PRODUCT_SIZE = FRAME.itemsize, TABLES[PRODUCT].itemsize


@kernel
def _share(total, grain, worker, threads):
    """First and one past the last piece of a thread's own share of a task."""
    grains = -(-total // grain)
    low, high = worker * grains // threads * grain, (worker + 1) * grains // threads * grain
    return low, min(high, total)


@kernel
def _work(task, frame, at, begin, end, like):
    """Carry out pieces [begin, end) of a task, kinds as in `records`, with a frame and where it is."""
    if task.kind == 0:
        pack_pieces(_read_pack(frame.packs, task.row), frame, begin, end, like)
    elif task.kind == 1:
        call_products(like, frame.products + task.row * _PRODUCT_SIZE, at, begin, end)
    elif task.kind == 2:
        route_pieces(_read_route(frame.routes, task.row), frame, begin, end, like)
    elif task.kind == 3:
        spread_pieces(_read_spread(frame.spreads, task.row), frame, begin, end, like)
    elif task.kind == 4:
        weigh_pieces(task.row, frame, begin, end, like)
    else:
        dense_pieces(_read_dense(frame.denses, task.row), frame, begin, end, like)


@kernel
def run(like, frames, threads, first, last, counters, gate, leads):
    """Carry out tasks [first, last).

    Parameters
    ----------
    like : float32 or float64
        Zero, of the kind of all values.
    frames : int64
        Address of the `FRAME` of every thread: what it works on.
    threads, first, last : int64
    counters : int64
        Address of counters for every task, as `Schedule.run` makes them.
    gate, leads : int64
        What a `Team` adds.
    """
    lines = threads + 1
    worker = enter(gate)
    if worker >= threads:
        return 0
    frame = _read_frame(frames, worker)
    done = first
    for t in range(first, last):
        task = _read_task(frame.tasks, t)
        while done <= task.after:
            wait_for(counters + done * lines * APART, _read_task(frame.tasks, done).total)
            done += 1
        piece = max(1, task.total // (threads * PIECES_PER_THREAD))
        piece = -(-piece // task.grain) * task.grain
        finished = counters + t * lines * APART
        for k in range(threads):
            other = (worker + k) % threads
            low, high = _share(task.total, task.grain, other, threads)
            dealt = finished + (1 + other) * APART
            begin = low + take(dealt, piece)
            while begin < high:
                end = min(begin + piece, high)
                _work(task, frame, frames + worker * _FRAME_SIZE, begin, end, like)
                take(finished, end - begin)
                begin = low + take(dealt, piece)
    leave(gate, leads)
    return 0
