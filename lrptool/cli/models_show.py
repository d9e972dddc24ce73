"""``lrptool models list``, ``info`` and ``where``."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrptool.cli.talk import echo_json, field, notes, plain, table

if TYPE_CHECKING:
    from lrptool.zoo import Card

_WIDEST = 120
models_dir = click.option(
    "--models-dir", metavar="DIR", help="Where to look for models first; see also LRPTOOL_MODELS."
)


@click.command("list", short_help="List the models.")
@click.option("-a", "--all", "everything", is_flag=True, help="The variants, too: the same network in other files.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@models_dir
def list_command(everything: bool, as_json: bool, models_dir: str | None) -> None:
    """List the models: name, task, size, where it is, licence.

    bundled: comes with lrptool. cached: fetched or imported. local: in --models-dir or LRPTOOL_MODELS. remote: fetched
    on first use. by hand: nobody but you can fetch it; see lrptool models info NAME.
    """
    from lrptool.zoo import all_cards, broken_cards
    from lrptool.zoo.state import state_of
    from lrptool.zoo.store import readable_size

    notes(error.message for error in broken_cards(models_dir))
    cards = [card for card in all_cards(models_dir).values() if everything or not card.variant_of]
    cards.sort(key=lambda card: card.name.lower())
    if as_json:
        echo_json([_record(card, models_dir) for card in cards])
        return
    rows = [
        (
            card.name,
            _short(card.task),
            readable_size(card.size) if card.size is not None else "?",
            state_of(card, models_dir),
            _short(card.license),
        )
        for card in cards
    ]
    _fitted(("model", "task", "size", "where", "licence"), rows)
    click.echo("\nlrptool models info NAME says more.")


@click.command("info", short_help="Say what is known about a model.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@models_dir
def info_command(name: str, as_json: bool, models_dir: str | None) -> None:
    """Say what is known about a model: files, preprocessing, output, licence, citation."""
    from lrptool.zoo import all_cards, known_card
    from lrptool.zoo.state import state_of

    card = known_card(name, models_dir)
    if as_json:
        echo_json(_record(card, models_dir))
        return
    click.echo(click.style(plain(card.name), bold=True, fg="green") + plain(f"  {state_of(card, models_dir)}"))
    family = card.variant_of or card.name
    others = [one.name for one in all_cards(models_dir).values() if family in (one.name, one.variant_of)]
    field("What it is", card.title)
    field("Task", card.task)
    field("Also called", ", ".join(card.aliases))
    field("The same network in other files", ", ".join(one for one in others if one != card.name))
    for file in _files(card, models_dir):
        _tell_file(file)
    field("Preprocessing", _words(_preprocess(card)))
    field("Output", _words({"node": card.output.node, "kind": card.output.kind}))
    field("Labels", card.labels if isinstance(card.labels, str) else ", ".join(card.labels or ()))
    field("Composite unless another is chosen", card.default_composite or "")
    for title in ("accuracy", "license", "source", "citation", "notes"):
        field({"license": "Licence"}.get(title, title.capitalize()), getattr(card, title))


@click.command("where", short_help="Print where a model's files are.")
@click.argument("name")
@models_dir
def where_command(name: str, models_dir: str | None) -> None:
    """Print the path of each file of a model, one per line; an error where one is missing."""
    from lrptool.zoo import find_file, homes, known_card, missing_files
    from lrptool.zoo.store import absent

    card = known_card(name, models_dir)
    if missing := missing_files(card, models_dir):
        raise absent(card, missing, "", hint=f"lrptool models fetch {card.name}")
    folders = homes(card, models_dir)
    for file in card.files:
        click.echo(str(find_file(file.name, folders)))


def _record(card: Card, models_dir: str | None) -> dict[str, Any]:
    """Return all that is known of a model in plain values."""
    from lrptool.zoo.state import state_of

    texts = ("title", "task", "license", "citation", "source", "accuracy", "notes", "variant_of", "default_composite")
    return {
        "name": card.name,
        "aliases": list(card.aliases),
        **{key: getattr(card, key) or None for key in texts},
        "size": card.size,
        "state": state_of(card, models_dir),
        "files": _files(card, models_dir),
        "preprocess": _preprocess(card),
        "output": {"node": card.output.node, "kind": card.output.kind},
        "labels": card.labels,
        "card": str(card.path),
    }


def _files(card: Card, models_dir: str | None) -> list[dict[str, Any]]:
    """Return a model's files in plain values."""
    from lrptool.zoo import find_file, homes

    folders = homes(card, models_dir)
    files = []
    for file in card.files:
        path = find_file(file.name, folders)
        files.append(
            {
                "name": file.name,
                "size": file.size,
                **file.digests,
                "urls": list(file.source.urls),
                "by_hand": list(file.source.by_hand),
                "archive": file.archive.name if file.archive else None,
                "path": _text_of(path),
            }
        )
    return files


def _text_of(path: Path | None) -> str | None:
    """Return a path as text."""
    return None if path is None else str(path)


def _tell_file(file: Mapping[str, Any]) -> None:
    """Print a file's facts, each on a line of its own: addresses and checksums are there to be copied."""
    from lrptool.zoo.schema import DIGESTS
    from lrptool.zoo.store import readable_size

    packed = f", in {file['archive']}" if file["archive"] else ""
    click.echo(click.style(plain(f"File {file['name']}"), bold=True))
    sums = [f"{name} {file[name]}" for name in DIGESTS if name in file]
    here = [f"here: {file['path']}"] if file["path"] else []
    places = [*here, *file["urls"], *(f"by hand: {url}" for url in file["by_hand"])]
    for line in (readable_size(file["size"]) + packed, *(sums or ["no checksum is published"]), *places):
        click.echo(plain(f"  {line}"))


def _preprocess(card: Card) -> dict[str, Any]:
    """Return the preprocessing in plain values."""
    keys = ("size", "resize", "mode", "channels", "raw_scale", "mean", "scale", "std", "invert", "fit")
    values = {key: getattr(card.preprocess, key) for key in keys}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _words(facts: Mapping[str, Any]) -> str:
    """Return facts on one line, those that say nothing left out."""
    return ", ".join(f"{key} {value}" for key, value in facts.items() if value not in (None, False))


def _short(text: str) -> str:
    """Return the first words of a text, up to a comma or a bracket."""
    return re.split(r"[,;(]", text, maxsplit=1)[0].strip()


def _fitted(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table no wider than the terminal, or than 80 letters where there is none."""
    width = min(_WIDEST, shutil.get_terminal_size((80, 24)).columns)
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]
    over = sum(widths) + 2 * (len(widths) - 1) - width
    for k in (1, len(header) - 1):
        give = max(0, min(over, widths[k] - 10))
        widths[k] -= give
        over -= give
    cut = [tuple(c if len(c) <= w else f"{c[: w - 1]}…" for c, w in zip(row, widths, strict=True)) for row in rows]
    table(header, cut, right=(2,))


COMMANDS = {"list": list_command, "info": info_command, "where": where_command}
