"""How a convolution lies on its maps, and the zeros that planes need around them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod


@dataclass(frozen=True, slots=True)
class Geometry:
    """Everything about a convolution but its weights.

    Parameters
    ----------
    in_size, out_size : (int, int)
        Height and width of the maps.
    kernel, strides, dilations : (int, int)
    pads : (int, int, int, int)
        Top, left, bottom, right.
    group : int
    """

    in_size: tuple[int, int]
    out_size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    group: int

    @property
    def single(self) -> bool:
        """Whether it takes single values, without padding: nothing is shifted against anything."""
        return self.kernel == (1, 1) and not any(self.pads)

    def flat(self) -> Geometry:
        """Return the same of single values over maps as one long row, else itself."""
        if not self.single or self.strides != (1, 1):
            return self
        size = (1, prod(self.in_size))
        return replace(self, in_size=size, out_size=size)


@dataclass(frozen=True, slots=True)
class Padding:
    """One axis of a transposed convolution: its steps, and the zeros its planes need.

    Parameters
    ----------
    steps : int
        Input positions per phase, without the first `skipped`, which lie in the padding of every phase.
    reach : int
        Farthest tap from the first, in steps.
    before : int
        Zeros before the outputs' values.
    """

    steps: int
    skipped: int
    reach: int
    before: int

    @classmethod
    def of(cls, g: Geometry, axis: int) -> Padding:
        """Return the padding of an axis."""
        stride, pad = g.strides[axis], g.pads[axis]
        reach = (g.kernel[axis] - 1) * g.dilations[axis] // stride
        skipped = min(reach, max(0, -((stride - 1 - pad) // stride)))
        return cls((g.in_size[axis] + pad - 1) // stride + 1 - skipped, skipped, reach, reach - skipped)
