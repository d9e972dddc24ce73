"""Where the batch is: tensors of the file seen as tensors of a graph whose first axis is the batch.

A file may keep the batch on any axis (PyTorch's attention has it on the second) and join it with another axis (batch ×
heads). The graph keeps it in front. So every tensor has two forms: its *axes in the file*, and its *item*, the shape
without the batch, in the file's order. Moving or joining the batch is then no operator at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
Sizes = tuple[int, ...]


class NotBatchFirst(Exception):  # noqa: N818  (never leaves the loader: the next way of reading is tried)
    """An operator works across the batch, or the sizes it asks for hold for one size of the batch only."""

    def at(self, where: str) -> NotBatchFirst:
        """Return the error with the place where it happened, the innermost one."""
        return self if len(self.args) > 1 else NotBatchFirst(f"{where}: {self}", where)

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Mode:
    """How the batch is read.

    Parameters
    ----------
    sizes : tuple of int
        Sizes of the batch that shapes are computed for. Several at once tell which numbers follow the batch.
    follow : bool
        Whether the batch is kept track of; otherwise every axis has its one size.
    """

    sizes: Sizes
    follow: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """A value that does not depend on the image, for each size of the batch.

    Parameters
    ----------
    values : tuple of array
        One where it is the same for all, else one for each.
    name : str
        What it is called in the file; empty where it was computed.
    """

    values: tuple[Numbers, ...]
    name: str = ""

    @property
    def array(self) -> Numbers:
        """The value; NotBatchFirst where it depends on the batch."""
        if len(self.values) != 1:
            raise NotBatchFirst("a constant depends on the size of the batch")
        return self.values[0]

    def each(self, count: int) -> tuple[Numbers, ...]:
        """Return one value for each of `count` sizes of the batch."""
        return self.values * count if len(self.values) == 1 else self.values

    @classmethod
    def of(cls, values: Sequence[Numbers], name: str = "") -> Known:
        """Return the values, one alone where all are the same."""
        first = values[0]
        same = all(value.shape == first.shape and np.array_equal(value, first) for value in values[1:])
        return cls((first,) if same else tuple(values), name)


@dataclass(frozen=True, slots=True)
class Whole:
    """How the whole numbers of the file follow from those of the graph: divided by `scale`, plus `zero`, rounded.

    Parameters
    ----------
    scale, zero : float
    unit : str
        A further divisor, which the network finds for each image; empty for none.
    """

    scale: float = 1.0
    zero: float = 0.0
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Unit:
    """A number the network finds for each image, times a constant; it cancels before the scores.

    Parameters
    ----------
    name : str
    factor : array
    """

    name: str
    factor: Numbers


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the graph, as the file sees it.

    Parameters
    ----------
    name : str
        In the graph.
    item : tuple of int
        Its shape without the batch, axes in the file's order; the whole shape where the batch is not followed.
    batch : int or None
        The file's axis that the batch is on; None where it is not followed.
    joined : (int, int)
        How many axes of the item (0 or 1) that axis has before the batch and behind it: heads × batch, batch × heads.
    whole : Whole or None
        Where the file has whole numbers, what they are of the graph's.
    """

    name: str
    item: Sizes
    batch: int | None = 0
    joined: tuple[int, int] = (0, 0)
    whole: Whole | None = None

    @property
    def rank(self) -> int:
        """Number of axes in the file."""
        return len(self.item) + (self.batch is not None) - sum(self.joined)

    def shape(self, size: int) -> Sizes:
        """Return the shape in the file for one size of the batch."""
        if self.batch is None:
            return self.item
        end = self.batch + sum(self.joined)
        return (*self.item[: self.batch], size * prod(self.item[self.batch : end]), *self.item[end:])

    def places(self, axis: int) -> Sizes:
        """Return the positions in the item of one of the file's axes, counted from the front; the batch has none."""
        if self.batch is None or axis < self.batch:
            return (axis,)
        if axis == self.batch:
            return tuple(range(axis, axis + sum(self.joined)))
        return (axis - 1 + sum(self.joined),)

    def place(self, axis: int) -> int:
        """Return the position in the item of one of the file's axes.

        Raises
        ------
        NotBatchFirst
            It is the batch's.
        """
        if axis == self.batch:
            raise NotBatchFirst(f"axis {axis} is the batch")
        return self.places(axis)[0]

    def inner(self, axis: int) -> int:
        """Return the axis in the graph of one of the file's axes; NotBatchFirst where it is the batch's."""
        return self.place(axis) + (self.batch is not None)

    def from_behind(self, rank: int) -> tuple[int | None, tuple[int, int]]:
        """Return where the batch is in a result of so many axes, and what it is joined with."""
        return (None if self.batch is None else rank - self.rank + self.batch), self.joined

    @property
    def alone(self) -> bool:
        """Whether the batch is joined with no other axis."""
        return self.joined == (0, 0)

    @property
    def plain(self) -> bool:
        """Whether the file's axes are the graph's."""
        return self.batch is None or (self.batch == 0 and self.alone)


def reshaped(tensor: Tensor, targets: Sequence[Sizes], sizes: Sizes) -> Tensor:
    """Return a tensor in another shape, with the batch where the order of its numbers puts it; the name is the old one.

    Parameters
    ----------
    tensor : Tensor
    targets : sequence of tuple of int
        The shape in the file, for each size of the batch.
    sizes : tuple of int
        The sizes of the batch.

    Raises
    ------
    NotBatchFirst
        The batch would be torn apart.
    """
    if tensor.batch is None:
        return Tensor(tensor.name, targets[0], None, whole=tensor.whole)
    before = prod(tensor.item[: tensor.batch + tensor.joined[0]])
    found: list[Tensor] = []
    for axis in range(len(targets[0])):
        factors = {target[axis] / size for target, size in zip(targets, sizes, strict=True)}
        others = {(*target[:axis], *target[axis + 1 :]) for target in targets}
        outer, torn = divmod(before, prod(targets[0][:axis]))
        factor = factors.pop()
        if factors or len(others) > 1 or torn or factor % outer:
            continue
        parts = tuple(part for part in (outer, int(factor) // outer) if part > 1)
        item = (*targets[0][:axis], *parts, *targets[0][axis + 1 :])
        found.append(Tensor(tensor.name, item, axis, (int(outer > 1), int(factor > outer)), tensor.whole))
    if not found:
        raise NotBatchFirst(f"a shape of {targets[0]} leaves the batch no axis of its own")
    return min(found, key=lambda one: (sum(one.joined), one.joined))


def item_of(value: Known, rank: int, like: Tensor, sizes: Sizes) -> Numbers:
    """Return a constant operand as it is broadcast against every item of a tensor.

    Parameters
    ----------
    value : Known
    rank : int
        Number of axes the result has in the file.
    like : Tensor
        The tensor operand, with its batch counted in `rank` axes.
    sizes : tuple of int
        The sizes of the batch.

    Raises
    ------
    NotBatchFirst
        It differs between the images of a batch.
    """
    if like.batch is None:
        return value.array
    items = []
    inner = like.item[like.batch : like.batch + sum(like.joined)]
    for size, array in zip(sizes, value.each(len(sizes)), strict=True):
        if array.ndim == 0:
            items.append(array)
            continue
        full = array.reshape((1,) * (rank - array.ndim) + array.shape)
        along = full.shape[like.batch]
        if along not in (1, size * prod(inner)):
            raise NotBatchFirst("a constant differs between the images of a batch")
        parts = [1] * (1 + len(inner)) if along == 1 else [*inner[: like.joined[0]], size, *inner[like.joined[0] :]]
        full = full.reshape((*full.shape[: like.batch], *parts, *full.shape[like.batch + 1 :]))
        batch = like.batch + like.joined[0]
        first = full.take([0], axis=batch)
        if not np.array_equal(full, np.broadcast_to(first, full.shape), equal_nan=full.dtype.kind == "f"):
            raise NotBatchFirst("a constant differs between the images of a batch")
        items.append(first.squeeze(batch))
    return Known.of(items).array
