"""One run of the bench: what is measured in which order."""

from __future__ import annotations

import gc
import sys
import tempfile
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path

from lrptool import LrpError, Model
from tests.bench import machine
from tests.bench.layers import measure_convolutions
from tests.bench.networks import Network, prepare
from tests.bench.partner import Partner, cores
from tests.bench.peer_tasks import company, installed
from tests.bench.processes import cold_seconds, help_seconds, high_water, warm_seconds
from tests.bench.report import GIGA, Report, number
from tests.bench.rows import Row, measure, plain_session
from tests.bench.timing import PROCESS_ROUNDS, Rounds, Spread, Task
from tests.bench.work import memory_bound

ALL_THREADS = 0
BY_LAYER = "vgg16"
"""The network whose backward convolutions are measured one by one; where it is not among them, the last one."""


class Bench:
    """Holds the processes that measure sgemm and fills the report.

    Parameters
    ----------
    options : Namespace
        As `tests.bench.__main__.parse` returns them.
    folder : Path
        For files that are needed while it runs.
    stack : ExitStack
        Ends what was begun.
    """

    def __init__(self, options: Namespace, folder: Path, stack: ExitStack) -> None:
        self._options, self._folder = options, folder
        self._rounds = Rounds.exactly(options.rounds) if options.rounds else Rounds()
        self._process_rounds = Rounds.exactly(options.rounds) if options.rounds else PROCESS_ROUNDS
        libraries = installed() if options.peers != "none" else ()
        self.report = Report(machine.description(machine.load_average()), libraries, options.composites)
        self._sgemm = {
            threads: stack.enter_context(Partner("tests.bench.peak", threads or cores())) for threads in options.threads
        }

    def run(self) -> Report:
        """Measure network by network; one that cannot be loaded costs a line."""
        names = self._options.networks
        by_layer = BY_LAYER if BY_LAYER in names else names[-1]
        for name in names:
            with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                try:
                    self._measure(prepare(name, Path(folder)), Path(folder), by_layer=name == by_layer)
                except LrpError as error:
                    reason = str(error).replace(f"{folder}/", "")
                    self._say(f"{name} is left out: {reason}")
                    self.report.note(f"left out: {reason}", name)
        self.report.processes["lrptool --help"] = help_seconds(self._process_rounds)
        return self.report

    def _measure(self, network: Network, folder: Path, *, by_layer: bool) -> None:
        """Measure one network in every way."""
        for threads in self._options.threads:
            self._in_process(network, threads, by_layer=by_layer)
            # A clock and the program it times hold each other, and gigabytes.
            gc.collect()
        self._processes(network, folder)

    def _in_process(self, network: Network, threads: int, *, by_layer: bool) -> None:
        """Measure what this process computes with one number of threads."""
        model, sgemm = network.load(threads), self._sgemm[threads]
        self.report.bounds[network.name] = memory_bound(model.graph)
        self._explanations(network, model, sgemm)
        if by_layer:
            found = measure_convolutions(model, self._options.composites[0], self._rounds, sgemm)
            self.report.convolutions.setdefault(network.name, []).append(found)
            self._say(f"{network.name}, backward convolutions: {found.speed / GIGA:.0f} GFLOP/s")

    def _explanations(self, network: Network, model: Model, sgemm: Partner) -> None:
        """Measure all composites and numbers of pictures with one number of threads."""
        session, composites = plain_session(model), self._options.composites
        for batch in self._options.batches:
            with ExitStack() as stack:
                tasks = self._peers(network, batch, model.threads, stack)
                rows = measure(network.name, model, session, composites, batch, self._rounds, sgemm, tasks)
            self.report.rows += rows
            for row in rows:
                self._say(_summary(row))

    def _peers(self, network: Network, batch: int, threads: int, stack: ExitStack) -> dict[str, Task]:
        """Return the tasks of other libraries, in a process that ends with the stack."""
        if not self._invites(batch, threads):
            return {}
        peers = stack.enter_context(company(self.report.libraries, network, threads))
        tasks = peers.tasks(self._options.composites, batch)
        for reason in peers.reasons:
            self.report.note(reason, network.name)
        return tasks

    def _invites(self, batch: int, threads: int) -> bool:
        """Whether other libraries take part for so many pictures with so many threads."""
        everywhere = self._options.peers == "all"
        return bool(self.report.libraries) and (everywhere or (batch == 1 and threads == ALL_THREADS))

    def _processes(self, network: Network, folder: Path) -> None:
        """Measure whole processes: their memory with every composite, their seconds with the first one."""
        composites, processes = self._options.composites, self.report.processes
        peaks = [high_water(network, composite, folder) for composite in composites]
        what = f"lrptool explain, {network.name}, {composites[0]}"
        if self._options.cold and not self.report.memory:
            processes[f"{what}, all kernels to be compiled"] = [cold_seconds(network, composites[0], folder)]
        processes[what] = warm_seconds(network, composites[0], folder, self._process_rounds)
        self.report.memory[network.name] = peaks
        self._say(f"{what}: {Spread.of(processes[what]).median:.2f} s")

    def _say(self, line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _summary(row: Row) -> str:
    """Return what is said of a row while the bench runs."""
    each = Spread.of(row.explain, 1e3 / row.batch).median
    threads = row.threads or "all"
    what = f"{row.network}, {row.composite}, pictures {row.batch}, threads {threads}, rounds {len(row.explain)}"
    return f"{what}: {number(each)} ms, {row.ratio:.2f} × forward, backward {row.speed / GIGA:.0f} GFLOP/s"


def run(options: Namespace) -> Report:
    """Run the bench."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        return Bench(options, Path(folder), stack).run()
