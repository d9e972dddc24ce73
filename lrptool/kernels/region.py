"""The parallel region: threads walk through a list of tasks together, taking pieces of work from counters.

Entering and leaving a region costs as much as a small layer, so a whole way back is one. A thread that is held up
costs its own piece, not everybody's; nobody waits but for what he needs. Every piece owns its part of the result and
sums in one fixed order, so results do not depend on the number of threads.
"""

from __future__ import annotations

from numba import prange

from lrptool.kernels.atomic import PIECES_PER_THREAD, take, wait_for
from lrptool.kernels.jit import kernel
from lrptool.kernels.pieces.dense import dense_pieces
from lrptool.kernels.pieces.pack import pack_pieces
from lrptool.kernels.pieces.pool import route_pieces, spread_pieces
from lrptool.kernels.pieces.product import product_pieces
from lrptool.kernels.pieces.weigh import weigh_pieces

COUNTERS = 16
"""Counters of a task: what is handed out and, a cache line on, what is done."""


@kernel()
def _work(task, begin, end, kinds, places, bases, flags, tables, own, terms):  # type: ignore[no-untyped-def]
    """Carry out pieces [begin, end) of a task; kinds as in `records`."""
    packs, products, routes, spreads, weighs, denses = kinds
    if task.kind == 0:
        pack_pieces(packs[task.row], begin, end, places, bases, flags, own)
    elif task.kind == 1:
        product_pieces(products[task.row], begin, end, places, bases, flags, tables, own, terms)
    elif task.kind == 2:
        route_pieces(routes[task.row], begin, end, places, bases, own)
    elif task.kind == 3:
        spread_pieces(spreads[task.row], begin, end, places, bases, own)
    elif task.kind == 4:
        weigh_pieces(weighs[task.row], begin, end, places, bases, own)
    else:
        dense_pieces(denses[task.row], begin, end, places, bases, own)


@kernel(parallel=True)
def run(tasks, first, last, kinds, places, bases, flags, tables, scratch, terms, counters, threads):  # type: ignore[no-untyped-def]
    """Carry out tasks [first, last).

    Parameters are the tasks and, by kind, their records; places and the addresses of their memory; one flag per packed
    plane; tables of offsets; scratch (threads, ·) of the tasks' dtype and of int64; counters, all zero, and the number
    of threads.
    """
    for worker in prange(threads):
        done = first
        for t in range(first, last):
            task = tasks[t]
            while done <= task.after:
                wait_for(counters, done * COUNTERS + 8, tasks[done].total)
                done += 1
            piece = max(1, task.total // (threads * PIECES_PER_THREAD))
            piece = -(-piece // task.grain) * task.grain
            begin = take(counters, t * COUNTERS, piece)
            while begin < task.total:
                end = min(begin + piece, task.total)
                _work(task, begin, end, kinds, places, bases, flags, tables, scratch[worker], terms[worker])
                take(counters, t * COUNTERS + 8, end - begin)
                begin = take(counters, t * COUNTERS, piece)
