"""From what a user typed after ``--model`` to files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR

from lrptool.errors import ConfigError, ModelError, did_you_mean
from lrptool.reading import read_text_lines
from lrptool.resources import bundled
from lrptool.zoo.card import FILE_NAME, Card, read_card

_RANDOM = "random"
_ARCHITECTURES = (".prototxt", ".onnx")
_MODEL_FILES = (".prototxt", ".caffemodel", ".onnx", ".pbtxt", ".txt")


@dataclass(frozen=True, slots=True)
class Located:
    """The files of a model.

    Parameters
    ----------
    architecture : Path or None
        A prototxt or an ``.onnx``; None where the weights' file holds the architecture.
    weights : Path, str or None
        A file, ``random[:SEED]``, or None where the loader is to look beside the architecture.
    card : Card or None
    """

    architecture: Path | None
    weights: Path | str | None
    card: Card | None


def models_path(models_dir: str | Path | None = None) -> tuple[Path, ...]:
    """Return the folders that hold model folders, first come first: `models_dir`, ``LRPTOOL_MODELS``, the bundled ones.

    Either may name several folders, separated as in ``PATH``.

    Raises
    ------
    ModelError
        A name that can be no folder's.
    """
    given = [str(models_dir or ""), os.environ.get("LRPTOOL_MODELS", "")]
    folders = [Path(part) for text in given for part in text.split(os.pathsep) if part]
    for folder in folders:
        _mode(folder)
    return (*folders, bundled("models"))


def all_cards(models_dir: str | Path | None = None) -> dict[str, Card]:
    """Return every card on the models path by name; the first of a name counts, one with mistakes is left out."""
    cards: dict[str, Card] = {}
    for _, card in _cards(models_dir):
        if isinstance(card, Card):
            cards.setdefault(card.name, card)
    return cards


def _cards(models_dir: str | Path | None) -> Iterator[tuple[str, Card | ConfigError]]:
    """Yield the name of every folder with a card, and the card or what is wrong with it."""
    for folder in models_path(models_dir):
        for path in sorted(folder.glob(f"*/{FILE_NAME}")):
            try:
                yield path.parent.name, read_card(path)
            except ConfigError as error:
                yield path.parent.name, error


def locate(model: str | Path, weights: str | Path | None = None, models_dir: str | Path | None = None) -> Located:
    """Return the files of a model.

    Parameters
    ----------
    model : str or Path
        A prototxt, a caffemodel, an ``.onnx``, a folder with one of them or a card, or a name on the models path.
    weights : str or Path, optional
        A caffemodel, or ``random[:SEED]``.
    models_dir : str or Path, optional
        Where to look first.

    Raises
    ------
    ModelError
        Nothing of that name, or files that are not there.
    """
    if not str(model):
        raise ModelError("expected a model's name or a path, found nothing")
    path = Path(model)
    chosen = _weights(weights)
    mode = _mode(path)
    if S_ISDIR(mode):
        return _in_folder(path, chosen, models_dir)
    if mode:
        return _from_file(path, chosen)
    if path.suffix in _MODEL_FILES or len(path.parts) != 1:
        raise ModelError(
            f"{path}: no such file", hint="a model is a .prototxt, a .caffemodel, an .onnx, a folder or a name"
        )
    return _by_name(str(model), chosen, models_dir)


def _weights(weights: str | Path | None) -> Path | str | None:
    """Return the weights asked for; a file has to exist."""
    if weights is None:
        return None
    if str(weights).split(":")[0] == _RANDOM:
        if not re.fullmatch(r"random(:[0-9]{1,18})?", str(weights)):
            raise ModelError(f"weights '{weights}': expected random[:SEED], SEED of up to 18 digits")
        return str(weights)
    path, hint = Path(weights), "--weights takes a .caffemodel or random[:SEED]"
    mode = _mode(path)
    if S_ISDIR(mode):
        raise ModelError(f"{path}: expected a file with weights, found a folder", hint=hint)
    if not mode:
        raise ModelError(f"{path}: no such file", hint=hint)
    return path


def _mode(path: Path) -> int:
    """Return what kind of file a path names; 0 where there is none, an error where it cannot be told."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"{path}: cannot be opened: {reason}") from None


def _from_file(path: Path, weights: Path | str | None) -> Located:
    """A file the user named; a card beside it counts when it speaks of this file."""
    card_path = path.parent / FILE_NAME
    card = read_card(card_path) if card_path.is_file() else None
    if path.suffix == ".caffemodel":
        ours = card if card is not None and card.weights == path.name else None
        beside = path.parent / ours.architecture if ours else None
        return Located(beside if beside and beside.is_file() else None, weights or path, ours)
    ours = card if card is not None and card.architecture == path.name else None
    if weights is None and ours is not None and (path.parent / ours.weights).is_file():
        weights = path.parent / ours.weights
    return Located(path, weights, ours)


def _in_folder(folder: Path, weights: Path | str | None, models_dir: str | Path | None) -> Located:
    """A folder the user named: by its card, else by its only prototxt or ONNX file."""
    if (folder / FILE_NAME).is_file():
        return _by_card(read_card(folder / FILE_NAME), weights, models_dir)
    for suffix in _ARCHITECTURES:
        found = sorted(folder.glob(f"*{suffix}"))
        if len(found) == 1:
            return Located(found[0], weights, _card_named(folder.name, models_dir))
        if found:
            break
    raise ModelError(
        f"{folder}: expected a {FILE_NAME} or one {' or '.join(_ARCHITECTURES)}, found {len(found)} {suffix}",
        hint="name the file itself",
    )


def _card_named(name: str, models_dir: str | Path | None) -> Card | None:
    """Return the card of that name or alias; ConfigError where the folder of that name has a card with mistakes."""
    for folder, card in _cards(models_dir):
        if isinstance(card, Card):
            if card.name == name:
                return card
        elif folder == name:
            raise card
    return next((card for card in all_cards(models_dir).values() if name in card.aliases), None)


def _by_name(name: str, weights: Path | str | None, models_dir: str | Path | None) -> Located:
    """A name: of a card, of one of its aliases, or of a folder on the models path."""
    card = _card_named(name, models_dir)
    if card is not None:
        return _by_card(card, weights, models_dir)
    folders = [folder / name for folder in models_path(models_dir) if (folder / name).is_dir()]
    if folders and name not in (".", ".."):
        return _in_folder(folders[0], weights, models_dir)
    raise ModelError(f"unknown model '{name}'", hint=did_you_mean(name, _known_names(models_dir)))


def _known_names(models_dir: str | Path | None) -> Iterable[str]:
    """All names that would have worked."""
    cards = all_cards(models_dir).values()
    files = [folder.glob(f"*/*{suffix}") for folder in models_path(models_dir) for suffix in _ARCHITECTURES]
    folders = [path.parent.name for paths in files for path in paths]
    return {*(card.name for card in cards), *(alias for card in cards for alias in card.aliases), *folders}


def _by_card(card: Card, weights: Path | str | None, models_dir: str | Path | None) -> Located:
    """The card's files: beside it, or in a folder of its name on the models path."""
    folders = (card.path.parent, *(folder / card.name for folder in models_path(models_dir)))
    architecture = find_file(card.architecture, folders)
    stored = find_file(card.weights, folders)
    if architecture is None or (weights is None and stored is None):
        missing = card.architecture if architecture is None else card.weights
        raise ModelError(
            f"model '{card.name}': its file {missing} is not here",
            hint=f"put it into a folder {card.name}/ and name the folder above: --models-dir or LRPTOOL_MODELS",
        )
    return Located(architecture, weights or stored, card)


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
