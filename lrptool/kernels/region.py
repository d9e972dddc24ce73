"""The parallel region: threads walk through a list of tasks together, taking pieces of work from counters.

Entering and leaving a region costs as much as a small layer, so a whole way back is one. Every thread has its share of
a task, the same part of the maps from task to task, so that what it reads is mostly what it wrote; then it takes from
others' shares. A thread that is held up costs its own piece, not everybody's; nobody waits but for what he needs. Every
piece owns its part of the result and sums in one fixed order, so results do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.kernels.atomic import PIECES_PER_THREAD, take, wait_for
from lrptool.kernels.bare import reader
from lrptool.kernels.jit import kernel
from lrptool.kernels.pieces.dense import dense_pieces
from lrptool.kernels.pieces.pack import pack_pieces
from lrptool.kernels.pieces.pool import route_pieces, spread_pieces
from lrptool.kernels.pieces.product import product_pieces
from lrptool.kernels.pieces.scattered import scattered_pieces
from lrptool.kernels.pieces.weigh import weigh_pieces
from lrptool.kernels.pieces.winograd import winograd_pieces
from lrptool.kernels.records import DENSE, FILTERED, FRAME, PACK, PRODUCT, ROUTE, SCATTERED, SPREAD, TABLES, TASK
from lrptool.kernels.team import LINE, enter, leave

_read_task = reader(TASK)
_read_pack, _read_product, _read_route, _read_spread, _read_dense = (
    reader(TABLES[kind]) for kind in (PACK, PRODUCT, ROUTE, SPREAD, DENSE)
)


@kernel()
def _share(total, grain, worker, threads):  # type: ignore[no-untyped-def]
    """First and one past the last piece of a thread's own share of a task."""
    grains = -(-total // grain)
    low, high = worker * grains // threads * grain, (worker + 1) * grains // threads * grain
    return low, min(high, total)


@kernel()
def _work(task, frame, begin, end, like):  # type: ignore[no-untyped-def]
    """Carry out pieces [begin, end) of a task; kinds as in `records`."""
    if task.kind == 0:
        pack_pieces(_read_pack(frame.packs, task.row), frame, begin, end, like)
    elif task.kind == 1:
        product = _read_product(frame.products, task.row)
        if product.method == FILTERED:
            winograd_pieces(product, frame, begin, end, like)
        elif product.method == SCATTERED:
            scattered_pieces(product, frame, begin, end, like)
        else:
            product_pieces(product, frame, begin, end, like)
    elif task.kind == 2:
        route_pieces(_read_route(frame.routes, task.row), frame, begin, end, like)
    elif task.kind == 3:
        spread_pieces(_read_spread(frame.spreads, task.row), frame, begin, end, like)
    elif task.kind == 4:
        weigh_pieces(task.row, frame, begin, end, like)
    else:
        dense_pieces(_read_dense(frame.denses, task.row), frame, begin, end, like)


@kernel(entry=True)
def run(frames, first, last, counters, like, gate, leads):  # type: ignore[no-untyped-def]
    """Carry out tasks [first, last).

    Parameters
    ----------
    frames : `FRAME` (threads,)
        What every thread works on.
    counters : int64
        From `counters_for`, all zero.
    like : float32 or float64
        Zero, of the kind of all values.
    gate, leads
        What a `Team` adds.
    """
    threads = frames.size
    lines = threads + 1
    worker = enter(gate)
    if worker >= threads:
        return
    frame = frames[worker]
    done = first
    for t in range(first, last):
        task = _read_task(frame.tasks, t)
        while done <= task.after:
            wait_for(counters, done * lines * LINE, _read_task(frame.tasks, done).total)
            done += 1
        piece = max(1, task.total // (threads * PIECES_PER_THREAD))
        piece = -(-piece // task.grain) * task.grain
        for k in range(threads):
            other = (worker + k) % threads
            low, high = _share(task.total, task.grain, other, threads)
            begin = low + take(counters, (t * lines + 1 + other) * LINE, piece)
            while begin < high:
                end = min(begin + piece, high)
                _work(task, frame, begin, end, like)
                take(counters, t * lines * LINE, end - begin)
                begin = low + take(counters, (t * lines + 1 + other) * LINE, piece)
    leave(gate, leads)


def frames_for(tables: Mapping[str, NDArray[Any]], own: NDArray[Any], terms: NDArray[np.int64]) -> NDArray[np.void]:
    """Return what threads work on: tables all of them share, by field of `FRAME`, and a row of scratch for each."""
    frames = np.zeros(len(own), FRAME)
    for name, table in tables.items():
        frames[name] = table.ctypes.data
    for name, scratch in (("own", own), ("terms", terms)):
        frames[name] = scratch.ctypes.data + np.arange(len(scratch)) * scratch.strides[0]
    return frames


def counters_for(tasks: int, threads: int) -> NDArray[np.int64]:
    """Return fresh counters for a run: what is done of every task, and what is dealt out of every thread's share."""
    return np.zeros(tasks * (threads + 1) * LINE, np.int64)
