"""Which models are known, and where their files may be."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from stat import S_ISDIR

from lrptool.errors import ConfigError, ModelError, did_you_mean
from lrptool.reading import read_text_lines
from lrptool.resources import bundled
from lrptool.zoo.card import FILE_NAME, Card, File
from lrptool.zoo.parse import read_cards
from lrptool.zoo.store import user_models


def models_path(models_dir: str | Path | None = None) -> tuple[Path, ...]:
    """Return the folders that hold model folders, first come first.

    They are `models_dir`, ``LRPTOOL_MODELS``, the user's folder, and the bundled one. Either of the first two may name
    several folders, separated as in ``PATH``.

    Raises
    ------
    ModelError
        `models_dir` names a folder that is not there, or a name can be no folder's.
    """
    given, standing = (_parts(text) for text in (models_dir, os.environ.get("LRPTOOL_MODELS")))
    for folder in given:
        if not S_ISDIR(mode_of(folder)):
            raise ModelError(f"--models-dir: {folder}: no such folder", hint="it holds one folder per model")
    for folder in standing:
        mode_of(folder)
    return (*given, *standing, user_models(), bundled("models"))


def _parts(text: str | Path | None) -> list[Path]:
    """Return the folders of a list as in ``PATH``."""
    return [Path(part) for part in str(text or "").split(os.pathsep) if part]


def homes(card: Card, models_dir: str | Path | None = None) -> tuple[Path, ...]:
    """Return the folders in which files of a model may be: beside its card, and those of its name."""
    return (card.path.parent, *(folder / card.name for folder in models_path(models_dir)))


def missing_files(card: Card, models_dir: str | Path | None = None) -> tuple[File, ...]:
    """Return the files of a model that are nowhere on the models path."""
    folders = homes(card, models_dir)
    return tuple(file for file in card.files if find_file(file.name, folders) is None)


def all_cards(models_dir: str | Path | None = None) -> dict[str, Card]:
    """Return every card on the models path by name, its variants behind it.

    The first of a name counts; one with mistakes is left out.
    """
    cards: dict[str, Card] = {}
    for _, found in _cards(models_dir):
        for card in found if not isinstance(found, ConfigError) else ():
            cards.setdefault(card.name, card)
    return cards


def broken_cards(models_dir: str | Path | None = None) -> tuple[ConfigError, ...]:
    """Return what is wrong with the cards on the models path that `all_cards` leaves out."""
    return tuple(found for _, found in _cards(models_dir) if isinstance(found, ConfigError))


def _cards(models_dir: str | Path | None, mentioning: str = "") -> Iterator[tuple[str, tuple[Card, ...] | ConfigError]]:
    """Yield the name of every folder whose card mentions a word, and its cards or what is wrong with them."""
    word = mentioning.encode()
    for folder in models_path(models_dir):
        for path in sorted(folder.glob(f"*/{FILE_NAME}")):
            try:
                # Reading YAML takes some milliseconds a card, looking for a word in it almost nothing.
                if word and path.parent.name != mentioning and word not in path.read_bytes():
                    continue
                yield path.parent.name, read_cards(path)
            except ConfigError as error:
                yield path.parent.name, error
            except OSError as error:
                yield path.parent.name, ConfigError(f"{path}: cannot be read: {error.strerror or error}")


def card_named(name: str, models_dir: str | Path | None = None) -> Card | None:
    """Return the card of a name or alias; None where there is none.

    Raises
    ------
    ConfigError
        The folder of that name has a card with mistakes.
    """
    nicknamed = None
    for folder, found in _cards(models_dir, name):
        if isinstance(found, ConfigError):
            if folder == name:
                raise found
            continue
        for card in found:
            if card.name == name:
                return card
            if name in card.aliases and nicknamed is None:
                nicknamed = card
    return nicknamed


def known_card(name: str, models_dir: str | Path | None = None) -> Card:
    """Return the card of a name or alias.

    Raises
    ------
    ModelError
        No card of that name.
    ConfigError
        It has mistakes.
    """
    card = card_named(name, models_dir)
    if card is None:
        names = {known for card in all_cards(models_dir).values() for known in (card.name, *card.aliases)}
        raise unknown(name, names)
    return card


def unknown(name: str, names: Iterable[str]) -> ModelError:
    """Return the error of a model that is none of some names."""
    meant = did_you_mean(name, names)
    return ModelError(f"unknown model '{name}'", hint=meant if "'" in meant else "lrptool models list shows all")


def mode_of(path: Path) -> int:
    """Return what kind of file a path names; 0 where there is none, an error where it cannot be told."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"{path}: cannot be opened: {reason}") from None


def find_file(name: str, folders: Sequence[Path]) -> Path | None:
    """Return the first file of that name."""
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def read_label_file(card: Card) -> tuple[str, ...] | None:
    """Return the class names of a card, from its list or its file; None where it has none.

    Raises
    ------
    ConfigError
        The file it names is not there, or is no text.
    """
    if card.labels is None or not isinstance(card.labels, str):
        return card.labels
    path = find_file(card.labels, (card.path.parent, card.path.parent.parent / "labels", bundled("models") / "labels"))
    if path is None:
        raise ConfigError(f"{card.path}: labels: no file '{card.labels}' beside the card or among the bundled ones")
    return read_text_lines(path)
