"""Where the numbers of a layer come from: a caffemodel, or a seeded draw (`lrptool.loaders.caffe.fillers`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from lrptool.errors import ModelError, did_you_mean
from lrptool.graph import Array
from lrptool.loaders.caffe.files import Caffemodel, blob_array, blob_shape, in_shape
from lrptool.loaders.caffe.wire import StoredBlob
from lrptool.loaders.caffe.wiring import Wired

MOST_NUMBERS = 2**28
"""Twice the weights of the largest published classifiers: beyond it a size is a slip, and memory would run out."""

Fill = float | Literal["he", "bilinear", "spread"]
"""What an array is without a file: one number everywhere; random weights; a kernel that interpolates; or the mean
square of what the layer reads."""


@dataclass(frozen=True, slots=True)
class Blob:
    """One array a layer asks for.

    Parameters
    ----------
    shape : tuple of int
    fill : float or str
        What it is without a file.
    fan_in : int
        Products per output value, for the scale of random weights.
    transposed : bool
        Whether the file holds the matrix the other way round.
    """

    shape: tuple[int, ...]
    fill: Fill = 0.0
    fan_in: int = 1
    transposed: bool = False


class Weights(Protocol):
    """A source of weights; asked once per layer, in file order."""

    def count(self, item: Wired) -> int | None:
        """Return how many arrays there are for a layer; None where it may have as many as it likes."""

    def take(self, item: Wired, blobs: Sequence[Blob], spread: float) -> tuple[Array, ...]:
        """Return the arrays of a layer in the shapes asked for; ModelError where they do not fit.

        ``spread`` estimates the mean square of what the layer reads.
        """

    def finish(self) -> tuple[str, ...]:
        """Return notes once all layers have asked."""


class StoredWeights:
    """The weights of a caffemodel, found by layer name.

    Parameters
    ----------
    stored : Caffemodel
        The file's content.
    where : str
        The file, for messages.
    """

    def __init__(self, stored: Caffemodel, where: str) -> None:
        self._where = where
        self._blobs: dict[tuple[str, int], list[StoredBlob]] = {}
        self._shared: dict[str, Array] = {}
        counts: dict[str, int] = {}
        for name, blobs in stored.blobs:
            if not name.isprintable():
                raise ModelError(f"{where}: damaged: a layer is called {name!r}")
            if blobs:
                self._blobs[name, counts.setdefault(name, 0)] = blobs
                counts[name] += 1
        self._used: set[str] = set()

    def count(self, item: Wired) -> int | None:
        """Return how many arrays the file has for a layer."""
        stored = self._blobs.get((item.layer.name, item.occurrence))
        return None if stored is None else len(stored)

    def take(self, item: Wired, blobs: Sequence[Blob], spread: float) -> tuple[Array, ...]:
        """Return the arrays of a layer."""
        layer = item.layer
        stored = self._blobs.get((layer.name, item.occurrence))
        if stored is None:
            if all(name in self._shared for name in layer.shared[: len(blobs)]) and len(layer.shared) >= len(blobs):
                arrays = tuple(self._shared[name] for name in layer.shared[: len(blobs)])
                return tuple(self._in_place(item, *pair) for pair in zip(arrays, blobs, strict=True))
            raise self._no_weights(item)
        self._used.add(layer.name)
        where = f"{self._where}: layer {item.name!r} ({layer.type})"
        if len(stored) != len(blobs):
            raise ModelError(f"{where}: expected {len(blobs)} blobs, found {len(stored)}: {_shapes(stored)}")
        arrays = tuple(
            self._in_place(item, blob_array(blob, where), wanted) for blob, wanted in zip(stored, blobs, strict=True)
        )
        self._shared.update(zip(layer.shared, arrays, strict=False))
        return arrays

    def _in_place(self, item: Wired, array: Array, wanted: Blob) -> Array:
        """Return an array in the shape asked for; only axes of size 1 may differ, they move no number."""
        if [size for size in array.shape if size != 1] != [size for size in wanted.shape if size != 1]:
            raise ModelError(
                f"{self._where}: layer {item.name!r} ({item.layer.type}): expected weights of shape {wanted.shape}, "
                f"found {array.shape}"
            )
        return in_shape(array, wanted.shape)

    def _no_weights(self, item: Wired) -> ModelError:
        """Return the error for a layer the file does not have."""
        names = {name for name, _ in self._blobs}
        if not names:
            return ModelError(f"{self._where}: holds no weights at all", hint="it is a net without its training")
        if self._used:
            hint = did_you_mean(item.layer.name, names - self._used) if names - self._used else None
        else:
            hint = f"its layers are called {', '.join(sorted(names)[:6])}, …: is it the file of another network?"
        return ModelError(f"{self._where}: no weights for layer {item.name!r} ({item.layer.type})", hint=hint)

    def finish(self) -> tuple[str, ...]:
        """Name the layers in the file that nobody asked for: heads that were only there for training."""
        surplus = list(dict.fromkeys(name for name, _ in self._blobs if name not in self._used))
        if not surplus:
            return ()
        shown = ", ".join(surplus[:20]) + (", …" if len(surplus) > 20 else "")
        return (f"weights of {len(surplus)} layers that the scores do not need were left out: {shown}",)


def _shapes(blobs: Sequence[StoredBlob]) -> str:
    """Return the shapes of blobs, for a message."""
    return ", ".join(str(blob_shape(blob)) for blob in blobs)
