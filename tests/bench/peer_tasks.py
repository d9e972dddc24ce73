"""Which other libraries are here, and what they take part in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from tests.bench.networks import Network
from tests.bench.partner import Partner, cores
from tests.bench.timing import Task

LIBRARIES = ("zennit", "captum")


def installed() -> tuple[str, ...]:
    """Return the libraries that can be measured: those of the ``bench`` extra that are installed."""
    return tuple(name for name in LIBRARIES if find_spec(name) and find_spec("torch"))


class Company:
    """Other libraries in a process of their own, with one network loaded.

    Attributes
    ----------
    reasons : list of str
        Why something could not be done.
    """

    def __init__(self, partner: Partner, libraries: Sequence[str], network: Network, threads: int) -> None:
        self._partner, self._libraries = partner, libraries
        self.reasons: list[str] = []
        files = {"model": network.model, "weights": network.weights}
        self._refused = self._reason("torch", do="load", **files, threads=threads or cores())

    def tasks(self, composites: Sequence[str], batch: int) -> dict[str, Task]:
        """Return a task per library and composite that can be measured, called ``library/composite``."""
        tasks: dict[str, Task] = {}
        for library in self._libraries if not self._refused else ():
            for composite in composites:
                what = {"library": library, "composite": composite, "batch": batch}
                if not self._reason(library, do="prepare", **what):
                    tasks[f"{library}/{composite}"] = self._task(f"{library}/{composite}", what)
        return tasks

    def _reason(self, who: str, **request: object) -> str | None:
        """Ask for something that may be refused, and keep the reason."""
        reason: str | None = self._partner.ask(**request)["reason"]
        if reason:
            self.reasons.append(f"{who}: {reason}")
        return reason

    def _task(self, name: str, what: Mapping[str, object]) -> Task:
        return lambda: {name: self._partner.ask(do="explain", **what)["seconds"]}


@contextmanager
def company(libraries: Sequence[str], network: Network, threads: int) -> Iterator[Company]:
    """Start the other process and end it."""
    with Partner("tests.bench.peers", threads or cores()) as partner:
        yield Company(partner, libraries, network, threads)
