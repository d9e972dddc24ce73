"""Cards: what is known about a named model, as YAML beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lrptool.errors import ConfigError, did_you_mean
from lrptool.reading import read_yaml

FILE_NAME = "card.yaml"


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How pictures become numbers; the fields of `lrptool.imaging.Preprocessing` as a card writes them.

    ``mean`` is one number per channel, or the name of a ``.npy`` or ``.binaryproto`` file beside the card.
    """

    size: tuple[int, int]
    resize: int | tuple[int, int] | None = None
    mode: Literal["squash", "shortest"] = "squash"
    channels: Literal["BGR", "RGB", "GRAY"] = "BGR"
    raw_scale: float = 255.0
    mean: tuple[float, ...] | str | None = None
    scale: float = 1.0
    std: tuple[float, ...] | None = None
    invert: bool | Literal["auto"] = False
    fit: Literal["mnist"] | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """A named model.

    Parameters
    ----------
    name : str
    path : Path
        The card's own file.
    architecture, weights : str
        File names, in the card's folder or in a folder called `name` of the models path.
    preprocess : Preprocess
    labels : tuple of str or str
        One name per class, or the name of a file with one per line.
    aliases : tuple of str
    sha256 : mapping of str to str
        File name → hex digest, as published.
    title, task, license, citation, source, accuracy, notes : str
    default_composite : str, optional
    """

    name: str
    path: Path
    architecture: str
    weights: str
    preprocess: Preprocess
    labels: tuple[str, ...] | str | None = None
    aliases: tuple[str, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    task: str = ""
    license: str = ""
    citation: str = ""
    source: str = ""
    accuracy: str = ""
    notes: str = ""
    default_composite: str | None = None


class _Reader:
    """Reads one mapping and collects everything that is wrong with it."""

    def __init__(self, data: Any, where: str, problems: list[str]) -> None:
        self.where, self.problems = where, problems
        self.data: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
        if not isinstance(data, Mapping):
            problems.append(f"{where}: expected a mapping, found {_shown(data)}")

    def only(self, *known: str) -> None:
        """Complain of unknown keys."""
        for key in self.data:
            if key not in known:
                self.problems.append(f"{self.where}: unknown key '{key}' ({did_you_mean(str(key), known)})")

    def get(self, key: str, accept: Callable[[Any], Any], expected: str, default: Any = None) -> Any:
        """Return a value through `accept`, which raises ValueError or TypeError where it does not fit."""
        value = self.data.get(key)
        if value is None:
            if default is _REQUIRED:
                self.problems.append(f"{self.where}: '{key}' is missing, expected {expected}")
            return default
        try:
            return accept(value)
        except (TypeError, ValueError, OverflowError):
            self.problems.append(f"{self.where}.{key}: expected {expected}, found {_shown(value)}")
            return default


_REQUIRED: Any = object()
_SWITCH = (True, False)
_LARGEST = 3.4e38
"""Beyond this, float32 has only infinity."""
_LARGEST_SIDE = 16_384
_LONGEST_NAME = 255
"""Bytes that file systems take."""


def _shown(value: Any) -> str:
    """What was found, on one line of bearable length."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of very many digits"
    return text if len(text) <= 80 else f"{text[:80]}…"


def _text(value: Any) -> str:
    """Accept text, or a number as text; line breaks of folded YAML become blanks."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError
    return " ".join(str(value).split())


def _file_name(value: Any) -> str:
    """Accept a plain file name: a card cannot point outside its folder."""
    if not isinstance(value, str) or Path(value).name != value or value in ("", "..") or not value.isprintable():
        raise ValueError
    if len(value.encode()) > _LONGEST_NAME:
        raise ValueError
    return value


def _number(value: Any) -> float:
    """Accept a number that float32 can hold; YAML reads ``1e-6`` as text, so text of a number is one."""
    number = float(value)
    if isinstance(value, bool) or not abs(number) <= _LARGEST:
        raise ValueError
    return number


def _numbers(value: Any) -> tuple[float, ...]:
    """Accept a number or a list of them."""
    return tuple(_number(v) for v in (value if isinstance(value, list) else [value]))


def _mean(value: Any) -> tuple[float, ...] | str:
    """Accept numbers or a file name."""
    return _file_name(value) if isinstance(value, str) else _numbers(value)


def _size(value: Any) -> tuple[int, int]:
    """Accept (H, W)."""
    if not isinstance(value, list):
        raise TypeError
    height, width = value
    return _side(height), _side(width)


def _side(value: Any) -> int:
    """Accept a positive whole number of pixels."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LARGEST_SIDE:
        raise ValueError
    return value


def _names(value: Any) -> tuple[str, ...]:
    """Accept a list of names."""
    if not isinstance(value, list):
        raise TypeError
    return tuple(_text(v) for v in value)


def _labels(value: Any) -> tuple[str, ...] | str:
    """Accept names, or a file name."""
    return _file_name(value) if isinstance(value, str) else _names(value)


def _one_of(*choices: Any) -> Callable[[Any], Any]:
    """Accept one of some values."""

    def accept(value: Any) -> Any:
        if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in choices):
            raise ValueError
        return value

    return accept


def _digests(value: Any) -> dict[str, str]:
    """Accept file name → 64 hex digits."""
    if not isinstance(value, Mapping):
        raise TypeError
    if not all(isinstance(digest, str) and re.fullmatch(r"[0-9a-fA-F]{64}", digest) for digest in value.values()):
        raise ValueError
    return {_file_name(name): digest.lower() for name, digest in value.items()}


def _preprocess(data: Any, problems: list[str]) -> Preprocess:
    """Read the section ``preprocess``."""
    reader = _Reader(data, "preprocess", problems)
    reader.only("size", "resize", "mode", "channels", "raw_scale", "mean", "scale", "std", "invert", "fit")
    return Preprocess(
        size=reader.get("size", _size, "[height, width]", _REQUIRED),
        resize=reader.get("resize", lambda v: _size(v) if isinstance(v, list) else _side(v), "a side or [h, w]"),
        mode=reader.get("mode", _one_of("squash", "shortest"), "squash or shortest", "squash"),
        channels=reader.get("channels", _one_of("BGR", "RGB", "GRAY"), "BGR, RGB or GRAY", "BGR"),
        raw_scale=reader.get("raw_scale", _number, "a number", 255.0),
        mean=reader.get("mean", _mean, "one number per channel or a file name"),
        scale=reader.get("scale", _number, "a number", 1.0),
        std=reader.get("std", _numbers, "one number per channel"),
        invert=reader.get("invert", _one_of("auto", *_SWITCH), "true, false or auto", default=False),
        fit=reader.get("fit", _one_of("mnist"), "mnist"),
    )


def read_card(path: Path) -> Card:
    """Read and check a card.

    Raises
    ------
    ConfigError
        Everything that is wrong with it, all at once.
    """
    data = read_yaml(path)
    problems: list[str] = []
    reader = _Reader(data, "card", problems)
    texts = ("title", "task", "license", "citation", "source", "accuracy", "notes")
    reader.only("name", "aliases", "files", "preprocess", "labels", "default_composite", *texts)
    files = _Reader(reader.data.get("files"), "files", problems)
    files.only("architecture", "weights", "sha256")
    card = Card(
        name=reader.get("name", _file_name, "a name", _REQUIRED),
        path=path,
        architecture=files.get("architecture", _file_name, "a file name", _REQUIRED),
        weights=files.get("weights", _file_name, "a file name", _REQUIRED),
        preprocess=_preprocess(reader.data.get("preprocess"), problems),
        labels=reader.get("labels", _labels, "a list of names or a file name"),
        aliases=reader.get("aliases", _names, "a list of names", ()),
        sha256=files.get("sha256", _digests, "file name: 64 hex digits", {}),
        default_composite=reader.get("default_composite", _text, "a composite's name"),
        **{key: reader.get(key, _text, "text", "") for key in texts},
    )
    if problems:
        raise ConfigError(f"{path}: " + "; ".join(problems))
    return card
