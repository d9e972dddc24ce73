"""Where the numbers of a layer come from: a caffemodel, or a seeded draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Literal, Protocol

import numpy as np

from lrptool.errors import ModelError, did_you_mean
from lrptool.graph import Array
from lrptool.loaders.caffe.files import blob_array, blob_shape, stored_blobs
from lrptool.loaders.caffe.schema import Message
from lrptool.loaders.caffe.wiring import Wired

_MOST_NUMBERS = 2**28
"""Twice the weights of the largest published classifiers: beyond it a size is a slip, and memory would run out."""


@dataclass(frozen=True, slots=True)
class Blob:
    """One array a layer asks for.

    Parameters
    ----------
    role : {"weight", "zeros", "ones"}
        What it is without a file: a random weight, zeros (bias, mean), or ones (variance).
    shape : tuple of int
    fan_in : int
        Products per output value, for the scale of random weights.
    transposed : bool
        Whether the file holds the matrix the other way round.
    """

    role: Literal["weight", "zeros", "ones"]
    shape: tuple[int, ...]
    fan_in: int = 1
    transposed: bool = False


class Weights(Protocol):
    """A source of weights; asked once per layer, in file order."""

    def take(self, item: Wired, blobs: Sequence[Blob]) -> tuple[Array, ...]:
        """Return the arrays of a layer in the shapes asked for; ModelError where they do not fit."""

    def finish(self) -> tuple[str, ...]:
        """Return notes once all layers have asked."""


class RandomWeights:
    """He-scaled normal weights, biases zero.

    Parameters
    ----------
    seed : int
        Of `numpy.random.default_rng`; layers draw in file order.

    Notes
    -----
    Source: He et al. 2015, https://doi.org/10.1109/ICCV.2015.123, eq. 10.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = np.random.default_rng(seed)

    def take(self, item: Wired, blobs: Sequence[Blob]) -> tuple[Array, ...]:
        """Draw the weights of a layer."""
        for blob in blobs:
            if prod(blob.shape) > _MOST_NUMBERS:
                raise ModelError(f"layer {item.name!r}: {prod(blob.shape)} weights are more than any network has")
        return tuple(self._draw(blob) for blob in blobs)

    def _draw(self, blob: Blob) -> Array:
        """Return one array."""
        if blob.role == "weight":
            return self._rng.normal(0, sqrt(2 / blob.fan_in), blob.shape).astype(np.float32)
        return np.full(blob.shape, 1 if blob.role == "ones" else 0, np.float32)

    def finish(self) -> tuple[str, ...]:
        """Say that the weights mean nothing."""
        return (f"weights are random (seed {self._seed}): the scores mean nothing",)


class StoredWeights:
    """The weights of a caffemodel, found by layer name.

    Parameters
    ----------
    net : Message
        A NetParameter with raw weights.
    where : str
        The file, for messages.
    """

    def __init__(self, net: Message, where: str) -> None:
        self._where = where
        self._blobs: dict[tuple[str, int], list[Message]] = {}
        counts: dict[str, int] = {}
        for name, blobs in stored_blobs(net):
            if not name.isprintable():
                raise ModelError(f"{where}: damaged: a layer is called {name!r}")
            if blobs:
                self._blobs[name, counts.setdefault(name, 0)] = blobs
                counts[name] += 1
        self._used: set[str] = set()

    def take(self, item: Wired, blobs: Sequence[Blob]) -> tuple[Array, ...]:
        """Return the arrays of a layer."""
        layer = item.layer
        stored = self._blobs.get((layer.name, item.occurrence))
        if stored is None:
            if not blobs:
                return ()
            raise self._no_weights(item)
        self._used.add(layer.name)
        where = f"{self._where}: layer {item.name!r} ({layer.type})"
        if len(stored) != len(blobs):
            raise ModelError(f"{where}: expected {len(blobs)} blobs, found {len(stored)}: {_shapes(stored)}")
        return tuple(self._fit(blob, wanted, where) for blob, wanted in zip(stored, blobs, strict=True))

    def _fit(self, blob: Message, wanted: Blob, where: str) -> Array:
        """Return one array in the shape asked for; only axes of size 1 may differ, they move no number."""
        array = blob_array(blob, where)
        if [size for size in array.shape if size != 1] != [size for size in wanted.shape if size != 1]:
            raise ModelError(f"{where}: expected weights of shape {wanted.shape}, found {array.shape}")
        return array.reshape(wanted.shape)

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
        return (f"weights of {len(surplus)} layers that the scores do not need were left out: {', '.join(surplus)}",)


def _shapes(blobs: Sequence[Message]) -> str:
    """Return the shapes of blobs, for a message."""
    return ", ".join(str(blob_shape(blob)) for blob in blobs)
