"""Class names: what a class is called, and which class a word means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lrptool.errors import InputError, did_you_mean

_SYNSET = re.compile(r"n\d{8}$")


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes of a model in order.

    Parameters
    ----------
    names : tuple of str
        ``name, other name, …``; may be empty when nothing is known.
    synsets : tuple of str
        WordNet ids, or empty.
    count : int
        Number of classes.
    """

    names: tuple[str, ...]
    synsets: tuple[str, ...]
    count: int

    @classmethod
    def of(cls, lines: Sequence[str] | None, count: int) -> Labels:
        """Return the labels written one per line, each with a leading synset id or none."""
        if not lines or len(lines) != count:
            return cls((), (), count)
        first = [line.split(maxsplit=1) for line in lines]
        if all(len(words) == 2 and _SYNSET.match(words[0]) for words in first):
            return cls(tuple(words[1] for words in first), tuple(words[0] for words in first), count)
        return cls(tuple(lines), (), count)

    def name(self, index: int) -> str:
        """The first name of a class; its number where it has no name."""
        return self.names[index].split(",")[0].strip() if self.names else str(index)

    def synset(self, index: int) -> str | None:
        """The WordNet id of a class."""
        return self.synsets[index] if self.synsets else None

    def find(self, text: str) -> int:
        """Return the class a user means: an index, a synset id, a name, or the beginning of exactly one name.

        Raises
        ------
        InputError
            Nothing of that name, or several.
        """
        word = text.strip().lower()
        if self.names:
            exact = [k for k, names in enumerate(self.names) if word in [n.strip().lower() for n in names.split(",")]]
            if exact:
                return self._only(text, exact)
        if re.fullmatch(r"\d+", word):
            if int(word) < self.count:
                return int(word)
            raise InputError(f"target {text}: expected a class from 0 to {self.count - 1}")
        if word in self.synsets:
            return self.synsets.index(word)
        if not self.names:
            raise InputError(
                f"target '{text}': the model's class names are not known",
                hint="give the class as a number, or --labels",
            )
        begins = [k for k, names in enumerate(self.names) if any(_begins(n, word) for n in names.split(","))]
        if not begins:
            singles = [n.strip().lower() for names in self.names for n in names.split(",")]
            raise InputError(f"target '{text}': no class of that name", hint=did_you_mean(word, singles))
        return self._only(text, begins)

    def _only(self, text: str, found: Sequence[int]) -> int:
        """Return the only class found."""
        if len(found) > 1:
            listed = ", ".join(f"{self.name(k)} ({k})" for k in found[:6]) + (", …" if len(found) > 6 else "")
            raise InputError(f"target '{text}' means {len(found)} classes: {listed}", hint="give the number")
        return found[0]


def _begins(name: str, word: str) -> bool:
    """Whether a class name begins with a word."""
    return bool(word) and name.strip().lower().startswith(word)
