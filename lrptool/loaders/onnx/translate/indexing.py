"""Operators that pick, join and repeat parts of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrptool.loaders.onnx.layout import Known, NotBatchFirst, Numbers, Sizes, Tensor, item_of
from lrptool.loaders.onnx.translate.movement import reshape, sizes_from
from lrptool.loaders.onnx.translate.registry import Step, translates
from lrptool.loaders.onnx.translate.state import Value

Range = tuple[int, int, int]
"""Start, end and step; an end of −(n + 1) is the place before the first."""


@translates("Concat", whole=True)
def concat(step: Step) -> None:
    """Side by side along an axis; constants are the same for every image."""
    values = [step.value(index) for index in range(step.count)]
    step.put(side_by_side(step, [value for value in values if not isinstance(value, Known) or value.values[0].size]))


def side_by_side(step: Step, values: Sequence[Value]) -> Tensor:
    """Return values beside each other along the node's axis."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    like = tensors[0]
    if any(t.from_behind(like.rank) != like.from_behind(like.rank) for t in tensors):
        raise NotBatchFirst("its inputs have the batch on different axes")
    if any(t.whole != like.whole for t in tensors) or (like.whole and len(tensors) < len(values)):
        raise step.unsupported("joins whole numbers of different scales", "give the network from before quantisation")
    axis = step.axis(step.integer("axis", 1), like.rank)
    inner = like.inner(axis)
    if len(values) == 1:
        return like
    names = []
    for value in values:
        if isinstance(value, Tensor):
            names.append(value.name)
            continue
        item = item_of(value, like.rank, like, step.mode.sizes)
        names.append(step.constant("part", item if like.batch is None else item[None]))
    (name,) = step.add("Concat", *names, axis=inner)
    return step.like(name, like)


@translates("Split", whole=True)
def split(step: Step) -> None:
    """Parts along an axis, equal ones where no sizes are given."""
    tensor = step.tensor()
    axis = step.axis(step.integer("axis"), tensor.rank)
    place, inner = tensor.place(axis), tensor.inner(axis)
    count = len(step.proto.output)
    sizes = step.integers("split", 1)
    if sizes is None:
        each = -(-tensor.item[place] // count)
        sizes = (*(each,) * (count - 1), tensor.item[place] - each * (count - 1))
    if sum(sizes) != tensor.item[place] or min(sizes) < 0 or len(sizes) != count:
        raise step.malformed(f"{count} parts of sizes {sizes} do not fill {tensor.item[place]}")
    for index, size in enumerate(sizes):
        if size == 0:
            shapes = [(*shape[:axis], 0, *shape[axis + 1 :]) for shape in step.shapes(tensor)]
            step.put(Known.of([np.zeros(shape, np.float32) for shape in shapes]), index)
    filled = [index for index, size in enumerate(sizes) if size]
    if len(filled) == 1:
        step.put(tensor, filled[0])
        return
    names = step.add("Split", tensor.name, outputs=filled, axis=inner, split=tuple(sizes[k] for k in filled))
    for index, name in zip(filled, names, strict=True):
        step.put(step.like(name, tensor), index)


def _ranges(step: Step, shape: Sizes, starts: Sizes, ends: Sizes, axes: Sizes, steps: Sizes) -> dict[int, Range]:
    """Return what a slice takes of each axis that it does not take whole."""
    found = {}
    for start, end, given, stride in zip(starts, ends, axes, steps, strict=True):
        axis = step.axis(given, len(shape))
        size = shape[axis]
        if stride == 0:
            raise step.malformed("goes through an axis in steps of 0")
        first, last, by = slice(start, end, stride).indices(size)
        if (first, last, by) != (0, size, 1):
            found[axis] = (first, last if last >= 0 else -size - 1, by)
    return found


@translates("Slice", whole=True)
def slice_(step: Step) -> None:
    """A range of each axis, all of those not named."""
    tensor = step.tensor()
    count = len(step.mode.sizes)
    inputs = {
        key: step.known(index).each(count)
        for index, key in enumerate(("starts", "ends", "axes", "steps"), 1)
        if step.has(index)
    }
    wanted = []
    for turn, shape in enumerate(step.shapes(tensor)):
        lists = {key: tuple(int(v) for v in values[turn].reshape(-1)) for key, values in inputs.items()}
        starts = lists.get("starts") or step.list("starts") or ()
        ends = lists.get("ends") or step.list("ends") or ()
        axes = lists.get("axes") or step.list("axes") or tuple(range(len(starts)))
        steps = lists.get("steps") or (1,) * len(starts)
        if not len(starts) == len(ends) == len(axes) == len(steps):
            raise step.malformed(f"expected as many ends as starts, found {len(ends)} and {len(starts)}")
        wanted.append(_ranges(step, shape, starts, ends, axes, steps))
    if any(not range(*chosen) for chosen in wanted[0].values()):
        step.put(Known.of([_nothing(shape, wanted[0]) for shape in step.shapes(tensor)]))
        return
    if any(ranges != wanted[0] for ranges in wanted):
        raise NotBatchFirst("takes a part that depends on the size of the batch")
    step.put(sliced(step, tensor, wanted[0]))


def _nothing(shape: Sizes, ranges: dict[int, Range]) -> Numbers:
    """Return the part of an array that a slice takes where that is empty."""
    return np.zeros([len(range(*ranges[k])) if k in ranges else size for k, size in enumerate(shape)], np.float32)


def sliced(step: Step, tensor: Tensor, ranges: dict[int, Range], role: str = "") -> Tensor:
    """Return a range of some of a tensor's axes in the file."""
    if not ranges:
        return tensor
    axes = tuple(sorted(ranges, key=tensor.inner))
    starts, ends, steps = zip(*(ranges[axis] for axis in axes), strict=True)
    return step.apply(
        "Slice",
        tensor,
        role=role,
        starts=starts,
        ends=ends,
        axes=tuple(tensor.inner(axis) for axis in axes),
        steps=steps,
    )


@translates("Gather", whole=True)
def gather(step: Step) -> None:
    """The places an array of constants names; one number alone takes the axis away."""
    if isinstance(step.value(0), Known):
        raise step.unsupported("looks up a table by numbers that are computed from the image")
    tensor = step.tensor()
    axis = step.axis(step.integer("axis"), tensor.rank)
    indices = step.known(1)
    if axis == tensor.batch and tensor.alone and step.mode.sizes == (1,) and not indices.array.any():
        shape = tensor.shape(1)
        step.put(reshape(step, tensor, [(*shape[:axis], *indices.array.shape, *shape[axis + 1 :])], role=""))
        return
    place, inner = tensor.place(axis), tensor.inner(axis)
    places, size = indices.array.astype(np.int64), tensor.item[place]
    if places.size < 1 or places.min() < -size or places.max() >= size:
        raise step.malformed(f"takes places of axis {axis} that an input of {size} has not")
    flat = tuple(int(number) % size for number in places.reshape(-1))
    (name,) = step.add("Gather", tensor.name, axis=inner, indices=flat, indices_shape=places.shape)
    behind = tensor.batch is not None and axis < tensor.batch
    step.put(step.like(name, tensor, batch=(tensor.batch or 0) + (places.ndim - 1) * behind))


@translates("Tile", whole=True)
def tile(step: Step) -> None:
    """Copies side by side."""
    tensor = step.tensor()
    repeats = tuple(int(number) for number in step.array(1).reshape(-1))
    if step.version < 6:
        axis = step.axis(int(step.array(2).reshape(-1)[0]), tensor.rank)
        repeats = tuple(repeats[0] if k == axis else 1 for k in range(tensor.rank))
    if len(repeats) != tensor.rank or min(repeats) < 1:
        raise step.malformed(f"repeats {repeats} do not fit an input of {tensor.rank} axes")
    inner = [1] * (len(tensor.item) + (tensor.batch is not None))
    for axis, count in enumerate(repeats):
        if count != 1:
            inner[tensor.inner(axis)] = count
    step.put(step.apply("Tile", tensor, repeats=tuple(inner)) if set(repeats) != {1} else tensor)


def padded(step: Step, tensor: Tensor, before: Sizes, after: Sizes, mode: str, value: float) -> Tensor:
    """Return a tensor with more (or, with negative numbers, fewer) places at both ends of its axes in the file."""
    cuts = {
        axis: (max(0, -low), size - max(0, -high), 1)
        for axis, (low, high, size) in enumerate(zip(before, after, tensor.shape(step.mode.sizes[0]), strict=True))
        if low < 0 or high < 0
    }
    if any(start >= end for start, end, _ in cuts.values()):
        raise step.malformed("takes away more than there is")
    tensor = sliced(step, tensor, cuts, role="cut")
    axes = len(tensor.item) + (tensor.batch is not None)
    pads = [0] * (2 * axes)
    for axis, (low, high) in enumerate(zip(before, after, strict=True)):
        if low > 0 or high > 0:
            inner = tensor.inner(axis)
            pads[inner], pads[axes + inner] = max(low, 0), max(high, 0)
    if not any(pads):
        return tensor
    return step.apply("Pad", tensor, pads=tuple(pads), mode=mode, value=value)


@translates("Pad")
def pad(step: Step) -> None:
    """Constants, copies of the edge, or a mirror image around a tensor."""
    tensor = step.tensor()
    pads = step.integers("pads", 1) or step.list("paddings") or ()
    axes = tuple(step.axis(int(axis), tensor.rank) for axis in step.array(3).reshape(-1)) if step.has(3) else None
    axes = tuple(range(tensor.rank)) if axes is None else axes
    if len(pads) != 2 * len(axes):
        raise step.malformed(f"expected {2 * len(axes)} pads, found {len(pads)}")
    mode = step.text("mode", "constant")
    if mode not in ("constant", "reflect", "edge"):
        raise step.unsupported(f"pads in mode {mode!r}", "constant, reflect and edge can be explained")
    value = float(step.array(2).reshape(-1)[0]) if step.has(2) and step.array(2).size else step.number("value")
    before, after = [0] * tensor.rank, [0] * tensor.rank
    for axis, low, high in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        before[axis], after[axis] = low, high
    step.put(padded(step, tensor, tuple(before), tuple(after), mode, value))


@translates("CenterCropPad")
def center_crop_pad(step: Step) -> None:
    """The centre of each axis named, or zeros around it, so that it has a given size."""
    tensor = step.tensor()
    given = step.list("axes")
    axes = range(tensor.rank) if given is None else [step.axis(axis, tensor.rank) for axis in given]
    wanted = sizes_from(step, 1)
    found = []
    for shape, sizes in zip(step.shapes(tensor), wanted, strict=True):
        before, after = [0] * tensor.rank, [0] * tensor.rank
        for axis, size in zip(axes, sizes, strict=True):
            more = size - shape[axis]
            before[axis] = more // 2 if more > 0 else -(-more // 2)
            after[axis] = more - before[axis]
        found.append((tuple(before), tuple(after)))
    if any(pads != found[0] for pads in found):
        raise NotBatchFirst("its sizes depend on the size of the batch")
    step.put(padded(step, tensor, *found[0], "constant", 0.0))
