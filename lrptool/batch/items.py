"""What a batch explains: one item per input, with what is wished of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lrptool.batch.origins import Origin
from lrptool.errors import InputError, did_you_mean

_KEYS = ("target", "top", "against", "start", "id")


@dataclass(frozen=True, slots=True)
class Wish:
    """What to explain of an input.

    Parameters
    ----------
    targets : tuple of int or str
        As `lrptool.api.Model.explain` takes them.
    against : str or None
    start : str or None
    """

    targets: tuple[int | str, ...] = ("top",)
    against: str | None = None
    start: str | None = None

    def facts(self) -> dict[str, Any]:
        """Return the wish in plain values."""
        return {"targets": list(self.targets), "against": self.against, "start": self.start}

    def changed(self, said: Mapping[str, Any]) -> Wish:
        """Return the wish with what a line of a list says of its input.

        Raises
        ------
        InputError
            An unknown key, or a value that cannot be meant.
        """
        wish = self
        for key, value in said.items():
            if key not in _KEYS:
                raise InputError(f"unknown option '{key}'", hint=did_you_mean(key, ("path", *_KEYS)))
            if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
                raise InputError(f"{key}: expected a name or a number, found {value!r}")
            if key == "target":
                wish = replace(wish, targets=(value,))
            elif key == "top":
                wish = replace(wish, targets=_ranks(value))
            elif key == "against":
                wish = replace(wish, against=str(value))
            elif key == "start" and value not in ("score", "one", "contrast"):
                raise InputError(f"start: expected score, one or contrast, found '{value}'")
            elif key == "start":
                wish = replace(wish, start=str(value))
        return wish


def _ranks(value: str | int) -> tuple[str, ...]:
    """The best so many classes."""
    if not str(value).isdecimal() or not 1 <= int(value) <= 1000:
        raise InputError(f"top: expected a number from 1 to 1000, found {value!r}")
    return tuple(f"top:{rank}" for rank in range(1, int(value) + 1))


@dataclass(frozen=True, slots=True)
class Item:
    """One input.

    Parameters
    ----------
    name : str
        As the user gave it; bytes that are no text are surrogates, as in all of Python's file names.
    path : str
        Where its results go, relative to the output folder and without an ending: folders, and the input's own name.
    origin : Origin or None
        None where it is known already that it cannot be read.
    wish : Wish
    problem : str or None
        Why it cannot be read, where that is known already.
    row : int or None
        Which item of a ``.npy`` array it is.
    id : str or None
        What the user calls it.
    number : int
        Its place among all inputs.
    slot : int
        The first row of its results in a store.
    """

    name: str
    path: str
    origin: Origin | None
    wish: Wish
    problem: str | None = None
    row: int | None = None
    id: str | None = None
    number: int = -1
    slot: int = -1


def parsed_id(said: Mapping[str, Any]) -> str | None:
    """The id in a line of a list."""
    return str(said["id"]) if said.get("id") is not None else None
