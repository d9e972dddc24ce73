"""What is measured in a process of its own: nothing is left of networks, or of larger batches, before it."""

from __future__ import annotations

import multiprocessing
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from threading import Thread

from tests.bench.layers import measure_convolutions
from tests.bench.networks import Network
from tests.bench.partner import Partner, cores
from tests.bench.peer_tasks import company, installed
from tests.bench.report import GIGA, Report, number
from tests.bench.rows import Row, measure, plain_session
from tests.bench.timing import Rounds, Spread, Task
from tests.bench.work import memory_bound

ALL_THREADS = 0
ENDED = "not measured, the process was ended, perhaps because it took too much memory"


def libraries(options: Namespace) -> tuple[str, ...]:
    """Return the other libraries that take part."""
    return tuple(installed()) if options.peers != "none" else ()


def rows_alone(options: Namespace, network: Network, threads: int, batch: int) -> Report:
    """Return what a new process measures of a network with all composites.

    Parameters
    ----------
    options : Namespace
        As `tests.bench.__main__.parse` returns them.
    """
    return _alone(f"pictures {batch}, {_said(threads)}", _rows, options, network, threads, batch)


def convolutions_alone(options: Namespace, network: Network, threads: int) -> Report:
    """Return what a new process measures of a network's backward convolutions, one by one, with the first composite."""
    return _alone(f"backward convolutions, {_said(threads)}", _convolutions, options, network, threads)


def _said(threads: int) -> str:
    return f"threads {threads or 'all'}"


def _alone(what: str, function: Callable[..., Report], options: Namespace, network: Network, *more: int) -> Report:
    """Call a function in a new process; one that is ended from outside costs a line that says what it measured."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _end_with_parent) as processes:
        try:
            return processes.submit(function, options, network, *more).result()
        except BrokenProcessPool:
            say(f"{network.name}, {what}: {ENDED}")
            report = Report([], (), options.composites)
            report.note(f"{ENDED}: {what}", network.name)
            return report


def _end_with_parent() -> None:
    """End this process as soon as the one that waits for it is gone, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        raise AssertionError("nobody waits for this process")

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def _rows(options: Namespace, network: Network, threads: int, batch: int) -> Report:
    """Measure all composites."""
    report, model = Report([], libraries(options), options.composites), network.load(threads)
    report.bounds[network.name] = memory_bound(model.graph)
    with ExitStack() as stack:
        sgemm = stack.enter_context(Partner("tests.bench.peak", threads or cores()))
        peers = _peers(report, options, network, batch, threads, stack)
        session, rounds = plain_session(model), Rounds().unless(options.rounds)
        report.rows = measure(network.name, model, session, options.composites, batch, rounds, sgemm, peers)
    for row in report.rows:
        say(_summary(row))
    return report


def _convolutions(options: Namespace, network: Network, threads: int) -> Report:
    """Measure the backward convolutions."""
    report = Report([], (), options.composites)
    with Partner("tests.bench.peak", threads or cores()) as sgemm:
        rounds = Rounds().unless(options.rounds)
        found = measure_convolutions(network.load(threads), options.composites[0], rounds, sgemm)
    report.convolutions[network.name] = [found]
    say(f"{network.name}, backward convolutions: {found.speed / GIGA:.0f} GFLOP/s")
    return report


def _peers(
    report: Report, options: Namespace, network: Network, batch: int, threads: int, stack: ExitStack
) -> dict[str, Task]:
    """Return the tasks of other libraries, in a process that ends with the stack."""
    everywhere = options.peers == "all"
    if not report.libraries or not (everywhere or (batch == 1 and threads == ALL_THREADS)):
        return {}
    peers = stack.enter_context(company(report.libraries, network, threads))
    tasks = peers.tasks(options.composites, batch)
    for reason in peers.reasons:
        report.note(reason, network.name)
    return tasks


def _summary(row: Row) -> str:
    """Return what is said of a row while the bench runs."""
    each = Spread.of(row.explain, 1e3 / row.batch).median
    what = f"{row.network}, {row.composite}, pictures {row.batch}, {_said(row.threads)}, rounds {len(row.explain)}"
    return f"{what}: {number(each)} ms, {row.ratio:.2f} × forward, backward {row.speed / GIGA:.0f} GFLOP/s"


def say(line: str) -> None:
    """Tell whoever waits."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
