"""Axes and shapes: what may be touched, what broadcasts to what, and the way back from there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrptool.graph import Node, Shape
from lrptool.ops.base import Values, misfit


def normal_axes(node: Node, shape: Shape, axes: Sequence[int]) -> tuple[int, ...]:
    """Return axes counted from the front; an open batch axis is not to be touched.

    Raises
    ------
    ModelError
        An axis that is not there, or the batch.
    """
    rank, first = len(shape), int(shape[0] is None)
    found = tuple(axis + rank if axis < 0 else axis for axis in axes)
    for given, axis in zip(axes, found, strict=True):
        if not first <= axis < rank:
            raise misfit(node, f"expected an axis from {first} to {rank - 1}, found {given}")
    return found


def normal_axis(node: Node, shape: Shape) -> int:
    """Return the attribute ``axis`` counted from the front; ModelError as `normal_axes`."""
    return normal_axes(node, shape, (node.integer("axis"),))[0]


def per_channel(values: Values, rank: int) -> Values:
    """View (C,) so that it broadcasts along axis 1 of a tensor of that rank."""
    return values.reshape(-1, *(1,) * (rank - 2))


def plain(shape: Shape) -> tuple[int, ...]:
    """Return the sizes for a batch of one."""
    return tuple(1 if size is None else size for size in shape)


def broadcast(node: Node, shapes: Sequence[Shape]) -> Shape:
    """Return the shape of an elementwise result: sizes agree or are 1.

    Raises
    ------
    ModelError
        Sizes that neither agree nor are 1; a batch axis that would meet another axis.
    """
    rank = max(len(shape) for shape in shapes)
    result: list[int | None] = []
    for axis in range(-rank, 0):
        sizes = {shape[axis] for shape in shapes if len(shape) >= -axis} - {1}
        if len(sizes) > 1 or (None in sizes and axis != -rank):
            raise misfit(node, f"inputs of shapes {', '.join(map(str, shapes))} do not fit together")
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def reduce_to(values: Values, shape: Sequence[int]) -> Values:
    """Sum over the axes along which an input of `shape` was broadcast."""
    if values.shape == tuple(shape):
        return values
    values = values.sum(axis=tuple(range(values.ndim - len(shape))))
    spread = tuple(axis for axis, size in enumerate(shape) if size == 1 and values.shape[axis] != 1)
    return values.sum(axis=spread, keepdims=True) if spread else values


def stabilise(z: Values, epsilon: float) -> Values:
    """Return z ± ε, by the sign of z; sign(0) = +1."""
    return z + np.where(z < 0, -epsilon, epsilon).astype(z.dtype)
