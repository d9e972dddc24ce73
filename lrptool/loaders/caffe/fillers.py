"""Seeded weights for an architecture without any, scaled so that even deep networks neither explode nor die out."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod, sqrt

import numpy as np

from lrptool.errors import ModelError
from lrptool.graph import Array
from lrptool.loaders.caffe.schema import Message
from lrptool.loaders.caffe.weights import MOST_NUMBERS, Blob
from lrptool.loaders.caffe.wiring import Wired


class RandomWeights:
    """He-scaled normal weights; biases zero; normalisations that expect about what they get.

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
        self._shared: dict[str, Array] = {}
        self._drawn = 0

    def count(self, item: Wired) -> int | None:
        """Return None: a layer may have as many arrays as it likes."""
        return None

    def take(self, item: Wired, blobs: Sequence[Blob], spread: float) -> tuple[Array, ...]:
        """Draw the weights of a layer; what it shares with an earlier one is that one's."""
        layer = item.layer
        arrays = []
        for index, blob in enumerate(blobs):
            self._drawn += prod(blob.shape)
            if self._drawn > MOST_NUMBERS:
                raise ModelError(
                    f"{layer.place}: layer {item.name!r}: {self._drawn} weights up to it are more than any network has"
                )
            name = layer.shared[index] if index < len(layer.shared) else ""
            array = self._shared.get(name)
            if array is None or array.shape != blob.shape:
                array = self._draw(blob, spread)
            if name:
                self._shared[name] = array
            arrays.append(array)
        return tuple(arrays)

    def _draw(self, blob: Blob, spread: float) -> Array:
        """Return one array."""
        if blob.fill == "he":
            # Drawn in single precision at once: double would need three times the memory.
            drawn = self._rng.standard_normal(blob.shape, np.float32)
            drawn *= np.float32(sqrt(2 / blob.fan_in))
            return drawn
        if blob.fill == "bilinear":
            return _bilinear(blob.shape)
        return np.full(blob.shape, spread if blob.fill == "spread" else blob.fill, np.float32)

    def finish(self) -> tuple[str, ...]:
        """Say that the weights mean nothing."""
        return (f"weights are random (seed {self._seed}): the scores mean nothing",)


def _bilinear(shape: tuple[int, ...]) -> Array:
    """Return kernels (…, h, w) that interpolate between neighbours when they spread values out."""

    def tent(size: int) -> Array:
        """Return a triangle over `size` positions."""
        half = ceil(size / 2)
        centre = (2 * half - 1 - half % 2) / (2.0 * half)
        return (1 - np.abs(np.arange(size) / half - centre)).astype(np.float32)

    kernel: Array = np.outer(tent(shape[-2]), tent(shape[-1]))
    return np.broadcast_to(kernel, shape).copy()


def constant_of(filler: Message, default: float) -> float:
    """Return the number a constant filler puts everywhere; `default` for another filler, or for 0, which kills."""
    return float(filler.value) if filler.type == "constant" and filler.value else default
