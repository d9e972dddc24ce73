"""What a user puts into the folder of models: files fetched by hand, models of their own; and how it goes again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lrptool.errors import ConfigError, ModelError
from lrptool.reading import read_text_lines
from lrptool.resources import bundled
from lrptool.rules import preset_names
from lrptool.zoo.card import FILE_NAME, Card, File
from lrptool.zoo.catalogue import all_cards
from lrptool.zoo.fetch import locked, unpack_files
from lrptool.zoo.parse import read_cards
from lrptool.zoo.store import PART, bring_in, readable_size, sources, tidied, user_models, writing
from lrptool.zoo.watch import Watch


def import_files(card: Card, paths: Sequence[Path]) -> list[tuple[Path, File, Path]]:
    """Take in files that were fetched by hand; all of them, or none.

    Parameters
    ----------
    card : Card
    paths : sequence of Path
        Files of the model, or an archive that holds them; recognised by checksum, else by name.

    Returns
    -------
    list of (Path, File, Path)
        What each of them is, and where it is now.

    Raises
    ------
    ModelError
        One is none of the model's files, or not as published.
    OutputError
        The user's folder cannot be written.
    """
    found = [(path, _which(card, path)) for path in paths]
    folder = user_models() / card.name
    with writing(folder), locked(card, Watch()), tidied(folder):
        for path, file in found:
            bring_in(path, folder / file.name)
            members = [one for one in card.files if one.archive is file]
            if members:
                unpack_files(folder / file.name, members, folder)
    return [(path, file, folder / file.name) for path, file in found]


def add(source: Path) -> tuple[Card, ...]:
    """Put a model of the user's own into the folder of models.

    Parameters
    ----------
    source : Path
        Its card, or the folder with it; the files that the card names and that lie beside it are copied with it.

    Returns
    -------
    tuple of Card
        The model and its variants, as they are there.

    Raises
    ------
    ModelError
        There is no card.
    ConfigError
        Everything that is wrong with it, all at once.
    OutputError
        The user's folder cannot be written.
    """
    path = source / FILE_NAME if source.is_dir() else source
    if not path.is_file():
        raise ModelError(f"{path}: no such file", hint="docs/models.md says what a card looks like")
    cards = read_cards(path)
    beside = _beside(cards)
    problems = [*_clashes(cards), *_contents(cards, beside)]
    if problems:
        raise ConfigError(f"{path}: " + "; ".join(problems))
    main = cards[0]
    folder = user_models() / main.name
    with writing(folder), locked(main, Watch()), tidied(folder):
        for file in beside.values():
            bring_in(file, folder / file.name)
        bring_in(path, folder / FILE_NAME)
    return read_cards(folder / FILE_NAME)


def _beside(cards: Sequence[Card]) -> dict[str, Path]:
    """Return the files that cards name and that lie beside them."""
    names = {file.name for card in cards for file in card.files}
    names |= {name for card in cards for name in (card.labels, card.preprocess.mean) if isinstance(name, str)}
    folder = cards[0].path.parent
    return {name: folder / name for name in sorted(names) if (folder / name).is_file()}


def _clashes(cards: Sequence[Card]) -> list[str]:
    """Say which names of new cards other models have."""
    others = all_cards().values()
    taken = {name: card.name for card in others for name in (*card.aliases, card.name)}
    names = [name for card in cards for name in (card.name, *card.aliases)]
    twice = {name for name in names if names.count(name) > 1}
    return [
        *(f"name '{name}': belongs to model '{taken[name]}' already" for name in names if name in taken),
        *(f"name '{name}': is given twice" for name in sorted(twice)),
    ]


def _contents(cards: Sequence[Card], beside: dict[str, Path]) -> list[str]:
    """Say what is wrong with the files and names that new cards refer to."""
    problems = []
    for card in cards:
        for file in card.files:
            problem = file.problem(beside[file.name]) if file.name in beside else None
            problems += [f"files: {file.name}: {problem}"] if problem else []
            if file.name not in beside and not (file.source.urls or file.source.by_hand):
                problems.append(f"files: {file.name}: neither beside the card nor with urls")
        mean = card.preprocess.mean
        if isinstance(mean, str) and mean not in beside and mean not in {file.name for file in card.files}:
            problems.append(f"preprocess.mean: no file '{mean}' beside the card or among its files")
        if isinstance(card.labels, str):
            path = beside.get(card.labels, bundled("models") / "labels" / card.labels)
            try:
                read_text_lines(path)
            except ConfigError as error:
                problems.append(f"labels: {error.message}")
        if card.default_composite and card.default_composite not in preset_names():
            problems.append(f"default_composite: no composite '{card.default_composite}'")
    return list(dict.fromkeys(problems))


def _which(card: Card, path: Path) -> File:
    """Return which of a card's files a file on disk is.

    Parameters
    ----------
    card : Card
    path : Path
        Recognised by its checksum; where there is none, by its name.

    Raises
    ------
    ModelError
        It is none of them, or not as published.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    wanted = sources(card.files)
    known = [file for file in wanted if file.digests or file.also]
    try:
        for file in known:
            if file.problem(path) is None:
                return file
        named = next((file for file in wanted if file.name == path.name), None) or _only_like(path, wanted)
        problem = named.problem(path) if named else None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None
    if named is None:
        listed = ", ".join(f"{file.name} ({readable_size(file.size)})" for file in wanted)
        raise ModelError(f"{path}: none of the files of '{card.name}', which are {listed}")
    if problem:
        raise ModelError(f"{path}: not the published {named.name} of '{card.name}': {problem}")
    return named


def _only_like(path: Path, wanted: Sequence[File]) -> File | None:
    """Return the only file of a kind that nothing more is known of: a person may have called it otherwise."""
    alike = [file for file in wanted if Path(file.name).suffix == path.suffix]
    return alike[0] if len(alike) == 1 and not alike[0].digests and alike[0].size is None else None


def _removable(card: Card) -> tuple[Path, ...]:
    """Return what the user's folder holds of a model: its files, unfinished ones, a card of the user's own."""
    folder = user_models() / card.name
    if not folder.is_dir():
        return ()
    if card.path.parent == folder:
        return tuple(path for path in sorted(folder.iterdir()) if path.is_file())
    names = {file.name for file in (*card.files, *sources(card.files))}
    names |= {name for file in names for name in (f".{file}{PART}", f".{file}{PART}.json")} | {FILE_NAME}
    return tuple(folder / name for name in sorted(names) if (folder / name).is_file())


def remove(card: Card) -> int:
    """Delete what the user's folder holds of a model.

    Returns
    -------
    int
        Bytes that are free again.

    Raises
    ------
    ModelError
        It holds nothing.
    OutputError
        A file cannot be deleted.
    """
    paths = _removable(card)
    folder = user_models() / card.name
    if not paths:
        raise ModelError(f"model '{card.name}': nothing of it in {user_models()}")
    with writing(folder):
        size = sum(path.stat().st_size for path in paths)
        for path in paths:
            path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
    return size
