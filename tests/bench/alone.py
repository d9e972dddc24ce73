"""One network with one number of threads, in a process of its own: nothing is left of the networks before it."""

from __future__ import annotations

import multiprocessing
import sys
from argparse import Namespace
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack

from lrptool import Model
from tests.bench.layers import measure_convolutions
from tests.bench.networks import Network
from tests.bench.partner import Partner, cores
from tests.bench.peer_tasks import company, installed
from tests.bench.report import GIGA, Report, number
from tests.bench.rows import Row, measure, plain_session
from tests.bench.timing import Rounds, Spread, Task
from tests.bench.work import memory_bound

ALL_THREADS = 0


def libraries(options: Namespace) -> tuple[str, ...]:
    """Return the other libraries that take part."""
    return tuple(installed()) if options.peers != "none" else ()


def measure_alone(options: Namespace, network: Network, threads: int, *, by_layer: bool) -> Report:
    """Return what a new process measures of a network, with a number of threads.

    Parameters
    ----------
    options : Namespace
        As `tests.bench.__main__.parse` returns them.
    by_layer : bool
        Whether its backward convolutions are measured one by one, too.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        return processes.submit(_measure, options, network, threads, by_layer=by_layer).result()


def _measure(options: Namespace, network: Network, threads: int, *, by_layer: bool) -> Report:
    """Measure all composites and numbers of pictures."""
    rounds = Rounds.exactly(options.rounds) if options.rounds else Rounds()
    model = network.load(threads)
    report = Report([], libraries(options), options.composites)
    report.bounds[network.name] = memory_bound(model.graph)
    with Partner("tests.bench.peak", threads or cores()) as sgemm:
        _explanations(report, options, network, model, rounds, sgemm)
        if by_layer:
            found = measure_convolutions(model, options.composites[0], rounds, sgemm)
            report.convolutions[network.name] = [found]
            say(f"{network.name}, backward convolutions: {found.speed / GIGA:.0f} GFLOP/s")
    return report


def _explanations(
    report: Report, options: Namespace, network: Network, model: Model, rounds: Rounds, sgemm: Partner
) -> None:
    """Measure all composites and numbers of pictures."""
    session, composites = plain_session(model), options.composites
    for batch in options.batches:
        with ExitStack() as stack:
            tasks = _peers(report, options, network, batch, model.threads, stack)
            rows = measure(network.name, model, session, composites, batch, rounds, sgemm, tasks)
        report.rows += rows
        for row in rows:
            say(_summary(row))


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
    threads = row.threads or "all"
    what = f"{row.network}, {row.composite}, pictures {row.batch}, threads {threads}, rounds {len(row.explain)}"
    return f"{what}: {number(each)} ms, {row.ratio:.2f} × forward, backward {row.speed / GIGA:.0f} GFLOP/s"


def say(line: str) -> None:
    """Tell whoever waits."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
