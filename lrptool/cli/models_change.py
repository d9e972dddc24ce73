"""``lrptool models fetch``, ``verify``, ``import``, ``remove`` and ``add``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lrptool.cli.models_show import models_dir
from lrptool.cli.talk import complain, note, plain
from lrptool.errors import ExitCode, LrpError, ModelError

if TYPE_CHECKING:
    from lrptool.zoo import Card

_quiet = click.option("-q", "--quiet", is_flag=True, help="No remarks on stderr.")


@click.command("fetch", short_help="Fetch models before they are used.")
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--all", "everything", is_flag=True, help="Every model that can be fetched, variants aside.")
@models_dir
@_quiet
def fetch_command(names: tuple[str, ...], everything: bool, models_dir: str | None, quiet: bool) -> int:
    """Fetch models before they are used; what is here already is left alone."""
    from lrptool.cli.progress import Progress
    from lrptool.zoo import all_cards, fetch, known_card, missing_files
    from lrptool.zoo.store import total_size

    if bool(names) == everything:
        raise click.UsageError("expected either names of models or --all")
    if everything:
        cards = [card for card in all_cards(models_dir).values() if not card.variant_of]
        by_hand = [card.name for card in cards if any(not f.source.urls for f in missing_files(card, models_dir))]
        if by_hand:
            note(f"these have to be fetched by hand: {', '.join(by_hand)}", quiet=quiet)
        names = tuple(card.name for card in cards if card.name not in by_hand)
        files = [file for card in cards if card.name in names for file in missing_files(card, models_dir)]
        note(f"{len(names)} models, {total_size(files) if files else 'nothing'} to fetch", quiet=quiet)

    def one(name: str) -> None:
        card = known_card(name, models_dir)
        if missing := missing_files(card, models_dir):
            fetch(card, missing, watch=Progress(quiet=quiet))
        click.echo(plain(f"{card.name}: here"))

    return _each(names, one)


@click.command("verify", short_help="Check models against their published checksums.")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@models_dir
def verify_command(names: tuple[str, ...], models_dir: str | None) -> int:
    """Check the files of models against their published checksums; without names, of all that are here."""
    from lrptool.zoo import all_cards, known_card, missing_files

    if not names:
        here = [card.name for card in all_cards(models_dir).values() if not missing_files(card, models_dir)]
        names = tuple(here)
    return _each(names, lambda name: _verify(known_card(name, models_dir), models_dir))


def _verify(card: Card, models_dir: str | None) -> None:
    """Print what is found of every file of a model; ModelError where one is not as published."""
    from lrptool.zoo import find_file, homes, missing_files
    from lrptool.zoo.store import absent

    if missing := missing_files(card, models_dir):
        raise absent(card, missing, "", hint=f"lrptool models fetch {card.name}")
    wrong = []
    folders = homes(card, models_dir)
    for file in card.files:
        path = find_file(file.name, folders)
        if path is None:
            continue
        try:
            problem = file.problem(path)
        except OSError as error:
            problem = f"cannot be read: {error.strerror or error}"
        checked = "as published" if file.digests or file.also else "no checksum is published"
        click.echo(plain(f"{card.name}: {path}: {problem or checked}"))
        wrong += [str(path)] if problem else []
    if wrong:
        raise ModelError(
            f"model '{card.name}': not as published: {', '.join(wrong)}",
            hint=f"lrptool models remove {card.name} && lrptool models fetch {card.name}",
        )


@click.command("import", short_help="Take in files of a model that were fetched by hand.")
@click.argument("name")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@models_dir
def import_command(name: str, files: tuple[Path, ...], models_dir: str | None) -> None:
    """Take in files of a model that were fetched by hand: checked against the card, copied to the user's folder."""
    from lrptool.zoo import known_card, missing_files
    from lrptool.zoo.add import import_files
    from lrptool.zoo.store import sources

    card = known_card(name, models_dir)
    for path, file, target in import_files(card, files):
        checked = "as published" if file.digests or file.also else "not checked, for no checksum is published"
        click.echo(plain(f"{card.name}: {path}: {checked} → {target}"))
    for file in sources(missing_files(card, models_dir)):
        note(f"{file.name} is still missing: {' or '.join((*file.urls, *file.by_hand)) or 'no known address'}")


@click.command("remove", short_help="Delete models from the user's folder.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def remove_command(names: tuple[str, ...]) -> int:
    """Delete what the user's folder holds of models; a model that was added is forgotten."""
    from lrptool.zoo import known_card
    from lrptool.zoo.add import remove
    from lrptool.zoo.store import readable_size

    def one(name: str) -> None:
        card = known_card(name)
        click.echo(plain(f"{card.name}: removed, {readable_size(remove(card))}"))

    return _each(names, one)


@click.command("add", short_help="Add a model of your own.")
@click.argument("source", metavar="DIR|card.yaml", type=click.Path(path_type=Path))
def add_command(source: Path) -> None:
    """Add a model of your own: its card, and the files it names that lie beside it, are copied to the user's folder."""
    from lrptool.zoo import missing_files
    from lrptool.zoo.add import add

    for card in add(source):
        click.echo(plain(f"{card.name}: added → {card.path.parent}"))
        if missing := missing_files(card):
            note(f"'{card.name}': fetched on first use: {', '.join(file.name for file in missing)}")


def _each(names: Sequence[str], do: Callable[[str], None]) -> int:
    """Do something with every model; 0, 8 when it failed with some, the error's own code when it did with all."""
    errors = []
    for name in dict.fromkeys(names):
        try:
            do(name)
        except LrpError as error:
            complain(error)
            errors.append(error)
    if not errors:
        return ExitCode.OK
    return ExitCode.PARTIAL if len(errors) < len(set(names)) else errors[0].exit_code


COMMANDS = {
    "fetch": fetch_command,
    "verify": verify_command,
    "import": import_command,
    "remove": remove_command,
    "add": add_command,
}
