"""What ``lrptool explain`` does once options are read and the model is there."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from lrptool.cli.outputs import Destination, formats_of, slug
from lrptool.cli.sources import Failure, Source, in_batches, read_sources
from lrptool.cli.talk import complain, table
from lrptool.errors import ExitCode, LrpError, NumericError

if TYPE_CHECKING:
    from lrptool.api import Explanation, Model, Style
    from lrptool.rules import Composite


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options that say what to explain and what to keep."""

    targets: tuple[str, ...]
    against: str | None
    start: str | None
    formats: tuple[str, ...]
    views: tuple[str, ...]
    style: Style
    destination: Destination
    as_json: bool
    audit: bool
    batch_size: int

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Wishes:
        """Return the wishes that the options express; a usage error where they contradict each other."""
        from lrptool.api import Style  # noqa: PLC0415

        if given["top"] and given["targets"]:
            raise click.UsageError("--top and --target exclude each other")
        best = tuple(f"top:{rank}" for rank in range(1, (given["top"] or 1) + 1))
        formats = formats_of(given["save"], given["output"])
        destination = Destination.of(given["output"], formats, force=given["force"])
        views = tuple(view for view in ("overlay", "panel") if given[view]) or ("heatmap",)
        if destination.stdout and given["as_json"]:
            raise click.UsageError("-o - and --json both write to stdout")
        if destination.stdout and len(views) > 1:
            raise click.UsageError("-o - takes one picture: --overlay or --panel")
        return cls(
            targets=given["targets"] or best,
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

    def endings(self) -> tuple[str, ...]:
        """What follows the name of a result, file by file."""
        pictures = tuple(f"_{view}.png" if len(self.views) > 1 else ".png" for view in self.views)
        return tuple(ending for one in self.formats for ending in (pictures if one == "png" else (f".{one}",)))


def run(model: Model, images: Sequence[str], composite: Composite | None, wishes: Wishes) -> int:
    """Explain every picture; return the exit code."""
    model.program(composite)
    errors: list[LrpError] = []
    done = 0
    # Two at least for stdout, where a second picture is an error: it has to be seen before the first is written.
    size = max(2, wishes.batch_size) if wishes.destination.stdout else wishes.batch_size
    for group in in_batches(read_sources(model, images), size):
        errors += [one.error for one in group if isinstance(one, Failure)]
        for one in group:
            if isinstance(one, Failure):
                complain(one.error, one.name)
        sources = [one for one in group if isinstance(one, Source)]
        if sources:
            failed = _explain_group(model, sources, composite, wishes, done)
            errors += failed
            done += len(sources) - len(failed)
    if not errors:
        return ExitCode.OK
    return ExitCode.PARTIAL if done else errors[0].exit_code


def _explain_group(
    model: Model, sources: Sequence[Source], composite: Composite | None, wishes: Wishes, done: int
) -> list[LrpError]:
    """Explain pictures together, save and tell; return the errors of those that could not be done."""
    began = time.perf_counter()
    try:
        explanations = model.explain_each(
            np.concatenate([source.values for source in sources]),
            wishes.targets,
            composite,
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
        alone = [_explain_group(model, [one], composite, wishes, done + k) for k, one in enumerate(sources)]
        return [failed for errors in alone for failed in errors]
    seconds = (time.perf_counter() - began) / len(sources)
    if wishes.destination.stdout and len(sources) * len(explanations) > 1:
        raise click.UsageError("-o - takes one picture and one target")
    errors: list[LrpError] = []
    for k, source in enumerate(sources):
        try:
            for explanation in explanations:
                _finish(model, source, explanation, k, wishes, number=done + k, seconds=seconds)
        except LrpError as error:
            complain(error, source.name)
            errors.append(error)
    return errors


def _finish(
    model: Model, source: Source, explanation: Explanation, k: int, wishes: Wishes, *, number: int, seconds: float
) -> None:
    """Save one result and tell of it."""
    from lrptool.api import record_of, save  # noqa: PLC0415

    record = {"input": source.name} | record_of(model, explanation, k)
    if wishes.destination.stdout:
        contents = save.encode(
            model, explanation, k, source.photo, wishes.formats[0], wishes.views[0], wishes.style, record
        )
        sys.stdout.buffer.write(contents)
        sys.stdout.buffer.flush()
        _tell_audit(record, err=True)
        return
    facts = {
        "stem": source.stem,
        "target": slug(record["label"]),
        "index": record["target"],
        "model": slug(model.name),
        "composite": slug(record["composite"]),
        "number": f"{number:06d}",
    }
    paths = wishes.destination.files(facts, wishes.endings())
    record |= {"files": [str(path) for path in paths], "seconds": round(seconds, 4)}
    kinds = [(one, view) for one in wishes.formats for view in (wishes.views if one == "png" else ("",))]
    for path, (one, view) in zip(paths, kinds, strict=True):
        contents = save.encode(model, explanation, k, source.photo, one, view, wishes.style, record)
        save.write(path, contents, force=wishes.destination.force)
    if wishes.as_json:
        click.echo(json.dumps(record, ensure_ascii=False))
    else:
        _tell(record, paths)
        _tell_audit(record, err=False)


def _tell(record: Mapping[str, Any], paths: Sequence[Path]) -> None:
    """Print one line about a result."""
    probability = "" if record["probability"] is None else f"  {record['probability']:.1%}"
    label = click.style(record["label"], bold=True)
    files = ", ".join(map(str, paths))
    click.echo(f"{record['input']}: {label}{probability}  score {record['score']:.4g}  → {files}")


def _tell_audit(record: Mapping[str, Any], *, err: bool) -> None:
    """Print the ledger."""
    if "audit" not in record:
        return
    amounts = ("arrived", "passed_on", "bias", "stabiliser", "other")
    rows = [(row["node"], row["op"], row["rule"], *(f"{row[name]:.6g}" for name in amounts)) for row in record["audit"]]
    table(("node", "operator", "rule", "arrived", "passed on", *amounts[2:]), rows, right=(3, 4, 5, 6, 7), err=err)
    sums = record["sums"]
    click.echo(f"relevance {sums['start']:.6g} at the score, {sums['input']:.6g} at the pixels", err=err)
