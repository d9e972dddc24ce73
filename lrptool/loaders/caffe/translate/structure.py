"""Layers that only move values."""

from __future__ import annotations

from itertools import pairwise
from math import prod

from lrptool.errors import ModelError, UnsupportedError
from lrptool.loaders.caffe.translate.registry import Step, translates

_MOST_TILES = 2**16


@translates("Split")
def split(step: Step) -> None:
    """One tensor under several names: no node."""
    step.alias(*[step.input] * len(step.item.outputs))


@translates("Flatten")
def flatten(step: Step) -> None:
    """Flatten, or Reshape where some axes behind the first are kept."""
    options = step.options("flatten_param")
    shape = step.shape(step.input)
    first, last = step.axis(options.axis), step.axis(options.end_axis)
    if first > last:
        raise ModelError(f"{step.where}: expected end_axis behind axis {first}, found {last}")
    sizes = [size or 0 for size in shape]
    if first == 1 and last == len(shape) - 1:
        step.node("Flatten", step.input, axis=1)
    else:
        item = (*sizes[1:first], prod(sizes[first : last + 1]), *sizes[last + 1 :])
        step.node("Reshape", step.input, shape=item)


@translates("Reshape")
def reshape(step: Step) -> None:
    """Reshape of each item; the batch axis stays."""
    options = step.options("reshape_param")
    shape = step.shape(step.input)
    rank = len(shape)
    first = options.axis if options.axis >= 0 else options.axis + rank + 1
    last = rank if options.num_axes == -1 else first + options.num_axes
    if not 0 <= first <= last <= rank:
        raise ModelError(f"{step.where}: axes {options.axis} and on do not exist in an input of {rank} axes")
    new = list(options.shape.dim)
    for k, size in enumerate(new):
        if size < -1 or (size == 0 and first + k >= rank):
            raise ModelError(f"{step.where}: dim {size} does not fit an input of shape {shape}")
    # Sizes as far as they are known: the batch is 0, and so is a copy of it.
    old = [size or 0 for size in shape]
    copied = [old[first + k] if size == 0 else size for k, size in enumerate(new)]
    sizes = old[:first] + copied + old[last:]
    step.node("Reshape", step.input, shape=_item(step, sizes, prod(old[1:])))


def _item(step: Step, sizes: list[int], total: int) -> tuple[int, ...]:
    """Return the item shape with its -1 worked out; refuse what would move values between images."""
    item = sizes[1:]
    known = prod(size for size in item if size != -1)
    if sizes.count(-1) == 1 and -1 in item and known and total % known == 0:
        item = [total // known if size == -1 else size for size in item]
    if not item or min(item) < 1 or prod(item) != total:
        raise UnsupportedError(
            f"{step.where}: expected the {total} values of an item to stay together, found shape {tuple(sizes)}"
        )
    return tuple(item)


@translates("Slice")
def cut(step: Step) -> None:
    """Split at the points given, or into equal parts."""
    options = step.options("slice_param")
    if options.HasField("slice_dim") and options.HasField("axis"):
        raise ModelError(f"{step.where}: expected axis or slice_dim, found both")
    axis = step.axis(options.slice_dim if options.HasField("slice_dim") else options.axis)
    size, tops, points = step.shape(step.input)[axis] or 0, len(step.item.outputs), list(options.slice_point)
    if points and len(points) != tops - 1:
        raise ModelError(f"{step.where}: expected {tops - 1} slice points for {tops} tops, found {len(points)}")
    if not points:
        if tops < 1 or size % tops:
            raise ModelError(f"{step.where}: {size} values along axis {axis} do not go into {tops} equal parts")
        points = [size // tops * k for k in range(1, tops)]
    sizes = tuple(after - before for before, after in pairwise((0, *points, size)))
    if min(sizes) < 1:
        raise ModelError(f"{step.where}: slice points {points} do not rise from 0 to {size}")
    if tops == 1:
        step.alias(step.input)
    else:
        step.parts("Split", step.input, axis=axis, split=sizes)


@translates("Permute")
def permute(step: Step) -> None:
    """Transpose; axes the file leaves out follow in their order."""
    order = list(step.options("permute_param").order)
    rank = len(step.shape(step.input))
    if len(set(order)) != len(order) or any(axis >= rank for axis in order):
        raise ModelError(f"{step.where}: expected an order of the axes 0 to {rank - 1}, found {order}")
    perm = (*order, *(axis for axis in range(rank) if axis not in order))
    if perm[0] != 0:
        raise UnsupportedError(f"{step.where}: moves the axis of the images of a batch (order {perm})")
    if perm == tuple(range(rank)):
        step.alias(step.input)
    else:
        step.node("Transpose", step.input, perm=perm)


@translates("ShuffleChannel")
def shuffle(step: Step) -> None:
    """Channels of all groups in turns (Zhang et al. 2018, doi:10.1109/CVPR.2018.00716)."""
    group = step.options("shuffle_channel_param").group
    channels, height, width = step.image_shape()
    if group < 1 or channels % group:
        raise ModelError(f"{step.where}: {channels} channels do not go into {group} groups")
    parted = step.helper("groups", "Reshape", (step.input,), shape=(group, channels // group, height, width))
    turned = step.helper("turns", "Transpose", (parted,), perm=(0, 2, 1, 3, 4))
    step.node("Reshape", turned, shape=(channels, height, width))


@translates("Tile")
def tile(step: Step) -> None:
    """Copies one after another along an axis."""
    options = step.options("tile_param")
    axis, tiles = step.axis(options.axis), options.tiles
    if not 1 <= tiles <= _MOST_TILES:
        raise ModelError(f"{step.where}: expected tiles of 1 or more, found {tiles}")
    repeats = [1] * len(step.shape(step.input))
    repeats[axis] = tiles
    step.node("Tile", step.input, repeats=tuple(repeats))
