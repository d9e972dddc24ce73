"""The parallel region: threads walk through a list of tasks together, taking pieces of work from counters.

Entering and leaving a region costs as much as a small layer, so a whole way back is one. Every thread has its share of
a task, the same part of the maps from task to task, so that what it reads is mostly what it wrote; then it takes from
others' shares. A thread that is held up costs its own piece, not everybody's; nobody waits but for what he needs. Every
piece owns its part of the result and sums in one fixed order, so results do not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import carray
from numpy.typing import NDArray

from lrptool.kernels.atomic import PIECES_PER_THREAD, take, wait_for
from lrptool.kernels.jit import kernel
from lrptool.kernels.pieces.dense import dense_pieces
from lrptool.kernels.pieces.pack import pack_pieces
from lrptool.kernels.pieces.pool import route_pieces, spread_pieces
from lrptool.kernels.pieces.product import product_pieces
from lrptool.kernels.pieces.weigh import weigh_pieces
from lrptool.kernels.pieces.winograd import winograd_pieces
from lrptool.kernels.team import LINE, enter, leave
from lrptool.kernels.tile import pointer_to


@kernel()
def _share(total, grain, worker, threads):  # type: ignore[no-untyped-def]
    """First and one past the last piece of a thread's own share of a task."""
    grains = -(-total // grain)
    low, high = worker * grains // threads * grain, (worker + 1) * grains // threads * grain
    return low, min(high, total)


@kernel()
def _bare(array):  # type: ignore[no-untyped-def]
    """Return an array (N,) without its owner: threads that count its readers together would wait for each other."""
    return carray(pointer_to(array, 0), (array.size,))


@kernel()
def _work(task, begin, end, kinds, places, bases, flags, tables, own, terms):  # type: ignore[no-untyped-def]
    """Carry out pieces [begin, end) of a task; kinds as in `records`."""
    packs, products, routes, spreads, weighs, denses = kinds
    if task.kind == 0:
        pack_pieces(packs[task.row], begin, end, places, bases, flags, own)
    elif task.kind == 1:
        product = products[task.row]
        if product.winograd:
            winograd_pieces(product, packs, begin, end, places, bases, flags, tables, own, terms)
        else:
            product_pieces(product, packs, begin, end, places, bases, flags, tables, own, terms)
    elif task.kind == 2:
        route_pieces(routes[task.row], packs, begin, end, places, bases, flags, own)
    elif task.kind == 3:
        spread_pieces(spreads[task.row], packs, begin, end, places, bases, flags, own)
    elif task.kind == 4:
        weigh_pieces(weighs, task.row, packs, begin, end, places, bases, flags, own)
    else:
        dense_pieces(denses[task.row], begin, end, places, bases, own)


@kernel(entry=True)
def run(tasks, first, last, kinds, places, bases, flags, tables, scratch, terms, counters, threads, gate, leads):  # type: ignore[no-untyped-def]
    """Carry out tasks [first, last).

    Parameters are the tasks and, by kind, their records; places and the addresses of their memory; one flag per packed
    plane; tables of offsets; scratch (threads, ·) of the tasks' dtype and of int64; counters, all zero, and the number
    of threads; and what a `Team` adds.
    """
    lines = threads + 1
    worker = enter(gate)
    if worker >= threads:
        return
    packs, products, routes, spreads, weighs, denses = kinds
    kinds = _bare(packs), _bare(products), _bare(routes), _bare(spreads), _bare(weighs), _bare(denses)
    tasks, places, bases, flags, tables = _bare(tasks), _bare(places), _bare(bases), _bare(flags), _bare(tables)
    counters, scratch, terms = _bare(counters), _bare(scratch[worker]), _bare(terms[worker])
    done = first
    for t in range(first, last):
        task = tasks[t]
        while done <= task.after:
            wait_for(counters, done * lines * LINE, tasks[done].total)
            done += 1
        piece = max(1, task.total // (threads * PIECES_PER_THREAD))
        piece = -(-piece // task.grain) * task.grain
        for k in range(threads):
            other = (worker + k) % threads
            low, high = _share(task.total, task.grain, other, threads)
            begin = low + take(counters, (t * lines + 1 + other) * LINE, piece)
            while begin < high:
                end = min(begin + piece, high)
                _work(task, begin, end, kinds, places, bases, flags, tables, scratch, terms)
                take(counters, t * lines * LINE, end - begin)
                begin = low + take(counters, (t * lines + 1 + other) * LINE, piece)
    leave(gate, leads)


def counters_for(tasks: int, threads: int) -> NDArray[np.int64]:
    """Return fresh counters for a run: what is done of every task, and what is dealt out of every thread's share."""
    return np.zeros(tasks * (threads + 1) * LINE, np.int64)
