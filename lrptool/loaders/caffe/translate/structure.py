"""Layers that only move values."""

from __future__ import annotations

from math import prod

from lrptool.errors import ModelError, UnsupportedError
from lrptool.loaders.caffe.translate.registry import Step, translates


@translates("Split")
def split(step: Step) -> None:
    """One tensor under several names: no node."""
    step.alias(*[step.input] * len(step.item.outputs))


@translates("Concat")
def concat(step: Step) -> None:
    """Concat; one bottom stays what it is."""
    options = step.options("concat_param")
    if options.HasField("concat_dim") and options.HasField("axis"):
        raise ModelError(f"{step.where}: expected axis or concat_dim, found both")
    axis = step.axis(options.concat_dim if options.HasField("concat_dim") else options.axis)
    if len(step.inputs) == 1:
        step.alias(step.input)
    else:
        step.node("Concat", *step.inputs, axis=axis)


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
