"""Measure how fast explaining is; print the report, and put it into a document where one is named."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bench.alone import ALL_THREADS
from tests.bench.architectures import ARCHITECTURES
from tests.bench.report import write_section
from tests.bench.run import run

COMPOSITES = ("epsilon", "epsilon-plus", "epsilon-gamma-box", "epsilon-alpha2-beta1")
QUICK = (
    "--networks",
    "lenet",
    "--composites",
    "epsilon-plus",
    "--batches",
    "1",
    "--rounds",
    "1",
    "--peers",
    "none",
    "--no-cold",
)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    networks = "names of architectures or models, or prototxt files (default: all architectures the bench knows)"
    parser.add_argument("--networks", nargs="+", default=list(ARCHITECTURES), metavar="NET", help=networks)
    parser.add_argument("--composites", nargs="+", default=list(COMPOSITES), metavar="NAME")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16], metavar="N", help="pictures per call")
    parser.add_argument("--threads", nargs="+", type=_threads, default=[ALL_THREADS, 1], metavar="N", help="or 'all'")
    rounds = "exactly so many (default: at least 5, as many as fit into some seconds)"
    parser.add_argument("--rounds", type=int, metavar="N", help=rounds)
    peers = "where other libraries take part, if installed: nowhere, one picture with all threads (default), everywhere"
    parser.add_argument("--peers", choices=("none", "one", "all"), default="one", help=peers)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="document whose section of figures is replaced")
    no_cold = "leave out the process that compiles all kernels"
    parser.add_argument("--no-cold", dest="cold", action="store_false", help=no_cold)
    parser.add_argument("--quick", action="store_true", help="the bundled network, one round: does the bench work?")
    options = parser.parse_args(arguments)
    return parser.parse_args(QUICK, options) if options.quick else options


def _threads(text: str) -> int:
    return ALL_THREADS if text == "all" else int(text)


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    report = str(run(options))
    if options.markdown:
        write_section(options.markdown, report)
    sys.stdout.write(report)


if __name__ == "__main__":
    main(sys.argv[1:])
