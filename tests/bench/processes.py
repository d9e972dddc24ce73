"""Whole processes: what a user waits for at the prompt, and the memory it takes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import ENVIRONMENT, ROOT
from tests.bench.networks import Network
from tests.bench.timing import Clock, Rounds, interleaved, timed

PICTURE = ROOT / "models" / "lenet" / "samples" / "photo_of_a_digit.jpg"
LRPTOOL = ("-m", "lrptool")
MEASURED = ("-m", "tests.bench.high_water")


def explain_command(network: Network, composite: str, folder: Path) -> list[str]:
    """Return the arguments of ``lrptool`` that explain one photo."""
    return ["explain", str(PICTURE), *network.options, "--composite", composite, "-o", str(folder), "--force"]


def run(module: Sequence[str], arguments: Sequence[str], cache: Path | None = None) -> str:
    """Run a process to its end and return what it says."""
    environment = ENVIRONMENT | ({"LRPTOOL_CACHE": str(cache)} if cache else {})
    done = subprocess.run(
        [sys.executable, *module, *arguments], check=True, capture_output=True, text=True, cwd=ROOT, env=environment
    )
    return done.stdout


def high_water(network: Network, composite: str, folder: Path) -> float | None:
    """Return the most megabytes a process that explains one photo had in memory; None where the system does not say."""
    last = run(MEASURED, explain_command(network, composite, folder)).split()[-1]
    return None if last == "unknown" else float(last)


def warm_seconds(network: Network, composite: str, folder: Path, rounds: Rounds) -> list[float]:
    """Return the seconds of a process that explains one photo and finds all machine code in the cache."""
    return _repeated(lambda: run(LRPTOOL, explain_command(network, composite, folder)), rounds)


def cold_seconds(network: Network, composite: str, folder: Path) -> float:
    """Return the seconds of one that finds nothing there."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        clock = Clock(run)
        clock(LRPTOOL, explain_command(network, composite, folder), Path(cache))
        return clock.read()


def help_seconds(rounds: Rounds) -> list[float]:
    """Return the seconds of ``lrptool --help``."""
    return _repeated(lambda: run(LRPTOOL, ["--help"]), rounds)


def _repeated(process: Callable[[], object], rounds: Rounds) -> list[float]:
    return interleaved([timed("process", process)], rounds)["process"]
