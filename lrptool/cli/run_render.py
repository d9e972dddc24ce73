"""What ``lrptool render`` does once options are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrptool.cli.outputs import Destination, endings_of, slug
from lrptool.cli.talk import complain, echo_bytes, echo_json, note, plain
from lrptool.errors import ExitCode, InputError, LrpError

if TYPE_CHECKING:
    from PIL import Image

    from lrptool.api import Model, Style
    from lrptool.batch.stored import Stored


@dataclass(frozen=True, slots=True)
class _Task:
    """What stays the same from picture to picture."""

    model: Model | None
    views: tuple[str, ...]
    style: Style
    photo: str | None
    destination: Destination
    as_json: bool
    quiet: bool


def run(files: Sequence[str], model: Model | None, views: tuple[str, ...], given: Mapping[str, Any]) -> int:
    """Colour everything in the files; return the exit code."""
    from lrptool.api import Style

    destination = Destination.of(given["output"], ("png",), files, force=given["force"], default="{stem}")
    if destination.stdout and (given["as_json"] or len(views) > 1):
        raise click.UsageError("-o - takes one picture and nothing else on stdout")
    style = Style(given["cmap"], given["percentile"])
    task = _Task(model, views, style, given["photo"], destination, given["as_json"], given["quiet"])
    errors: list[LrpError] = []
    done = 0
    for name, one in _all(files):
        if destination.limit and done:
            raise click.UsageError(destination.limit)
        try:
            if isinstance(one, LrpError):
                raise one
            _draw(task, one, done)
            done += 1
        except LrpError as error:
            complain(error, name)
            errors.append(error)
    if not errors:
        return ExitCode.OK
    return ExitCode.PARTIAL if done else errors[0].exit_code


def _all(files: Sequence[str]) -> Iterator[tuple[str, Stored | LrpError]]:
    """Yield everything in the files, or why it cannot be read."""
    from lrptool.batch.stored import read_stored

    for name in files:
        try:
            for stored in read_stored(name):
                yield stored.name, stored
        except LrpError as error:
            yield name, error


def _draw(task: _Task, stored: Stored, number: int) -> None:
    """Make the pictures of one result."""
    from lrptool.api import save
    from lrptool.imaging import encode_png

    heatmap, crop, record = stored.relevance.sum(axis=0), _crop(task, stored), stored.record
    caption = save.Caption(
        label=str(record.get("label", stored.stem)),
        score=float(record.get("score", heatmap.sum(dtype="float64"))),
        probability=record.get("probability"),
        composite=str(record.get("composite", "stored relevance")),
        model=str(record.get("model", task.model.name if task.model else "")),
    )
    pictures = [
        encode_png(save.drawn(heatmap, crop, view, task.style, caption), save.metadata(record)) for view in task.views
    ]
    if task.destination.stdout:
        echo_bytes(pictures[0])
        return
    facts = {
        "stem": stored.stem,
        "target": slug(caption.label),
        "index": record.get("target", ""),
        "model": slug(caption.model),
        "composite": slug(caption.composite),
        "number": f"{number:06d}",
    }
    paths = [] if task.destination.nowhere else task.destination.files(facts, endings_of(task.views))
    for path, contents in zip(paths, pictures, strict=False):
        save.write(path, contents, force=task.destination.force)
    if task.as_json:
        echo_json({"input": stored.name} | dict(record) | {"files": [str(path) for path in paths]})
    else:
        click.echo(plain(f"{stored.name}  → {', '.join(map(str, paths))}"))


def _crop(task: _Task, stored: Stored) -> Image.Image:
    """What lies under the relevance: what the network saw of the photo, or grey."""
    from lrptool.api import save
    from lrptool.imaging import load_image

    shape = (1, *stored.relevance.shape)
    if task.model is None:
        return save.blank(shape)
    if stored.relevance.shape != task.model.graph.input.item_shape:
        raise InputError(
            f"{stored.name}: relevance of shape {stored.relevance.shape}, but model '{task.model.name}' takes "
            f"{task.model.graph.input.item_shape}"
        )
    name = task.photo or str(stored.record.get("input", ""))
    if name and (task.photo or Path(name).is_file()):
        return task.model.preprocessing.crop(load_image(Path(name), name))
    if task.views != ("heatmap",):
        raise InputError(f"{stored.name}: does not say which photo it explains", hint="--photo names it")
    note(f"{stored.name}: without its photo the heatmap has the size of the network's input", quiet=task.quiet)
    return save.blank(shape)
