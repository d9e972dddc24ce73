"""Measure whole batches: images per second against computing alone, memory over time, and several workers.

``python -m tests.bench.batches PHOTOS --model NAME`` makes a folder of pictures under new names and runs the command
line on it, as a user does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np

from lrptool import Model, load
from tests.bench.machine import description, load_average

_STATM = "/proc/{}/statm"
_EVERY = 0.25
"""Seconds between two looks at the memory."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.batches", description=__doc__)
    parser.add_argument("photos", type=Path, help="folder of pictures that are repeated")
    parser.add_argument("--model", default="squeezenet_v1.0")
    parser.add_argument("--models-dir")
    parser.add_argument("--composite")
    parser.add_argument("--count", type=int, default=1000, help="pictures in the batch")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument(
        "--rounds", type=int, default=3, help="batches, each between two measurements of computing alone"
    )
    parser.add_argument("--workers", type=int, nargs="*", default=[], help="also with so many dask workers")
    return parser.parse_args(arguments)


def copies(photos: Path, count: int, folder: Path) -> Path:
    """Make a folder of `count` pictures out of fewer."""
    folder.mkdir()
    files = sorted(path for path in photos.iterdir() if path.is_file())
    for k, path in zip(range(count), cycle(files), strict=False):
        (folder / f"{k:05d}{path.suffix}").symlink_to(path.resolve())
    return folder


def alone(model: Model, values: np.ndarray, composite: str | None, batch: int, seconds: float = 6.0) -> float:
    """Images per second of computing alone, on inputs that were read before."""
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for first in range(0, len(values) - batch + 1, batch):
            model.explain(values[first : first + batch], composite=composite, batch_size=batch)
            count += batch
    return count / (time.perf_counter() - began)


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


def batch(options: argparse.Namespace, folder: Path, out: Path, *more: str) -> tuple[float, str]:
    """Run a batch; return images per second between its first and its last line, and its memory."""
    command = [
        sys.executable,
        "-m",
        "lrptool",
        "batch",
        str(folder),
        "-o",
        str(out),
        "--model",
        options.model,
        "--json",
    ]
    command += ["--quiet", "--log-json", "--batch-size", str(options.batch_size), *more]
    command += ["--models-dir", options.models_dir] if options.models_dir else []
    command += ["--composite", options.composite] if options.composite else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    watch = Watch(process)
    assert process.stdout is not None
    times = [time.perf_counter() for line in process.stdout if json.loads(line)["status"] == "done"]
    process.wait()
    # The first lines wait for the program to be compiled, so they are no measure of anything that lasts.
    skip = max(1, len(times) // 10)
    return (len(times) - skip) / (times[-1] - times[skip - 1]), watch.quarters()


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    say(*description(load_average()))
    model = load(options.model, models_dir=options.models_dir)
    with tempfile.TemporaryDirectory() as name:
        folder = copies(options.photos, options.count, Path(name) / "photos")
        values = model.read(sorted(folder.iterdir())[: 8 * options.batch_size])
        alone(model, values, options.composite, options.batch_size, 2.0)
        shares = []
        for k in range(options.rounds):
            before = alone(model, values, options.composite, options.batch_size)
            rate, memory = batch(options, folder, Path(name) / f"out{k}")
            after = alone(model, values, options.composite, options.batch_size)
            shares.append(rate / ((before + after) / 2))
            say(f"{rate:.1f} images/s, alone {before:.1f} and {after:.1f}: {shares[-1]:.0%}; MB by quarter: {memory}")
        if shares:
            say(f"median: {statistics.median(shares):.0%} of computing alone")
        one = None
        for workers in options.workers:
            rate, _ = batch(options, folder, Path(name) / f"dask{workers}", "--dask", f"local:{workers}")
            one = one or rate / workers
            say(f"{workers} workers: {rate:.1f} images/s, {rate / one:.2f} × one worker")


def say(*lines: str) -> None:
    """Print lines as they come."""
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
