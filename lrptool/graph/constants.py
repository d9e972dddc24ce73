"""Weights by name, which need not stay in memory while nobody looks at them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from lrptool.errors import ModelError

Array = NDArray[np.float32]


class Constants(Mapping[str, Array]):
    """Weights by name, read-only; threads may share them.

    Parameters
    ----------
    arrays : mapping of str to float32 array

    Raises
    ------
    ModelError
        When weights that were let go are asked for, and cannot be had again.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._here: dict[str, Array] = dict(arrays)
        for array in self._here.values():
            array.flags.writeable = False
        self._shapes = {name: array.shape for name, array in self._here.items()}
        self._again: Callable[[], Mapping[str, Array]] | None = None
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Array:
        """Return an array; where it was let go, all that were are there again."""
        array = self._here.get(name)
        if array is not None:
            return array
        with self._lock:
            if name in self._shapes and name not in self._here:
                self._restore()
            return self._here[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is such an array, wherever it is: a mapping's own way would be to get it."""
        return name in self._shapes

    def __iter__(self) -> Iterator[str]:
        """Names, in the order they were given."""
        return iter(self._shapes)

    def __len__(self) -> int:
        """How many there are, wherever they are."""
        return len(self._shapes)

    def let_go(self, names: Collection[str], again: Callable[[], Mapping[str, Array]]) -> None:
        """Leave some arrays to the garbage collector until somebody asks for one of them.

        Parameters
        ----------
        names : collection of str
        again : callable
            Returns the same arrays once more, and maybe others.
        """
        with self._lock:
            self._again = again
            for name in names:
                self._here.pop(name, None)

    def _restore(self) -> None:
        """Get what is not here."""
        found = self._again() if self._again is not None else {}
        for name in self._shapes.keys() - self._here.keys():
            if name not in found or found[name].shape != self._shapes[name]:
                raise ModelError(f"weights '{name}': expected {self._shapes[name]} as before, found others")
            self._here[name] = found[name]
