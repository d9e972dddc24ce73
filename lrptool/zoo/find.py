"""From what a user typed after ``--model`` to files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR

from lrptool.errors import ModelError
from lrptool.resources import WEIGHTS, weights_in
from lrptool.zoo.card import FILE_NAME, Card, File
from lrptool.zoo.catalogue import all_cards, card_named, find_file, homes, missing_files, mode_of, models_path, unknown
from lrptool.zoo.parse import read_card
from lrptool.zoo.store import absent

_RANDOM = "random"
_ARCHITECTURES = (".prototxt", ".onnx")
_OTHERS = (".pbtxt", ".txt")
"""Other endings of files that may hold a model."""

Obtain = Callable[[Card, Sequence[File]], None]
"""Brings the files of a model that are missing into the user's folder, or raises."""


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


def locate(
    model: str | Path,
    weights: str | Path | None = None,
    models_dir: str | Path | None = None,
    obtain: Obtain | None = None,
) -> Located:
    """Return the files of a model.

    Parameters
    ----------
    model : str or Path
        A prototxt, a caffemodel (``.h5``, too), an ``.onnx``, a folder with one of them or a card, or a name on the
        models path.
    weights : str or Path, optional
        A caffemodel (``.h5``, too), or ``random[:SEED]``; without it the only one beside the prototxt.
    models_dir : str or Path, optional
        Where to look first.
    obtain : callable, optional
        Called with a card and the files of it that are missing; without it they are an error.

    Raises
    ------
    ModelError
        Nothing of that name, or files that are not there.
    """
    if not str(model):
        raise ModelError("expected a model's name or a path, found nothing")
    path = Path(model)
    chosen = _weights(weights)
    models_path(models_dir)
    mode = mode_of(path)
    if S_ISDIR(mode):
        return _in_folder(path, chosen, models_dir, obtain)
    if mode:
        return _from_file(path, chosen)
    if path.name.endswith((*_ARCHITECTURES, *WEIGHTS, *_OTHERS)) or len(path.parts) != 1:
        raise ModelError(
            f"{path}: no such file", hint="a model is a .prototxt, a .caffemodel, an .onnx, a folder or a name"
        )
    return _by_name(str(model), chosen, models_dir, obtain)


def _weights(weights: str | Path | None) -> Path | str | None:
    """Return the weights asked for; a file has to exist."""
    if weights is None:
        return None
    if str(weights).split(":")[0] == _RANDOM:
        if not re.fullmatch(r"random(:[0-9]{1,18})?", str(weights)):
            raise ModelError(f"weights '{weights}': expected random[:SEED], SEED of up to 18 digits")
        return str(weights)
    path, hint = Path(weights), "--weights takes a .caffemodel or random[:SEED]"
    mode = mode_of(path)
    if S_ISDIR(mode):
        raise ModelError(f"{path}: expected a file with weights, found a folder", hint=hint)
    if not mode:
        raise ModelError(f"{path}: no such file", hint=hint)
    return path


def _from_file(path: Path, weights: Path | str | None) -> Located:
    """A file the user named; a card beside it counts when it speaks of this file."""
    card_path = path.parent / FILE_NAME
    card = read_card(card_path) if card_path.is_file() else None
    if path.name.endswith(WEIGHTS):
        ours = card if card is not None and card.weights == path.name else None
        beside = path.parent / ours.architecture if ours else None
        return Located(beside if beside and beside.is_file() else None, weights or path, ours)
    ours = card if card is not None and card.architecture == path.name else None
    if weights is None and ours is not None and (path.parent / ours.weights).is_file():
        weights = path.parent / ours.weights
    return Located(path, weights, ours)


def _in_folder(
    folder: Path, weights: Path | str | None, models_dir: str | Path | None, obtain: Obtain | None
) -> Located:
    """A folder the user named: by its card, else by its only prototxt or ONNX file, else by its only weights."""
    if (folder / FILE_NAME).is_file():
        return _by_card(read_card(folder / FILE_NAME), weights, models_dir, obtain)
    for suffix in _ARCHITECTURES:
        found = sorted(folder.glob(f"*{suffix}"))
        if len(found) == 1:
            return Located(found[0], weights, card_named(folder.name, models_dir))
        if found:
            break
    else:
        found, suffix = weights_in(folder), " or ".join(WEIGHTS[::2])
        if len(found) == 1:
            return Located(None, weights or found[0], card_named(folder.name, models_dir))
    names = f": {', '.join(path.name for path in found)}" if found else ""
    raise ModelError(
        f"{folder}: expected a {FILE_NAME} or one {' or '.join(_ARCHITECTURES)}, found {len(found)} {suffix}{names}",
        hint="name the file itself",
    )


def _by_name(name: str, weights: Path | str | None, models_dir: str | Path | None, obtain: Obtain | None) -> Located:
    """A name: of a card, of one of its aliases, or of a folder on the models path."""
    card = card_named(name, models_dir)
    folders = [folder / name for folder in models_path(models_dir) if (folder / name).is_dir()]
    if card is not None:
        renamed = _renamed(card, folders, weights) if missing_files(card, models_dir) else None
        return renamed or _by_card(card, weights, models_dir, obtain)
    if folders and name not in (".", ".."):
        return _in_folder(folders[0], weights, models_dir, obtain)
    raise unknown(name, _known_names(models_dir))


def _renamed(card: Card, folders: Sequence[Path], weights: Path | str | None) -> Located | None:
    """The user's own copy of a known model, whose files are called otherwise than in its card."""
    for folder in folders:
        for suffix in _ARCHITECTURES:
            found = sorted(folder.glob(f"*{suffix}"))
            whole = suffix == ".onnx" or weights is not None or len(weights_in(folder)) == 1
            if len(found) == 1 and found[0].name != card.architecture and whole:
                return Located(found[0], weights, card)
    return None


def _known_names(models_dir: str | Path | None) -> Iterable[str]:
    """All names that would have worked."""
    cards = all_cards(models_dir).values()
    files = [folder.glob(f"*/*{suffix}") for folder in models_path(models_dir) for suffix in _ARCHITECTURES]
    folders = [path.parent.name for paths in files for path in paths]
    return {*(card.name for card in cards), *(alias for card in cards for alias in card.aliases), *folders}


def _by_card(card: Card, weights: Path | str | None, models_dir: str | Path | None, obtain: Obtain | None) -> Located:
    """The card's files: beside it, or in a folder of its name on the models path; fetched where they are missing."""
    replaced = card.weights if weights is not None and card.weights != card.architecture else None
    missing = [file for file in missing_files(card, models_dir) if file.name != replaced]
    if missing and obtain is None:
        raise absent(card, missing, "")
    if missing and obtain is not None:
        obtain(card, missing)
    folders = homes(card, models_dir)
    return Located(find_file(card.architecture, folders), weights or find_file(card.weights, folders), card)
