"""How fast explaining is, as a multiple of onnxruntime's plain forward pass measured in the same run.

    python -m tests.bench [PROTOTXT ...]

measures the bundled LeNet and every architecture given, with seeded random weights. Forward pass and explanations take
turns, so that a machine that slows down slows down both; the ratio is of medians. Nothing here judges.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from lrptool import Model, load
from lrptool.engine import Forward

COMPOSITES = ("epsilon", "epsilon-plus", "epsilon-gamma-box", "epsilon-alpha2-beta1")
BATCHES = (1, 16)
THREADS = (1, 0)
ROUNDS = 7


def interleaved(tasks: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of every task, ROUNDS times, one after the other; each has run once before."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(ROUNDS + 1):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def gigaflops(model: Model) -> float:
    """Floating-point operations of one forward pass, in 10⁹."""
    return 2 * float(model.overview("epsilon")["macs"]) / 1e9


def rows(model: Model, batch: int, threads: int) -> list[str]:
    """One line per composite for a batch size and a number of threads."""
    x = np.random.default_rng(0).normal(size=(batch, *model.graph.input.item_shape)).astype(np.float32) * 50
    plain = Forward(model.graph, [model.graph.output], threads)
    tasks: dict[str, Callable[[], object]] = {"forward": partial(plain, x)}
    tasks |= {name: partial(model.explain, x, 0, name, batch_size=batch) for name in COMPOSITES}
    seconds = interleaved(tasks)
    base = statistics.median(seconds["forward"])
    lines = []
    for name, times in seconds.items():
        median = statistics.median(times)
        spread = f"{min(times) / batch * 1e3:.2f}–{max(times) / batch * 1e3:.2f}"
        rest = (median - base) / batch
        speed = f"{gigaflops(model) / rest:.0f}" if rest > 0 else ""
        lines.append(
            f"| {model.name} | {name} | {batch} | {threads or 'all'} | {median / batch * 1e3:.2f} | {spread} "
            f"| {median / base:.2f} | {speed} |"
        )
    return lines


def main(architectures: Sequence[str]) -> None:
    """Print the table."""
    print("| network | what | pictures | threads | ms per picture | spread | × forward | forwards' GFLOP/s beyond it |")
    print("|---|---|---|---|---|---|---|---|")
    for threads in THREADS:
        models = [load("lenet", threads=threads)]
        models += [load(path, weights="random:0", threads=threads) for path in architectures]
        for model in models:
            for batch in BATCHES:
                print("\n".join(rows(model, batch, threads)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
