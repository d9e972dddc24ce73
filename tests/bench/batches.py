"""Measure whole batches: images per second against computing alone, memory over time, and several workers.

``python -m tests.bench.batches PHOTOS --model NAME`` makes a folder of pictures under new names and runs the command
line on it, as a user does. What is compared takes turns of a few seconds: all processes but one are stopped, so that a
machine whose speed changes changes it for all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice, pairwise
from pathlib import Path

import numpy as np

from lrptool import Model, load
from lrptool.batch.job import BATCH_SIZE
from lrptool.batch.machine import cores
from tests.bench.machine import description, load_average

_STATM = "/proc/{}/statm"
_EVERY = 0.25
"""Seconds between two looks at the memory."""
_TURNS = 8
"""Turns of every number of workers."""
_PATIENCE = 120.0
"""Seconds after which a batch that says nothing is given up."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.batches", description=__doc__)
    parser.add_argument("photos", type=Path, help="folder of pictures that are repeated")
    parser.add_argument("--model", default="squeezenet_v1.0")
    parser.add_argument("--models-dir")
    parser.add_argument("--composite")
    parser.add_argument("--count", type=int, default=1000, help="pictures in the batch")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--rounds", type=int, default=2, help="batches that take turns with computing alone")
    parser.add_argument("--turn", type=int, default=96, help="pictures of a turn")
    parser.add_argument("--workers", type=int, nargs="*", default=[], help="also with so many dask workers")
    return parser.parse_args(arguments)


def copies(photos: Path, count: int, folder: Path) -> Path:
    """Make a folder of `count` pictures out of fewer."""
    folder.mkdir()
    files = sorted(path for path in photos.iterdir() if path.is_file())
    for k, path in zip(range(count), cycle(files), strict=False):
        (folder / f"{k:05d}{path.suffix}").symlink_to(path.resolve())
    return folder


class Alone:
    """Computing alone, on inputs that were read before: as a batch does it, and one call at a time with all threads."""

    def __init__(self, model: Model, values: np.ndarray, options: argparse.Namespace) -> None:
        size = options.batch_size
        self._chunks = [values[first : first + size] for first in range(0, len(values) - size + 1, size)]
        self._together, self._single = model.with_threads(0), model.with_threads(1)
        self._options = options

    def in_lanes(self) -> float:
        """Images per second where every core explains a chunk with one thread."""
        with ThreadPoolExecutor(cores()) as lanes:
            return self._rate(lambda chunks: list(lanes.map(lambda chunk: self._explain(self._single, chunk), chunks)))

    def by_calls(self) -> float:
        """Images per second of one call after the other, each with all threads."""
        return self._rate(lambda chunks: [self._explain(self._together, chunk) for chunk in chunks])

    def _rate(self, explain: Callable[[Sequence[np.ndarray]], object]) -> float:
        """Images per second of a turn."""
        count = -(-self._options.turn // self._options.batch_size)
        began = time.perf_counter()
        explain(list(islice(cycle(self._chunks), count)))
        return count * self._options.batch_size / (time.perf_counter() - began)

    def _explain(self, model: Model, chunk: np.ndarray) -> None:
        model.explain(chunk, composite=self._options.composite, batch_size=len(chunk))


class Batch:
    """A batch on the command line, stopped but for its turns."""

    def __init__(self, options: argparse.Namespace, folder: Path, out: Path, *more: str) -> None:
        command = [sys.executable, "-m", "lrptool", "batch", str(folder), "-o", str(out), "--model", options.model]
        command += ["--json", "--quiet", "--log-json", "--batch-size", str(options.batch_size), *more]
        command += ["--models-dir", options.models_dir] if options.models_dir else []
        command += ["--composite", options.composite] if options.composite else []
        # A session of its own: its workers are stopped and go on with it.
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        self.count = 0
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def turn(self, pictures: int) -> float | None:
        """Let it work until so many more pictures are done; return images per second, None where it came to its end."""
        self._signal(signal.SIGCONT)
        began, before = time.perf_counter(), self.count
        while self.count - before < pictures or not self._lines.empty():
            line = self._lines.get(timeout=_PATIENCE)
            if line is None:
                self.process.wait()
                return None
            self.count += json.loads(line)["status"] == "done"
        self._signal(signal.SIGSTOP)
        return (self.count - before) / (time.perf_counter() - began)

    def end(self) -> None:
        """Bring it to an end before its time."""
        self.process.terminate()
        self._signal(signal.SIGCONT)
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)


class Watch:
    """Looks at the memory of a process until it ends."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.megabytes: list[float] = []
        self._process = process
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while self._process.poll() is None:
            try:
                pages = int(Path(_STATM.format(self._process.pid)).read_text().split()[1])
            except (OSError, IndexError):
                return
            self.megabytes.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
            time.sleep(_EVERY)

    def quarters(self) -> str:
        """The most in each quarter of the time."""
        self._thread.join()
        parts = np.array_split(np.array(self.megabytes or [0.0]), 4)
        return ", ".join(f"{part.max():.0f}" for part in parts if len(part))


def against_alone(options: argparse.Namespace, model: Model, folder: Path, out: Path) -> dict[str, list[float]]:
    """Let a batch and computing alone take turns; return the batch's shares of the speed before and after each turn."""
    alone = Alone(model, model.read(sorted(folder.iterdir())[:48]), options)
    ways = {"lanes without pictures": alone.in_lanes, "calls one by one": alone.by_calls}
    batch = Batch(options, folder, out)
    watch = Watch(batch.process)
    # The first pictures wait for the program to be compiled, so they are no measure of anything that lasts.
    batch.turn(options.turn)
    for way in ways.values():
        way()
    rates, speeds = [], {name: [way()] for name, way in ways.items()}
    while (rate := batch.turn(options.turn)) is not None:
        rates.append(rate)
        for name, way in ways.items():
            speeds[name].append(way())
    shares = {
        name: [2 * rate / sum(around) for rate, around in zip(rates, pairwise(found), strict=True)]
        for name, found in speeds.items()
    }
    said = "; ".join(
        f"{name} {statistics.median(found):.1f}: {spread(shares[name], '.0%')}" for name, found in speeds.items()
    )
    say(f"{batch.count} pictures: {statistics.median(rates):.1f} images/s; {said}; MB by quarter: {watch.quarters()}")
    return shares


def against_one(options: argparse.Namespace, folder: Path, out: Path) -> None:
    """Let numbers of workers take turns, and say how many times as fast as the first each of them is."""
    batches = {}
    for workers in options.workers:
        batch = batches[workers] = Batch(options, folder, out / f"dask{workers}", "--dask", f"local:{workers}")
        batch.turn(4 * workers * options.batch_size)
    rates: dict[int, list[float]] = {workers: [] for workers in batches}
    for _ in range(_TURNS):
        found = {workers: batch.turn(3 * workers * options.batch_size) for workers, batch in batches.items()}
        if None in found.values():
            break
        for workers, rate in found.items():
            rates[workers].append(rate or 0.0)
    for batch in batches.values():
        batch.end()
    first = options.workers[0]
    for workers, own in rates.items():
        times = [rate / one * first for rate, one in zip(own, rates[first], strict=True)]
        say(f"{workers} workers: {statistics.median(own):.1f} images/s, {spread(times, '.2f')} × one worker")


def spread(values: Sequence[float], form: str) -> str:
    """The median, and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:{form}} ({low:{form}}–{high:{form}})"


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    say(*description(load_average()))
    with tempfile.TemporaryDirectory() as name:
        folder = copies(options.photos, options.count, Path(name) / "photos")
        if options.rounds:
            model = load(options.model, models_dir=options.models_dir)
            rounds = [against_alone(options, model, folder, Path(name) / f"out{k}") for k in range(options.rounds)]
            for way in rounds[0]:
                shares = [share for found in rounds for share in found[way]]
                say(f"of {way}: {spread(shares, '.0%')} over {len(shares)} turns")
        if options.workers:
            against_one(options, folder, Path(name))


def say(*lines: str) -> None:
    """Print lines as they come."""
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
