"""One run of the bench: what is measured in which order."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from pathlib import Path
from subprocess import CalledProcessError

from lrptool import LrpError
from tests.bench import machine
from tests.bench.alone import ENDED, convolutions_alone, libraries, rows_alone, say
from tests.bench.networks import Network, prepare
from tests.bench.processes import cold_seconds, help_seconds, high_water, warm_seconds
from tests.bench.report import Report
from tests.bench.timing import PROCESS_ROUNDS, Spread

BY_LAYER = "vgg16"
"""The network whose backward convolutions are measured one by one; where it is not among them, the last one."""


class Bench:
    """Fills the report.

    Parameters
    ----------
    options : Namespace
        As `tests.bench.__main__.parse` returns them.
    folder : Path
        For files that are needed while it runs.
    """

    def __init__(self, options: Namespace, folder: Path) -> None:
        self._options, self._folder = options, folder
        self._rounds = PROCESS_ROUNDS.unless(options.rounds)
        self.report = Report(machine.description(machine.load_average()), libraries(options), options.composites)

    def run(self) -> Report:
        """Measure network by network; one that cannot be loaded, or takes too much memory, costs a line."""
        names = self._options.networks
        by_layer = BY_LAYER if BY_LAYER in names else names[-1]
        for name in names:
            with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                try:
                    self._measure(prepare(name, Path(folder)), Path(folder), by_layer=name == by_layer)
                except LrpError as error:
                    reason = str(error).replace(f"{folder}/", "")
                    say(f"{name} is left out: {reason}")
                    self.report.note(f"left out: {reason}", name)
                except CalledProcessError as error:
                    if error.returncode >= 0:
                        raise
                    self.report.note(f"{ENDED}: lrptool explain", name)
        self.report.processes["lrptool --help"] = help_seconds(self._rounds)
        return self.report

    def _measure(self, network: Network, folder: Path, *, by_layer: bool) -> None:
        """Measure one network in every way."""
        for threads in self._options.threads:
            for batch in self._options.batches:
                self.report.add(rows_alone(self._options, network, threads, batch))
            if by_layer:
                self.report.add(convolutions_alone(self._options, network, threads))
        self._processes(network, folder)

    def _processes(self, network: Network, folder: Path) -> None:
        """Measure whole processes: their memory with every composite, their seconds with the first one."""
        composites, processes = self._options.composites, self.report.processes
        peaks = [high_water(network, composite, folder) for composite in composites]
        what = f"lrptool explain, {network.name}, {composites[0]}"
        if self._options.cold and not self.report.memory:
            processes[f"{what}, all kernels to be compiled"] = [cold_seconds(network, composites[0], folder)]
        processes[what] = warm_seconds(network, composites[0], folder, self._rounds)
        self.report.memory[network.name] = peaks
        say(f"{what}: {Spread.of(processes[what]).median:.2f} s")


def run(options: Namespace) -> Report:
    """Run the bench."""
    with tempfile.TemporaryDirectory() as folder:
        return Bench(options, Path(folder)).run()
