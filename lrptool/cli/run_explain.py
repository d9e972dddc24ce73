"""What ``lrptool explain`` does once options are read and the model is there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from lrptool.cli.outputs import Destination, formats_of, slug, target_names
from lrptool.cli.sources import Failure, Source, in_batches, read_sources
from lrptool.cli.talk import complain, echo_bytes, echo_json, plain, table
from lrptool.errors import ExitCode, LrpError, NumericError

if TYPE_CHECKING:
    from lrptool.api import Explanation, Model, Style
    from lrptool.rules import Composite


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options that say what to explain and what to keep."""

    targets: tuple[str, ...]
    top: int | None
    against: str | None
    start: str | None
    formats: tuple[str, ...]
    views: tuple[str, ...]
    style: Style
    destination: Destination
    as_json: bool
    audit: bool
    batch_size: int | None

    @classmethod
    def of(cls, given: Mapping[str, Any], images: Sequence[str]) -> Wishes:
        """Return the wishes that the options express; a usage error where they contradict each other."""
        from lrptool.api import Style

        if given["top"] and given["targets"]:
            raise click.UsageError("--top and --target exclude each other")
        formats = formats_of(given["save"], given["output"])
        destination = Destination.of(given["output"], formats, images, force=given["force"])
        views = tuple(view for view in ("overlay", "panel") if given[view]) or ("heatmap",)
        if destination.stdout and given["as_json"]:
            raise click.UsageError("-o - and --json both write to stdout")
        if destination.stdout and len(views) > 1:
            raise click.UsageError("-o - takes one picture: --overlay or --panel")
        results = max(len(images), given["top"] or 1, len(set(given["targets"])))
        if destination.limit and results > 1:
            raise click.UsageError(destination.limit)
        return cls(
            targets=given["targets"],
            top=given["top"],
            against=given["against"],
            start=given["start"],
            formats=formats,
            views=views,
            style=Style(given["cmap"], given["percentile"]),
            destination=destination,
            as_json=given["as_json"],
            audit=given["audit"],
            batch_size=given["batch_size"],
        )

    def kinds(self) -> tuple[tuple[str, str], ...]:
        """Format and view of every file of a result."""
        return tuple((one, view) for one in self.formats for view in (self.views if one == "png" else ("",)))

    def endings(self) -> tuple[str, ...]:
        """What follows the name of a result, file by file."""
        return tuple(f"_{view}.png" if view and len(self.views) > 1 else f".{form}" for form, view in self.kinds())


def run(model: Model, images: Sequence[str], composite: Composite | None, wishes: Wishes) -> int:
    """Explain every picture; return the exit code."""
    from lrptool.api import BATCH_SIZE, wanted

    targets = wanted(wishes.targets, wishes.top, model.labels)
    task = _Task(model, composite, wishes, targets, target_names(model.labels))
    errors: list[LrpError] = []
    done = 0
    limit = wishes.destination.limit
    # Where there is room for one result, a second picture has to be seen before the first is written.
    size = wishes.batch_size or BATCH_SIZE
    size = max(2, size) if limit else size
    for group in in_batches(read_sources(model, images), size):
        if isinstance(group, Failure):
            complain(group.error, group.name)
            errors.append(group.error)
            continue
        if limit and len(group) > 1:
            raise click.UsageError(limit)
        failed = _explain_group(task, group)
        errors += failed
        done += len(group) - len(failed)
    if not errors:
        return ExitCode.OK
    return ExitCode.PARTIAL if done else errors[0].exit_code


@dataclass(frozen=True, slots=True)
class _Task:
    """What stays the same from picture to picture."""

    model: Model
    composite: Composite | None
    wishes: Wishes
    targets: tuple[int | str, ...]
    names: Sequence[str]
    """What ``{target}`` is for every class."""


def _explain_group(task: _Task, sources: Sequence[Source]) -> list[LrpError]:
    """Explain pictures together, save and tell; return the errors of those that could not be done."""
    wishes = task.wishes
    began = time.perf_counter()
    try:
        explanations = task.model.explain_each(
            np.concatenate([source.values for source in sources]),
            task.targets,
            task.composite,
            start=wishes.start,
            against=wishes.against,
            audit=wishes.audit,
            batch_size=wishes.batch_size,
        )
    except NumericError as error:
        if len(sources) == 1:
            complain(error, sources[0].name)
            return [error]
        # One picture's numbers: the others get their turn without it.
        return [failed for one in sources for failed in _explain_group(task, [one])]
    seconds = (time.perf_counter() - began) / len(sources)
    errors: list[LrpError] = []
    for k, source in enumerate(sources):
        # Two targets may mean one class of this picture: the best is also its number.
        distinct: dict[int, Explanation] = {}
        for explanation in explanations:
            distinct.setdefault(int(explanation.target[k]), explanation)
        try:
            for explanation in distinct.values():
                _finish(task, source, explanation, k, seconds)
        except LrpError as error:
            complain(error, source.name)
            errors.append(error)
    return errors


def _finish(task: _Task, source: Source, explanation: Explanation, k: int, seconds: float) -> None:
    """Save one result and tell of it."""
    from lrptool.api import record_of, save

    model, wishes, destination = task.model, task.wishes, task.wishes.destination
    record = {"input": source.name} | record_of(model, explanation, k)
    if destination.stdout:
        (form, view), *_ = wishes.kinds()
        echo_bytes(save.encode(model, explanation, k, source.photo, form, view, wishes.style, record))
        _tell_audit(record, err=True)
        return
    facts = {
        "stem": source.stem,
        "target": task.names[record["target"]],
        "index": record["target"],
        "model": slug(model.name),
        "composite": slug(record["composite"]),
        "number": f"{source.number:06d}",
    }
    paths = [] if destination.nowhere else destination.files(facts, wishes.endings())
    record |= {"files": [str(path) for path in paths], "seconds": round(seconds, 4)}
    for path, (form, view) in zip(paths, wishes.kinds(), strict=False):
        contents = save.encode(model, explanation, k, source.photo, form, view, wishes.style, record)
        save.write(path, contents, force=destination.force)
    if wishes.as_json:
        echo_json(record)
    else:
        _tell(record, paths)
        _tell_audit(record, err=False)


def _tell(record: Mapping[str, Any], paths: Sequence[Path]) -> None:
    """Print one line about a result."""
    probability = "" if record["probability"] is None else f"  {record['probability']:.1%}"
    label = click.style(plain(record["label"]), bold=True)
    files = plain("  → " + ", ".join(map(str, paths))) if paths else ""
    click.echo(f"{plain(record['input'])}: {label}{probability}  score {record['score']:.4g}{files}")


def _tell_audit(record: Mapping[str, Any], *, err: bool) -> None:
    """Print the ledger."""
    if "audit" not in record:
        return
    amounts = ("arrived", "passed_on", "bias", "stabiliser", "other")
    rows = [(row["node"], row["op"], row["rule"], *(f"{row[name]:.6g}" for name in amounts)) for row in record["audit"]]
    table(("node", "operator", "rule", "arrived", "passed on", *amounts[2:]), rows, right=(3, 4, 5, 6, 7), err=err)
    sums = record["sums"]
    click.echo(f"relevance {sums['start']:.6g} at the score, {sums['input']:.6g} at the pixels", err=err)
