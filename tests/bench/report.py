"""Tables in Markdown, and the section of a document they stand in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.layers import Convolutions
from tests.bench.rows import Row
from tests.bench.timing import Spread

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
GIGA = 1e9
NOTHING = "–"


@dataclass
class Report:
    """All that one run of the bench measured."""

    machine: list[str]
    libraries: Sequence[str]
    composites: Sequence[str]
    rows: list[Row] = field(default_factory=list)
    convolutions: dict[str, list[Convolutions]] = field(default_factory=dict)
    bounds: dict[str, float] = field(default_factory=dict)
    """Megabytes a network may take."""
    memory: dict[str, list[float | None]] = field(default_factory=dict)
    """Megabytes it took with each composite."""
    processes: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    """Why something is missing, and for which networks."""

    def __str__(self) -> str:
        blocks = ["\n".join(self.machine), *self._explanations()]
        for network, runs in self.convolutions.items():
            blocks += [f"### Backward convolutions of {network}, {runs[0].composite}, one picture", _layers(runs)]
        if self.memory:
            blocks += ["### Peak memory of a process that explains one photo", self._memory()]
        if self.processes:
            blocks += ["### Whole processes", _processes(self.processes)]
        if self.notes:
            blocks.append("\n".join(f"- {note} ({', '.join(networks)})" for note, networks in self.notes.items()))
        return "\n\n".join(blocks) + "\n"

    def add(self, part: Report) -> None:
        """Take over what was measured elsewhere."""
        self.rows += part.rows
        self.bounds |= part.bounds
        for network, runs in part.convolutions.items():
            self.convolutions.setdefault(network, []).extend(runs)
        for reason, networks in part.notes.items():
            for network in networks:
                self.note(reason, network)

    def note(self, reason: str, network: str) -> None:
        """Say why something is missing."""
        networks = self.notes.setdefault(reason, [])
        if network not in networks:
            networks.append(network)

    def _explanations(self) -> Iterable[str]:
        """One table per number of pictures and threads."""
        for batch, threads in dict.fromkeys((row.batch, row.threads) for row in self.rows):
            rows = [row for row in self.rows if (row.batch, row.threads) == (batch, threads)]
            yield f"### {_count(batch, 'picture')}, {_threads(threads)}"
            heads = ["network", "composite", "forward ms", "explain ms", "quartiles", "× forward"]
            heads += ["backward GFLOP/s", "of sgemm", *(f"{name} ms" for name in self._present(rows))]
            yield table(heads, [self._line(row, self._present(rows)) for row in rows])

    def _present(self, rows: Sequence[Row]) -> list[str]:
        """Return the libraries that took part in some of the rows."""
        return [name for name in self.libraries if any(key.startswith(f"{name}/") for row in rows for key in row.peers)]

    def _line(self, row: Row, libraries: Sequence[str]) -> list[str]:
        each = 1e3 / row.batch
        ours = Spread.of(row.explain, each)
        return [
            row.network,
            row.composite,
            number(Spread.of(row.forward, each).median),
            number(ours.median),
            f"{number(ours.low)}–{number(ours.high)}",
            f"{row.ratio:.2f}",
            f"{row.speed / GIGA:.0f}",
            f"{row.speed / row.peak:.0%}",
            *(_peer(row.peers.get(f"{name}/{row.composite}"), ours, each) for name in libraries),
        ]

    def _memory(self) -> str:
        lines = []
        for network, peaks in self.memory.items():
            lines.append(
                [
                    network,
                    f"{self.bounds[network]:.0f}" if network in self.bounds else NOTHING,
                    *(NOTHING if peak is None else f"{peak:.0f}" for peak in peaks),
                ]
            )
        return table(["network", "bound MB", *(f"{name} MB" for name in self.composites)], lines)


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table; what is not a name stands to the right."""
    marks = ["---" if head in ("network", "composite", "layer", "what") else "---:" for head in heads]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, marks, *lines))


def number(value: float) -> str:
    """Three digits that mean something."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}"


def _count(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _threads(threads: int) -> str:
    return _count(threads, "thread") if threads else "all threads"


def _peer(seconds: Sequence[float] | None, ours: Spread, each: float) -> str:
    """Milliseconds of another library and how many times ours that is."""
    if seconds is None:
        return NOTHING
    median = Spread.of(seconds, each).median
    return f"{number(median)} ({median / ours.median:.1f}×)"


def _layers(runs: Sequence[Convolutions]) -> str:
    heads = ["layer", "in", "out", "GFLOP"]
    for run in runs:
        heads += [f"GFLOP/s, {_threads(run.threads)}", "of sgemm"]
    lines = []
    for same in zip(*(run.layers for run in runs), strict=True):
        shapes = ["×".join(map(str, shape)) for shape in same[0].shapes]
        speeds = [(layer.speed, run.peak) for layer, run in zip(same, runs, strict=True)]
        lines.append([same[0].name, *shapes, f"{same[0].operations / GIGA:.2f}", *_speeds(speeds)])
    total = sum(layer.operations for layer in runs[0].layers)
    lines.append(["all", "", "", f"{total / GIGA:.2f}", *_speeds([(run.speed, run.peak) for run in runs])])
    lines.append(["sgemm", "", "", "", *_speeds([(run.peak, run.peak) for run in runs])])
    return table(heads, lines)


def _speeds(speeds: Sequence[tuple[float, float]]) -> list[str]:
    return [cell for speed, peak in speeds for cell in (f"{speed / GIGA:.0f}", f"{speed / peak:.0%}")]


def _processes(processes: dict[str, list[float]]) -> str:
    lines = []
    for what, seconds in processes.items():
        spread = Spread.of(seconds)
        quartiles = f"{spread.low:.2f}–{spread.high:.2f}" if len(seconds) > 1 else NOTHING
        lines.append([what, f"{spread.median:.2f}", quartiles])
    return table(["what", "seconds", "quartiles"], lines)


def write_section(path: Path, text: str) -> None:
    """Put text between the markers of a document; a document without them gets both at its end."""
    section = f"{BEGIN}\n\n{text}\n{END}"
    document = path.read_text() if path.exists() else ""
    before, begin, rest = document.partition(BEGIN)
    if not begin:
        path.write_text(f"{document}\n{section}\n" if document else f"{section}\n")
        return
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{path}: {BEGIN} without {END}")
    path.write_text(before + section + after)
