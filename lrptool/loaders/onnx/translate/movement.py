"""Operators that give the same numbers another shape or order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from lrptool.loaders.onnx.layout import NotBatchFirst, Sizes, Tensor, reshaped
from lrptool.loaders.onnx.translate.registry import Step, translates


def reshape_item(step: Step, name: str, item: Sizes, role: str = "reshape") -> str:
    """Return a tensor of the graph with its items (or the whole, where the batch is not followed) in another shape."""
    translation = step.translation
    moved = translation.sources.get(name)
    source = moved[1] if moved and moved[0] == "Reshape" else name
    shape = translation.builder.shape(source)
    followed = shape[0] is None
    if item == (shape[1:] if followed else shape):
        return source
    if followed and len(item) == 1 < len(shape):
        (out,) = step.add("Flatten", source, role=role, axis=1)
    else:
        (out,) = step.add("Reshape", source, role=role, shape=item)
    translation.sources[out] = ("Reshape", source, ())
    return out


def reshape(step: Step, tensor: Tensor, targets: Sequence[Sizes], role: str = "reshape") -> Tensor:
    """Return a tensor in another shape of the file's.

    Parameters
    ----------
    step : Step
    tensor : Tensor
    targets : sequence of tuple of int
        The shape, for each size of the batch.
    role : str
        What the node is for; empty for the operator's own.
    """
    for target, size in zip(targets, step.mode.sizes, strict=True):
        if prod(target) != prod(tensor.shape(size)) or min(target, default=1) < 1:
            raise step.malformed(f"an input of shape {tensor.shape(size)} cannot be brought to shape {target}")
    changed = reshaped(tensor, targets, step.mode.sizes)
    return replace(changed, name=reshape_item(step, tensor.name, changed.item, role))


def transpose(step: Step, tensor: Tensor, perm: Sizes, role: str = "transpose") -> Tensor:
    """Return a tensor with the file's axes in another order; moving the batch alone is no node."""
    batch = None if tensor.batch is None else perm.index(tensor.batch)
    places = tuple(place for axis in perm for place in tensor.places(axis))
    item = tuple(tensor.item[place] for place in places)
    moved = replace(tensor, batch=batch, item=item)
    kept = [place for place in places if tensor.item[place] != 1]
    if kept == sorted(kept):
        return replace(moved, name=reshape_item(step, tensor.name, item, role))
    inner = places if batch is None else (0, *(place + 1 for place in places))
    return replace(moved, name=permute(step, tensor.name, inner, role))


def permute(step: Step, name: str, perm: Sizes, role: str) -> str:
    """Return a tensor of the graph with its axes in another order; several orders in a row become one."""
    sources = step.translation.sources
    moved = sources.get(name)
    if moved and moved[0] == "Transpose":
        name, perm = moved[1], tuple(moved[2][axis] for axis in perm)
    if perm == tuple(range(len(perm))):
        return name
    (out,) = step.add("Transpose", name, role=role, perm=perm)
    sources[out] = ("Transpose", name, perm)
    return out


def _put_reshaped(step: Step, targets: Sequence[Sizes]) -> None:
    """Let the output be the input in another shape."""
    step.put(reshape(step, step.tensor(), targets, role=""))


def sizes_from(step: Step, index: int) -> list[Sizes]:
    """Return an input that holds sizes, for each size of the batch."""
    arrays = step.known(index).each(len(step.mode.sizes))
    return [tuple(int(number) for number in array.reshape(-1)) for array in arrays]


@translates("Reshape", whole=True)
def reshape_(step: Step) -> None:
    """0 copies a size unless allowzero is set, -1 is what is left."""
    asked = sizes_from(step, 1) if step.has(1) else [step.list("shape") or ()] * len(step.mode.sizes)
    copies = not step.integer("allowzero")
    targets = []
    for target, shape in zip(asked, step.shapes(step.tensor()), strict=True):
        if copies and any(size == 0 and axis >= len(shape) for axis, size in enumerate(target)):
            raise step.malformed(f"a size of {target} copies an axis that an input of shape {shape} has not")
        sizes = [shape[axis] if size == 0 and copies else size for axis, size in enumerate(target)]
        known = prod(size for size in sizes if size != -1)
        if sizes.count(-1) == 1 and known > 0 and prod(shape) % known == 0:
            sizes[sizes.index(-1)] = prod(shape) // known
        targets.append(tuple(sizes))
    _put_reshaped(step, targets)


@translates("Flatten", whole=True)
def flatten(step: Step) -> None:
    """Axes before and from `axis` on become one each."""
    tensor = step.tensor()
    axis = step.integer("axis", 1)
    split = axis if axis == tensor.rank else step.axis(axis, tensor.rank)
    _put_reshaped(step, [(prod(shape[:split]), prod(shape[split:])) for shape in step.shapes(tensor)])


@translates("Squeeze", whole=True)
def squeeze(step: Step) -> None:
    """Axes of size 1 go."""
    tensor = step.tensor()
    axes = step.integers("axes", 1)
    gone = None if axes is None else {step.axis(axis, tensor.rank) for axis in axes}
    targets = []
    for shape in step.shapes(tensor):
        left = [n for k, n in enumerate(shape) if (n != 1 if gone is None else k not in gone)]
        targets.append(tuple(left))
    _put_reshaped(step, targets)


@translates("Unsqueeze", whole=True)
def unsqueeze(step: Step) -> None:
    """Axes of size 1 come."""
    tensor = step.tensor()
    axes = step.integers("axes", 1) or ()
    rank = tensor.rank + len(axes)
    new = {step.axis(axis, rank) for axis in axes}
    targets = []
    for shape in step.shapes(tensor):
        sizes = iter(shape)
        targets.append(tuple(1 if axis in new else next(sizes) for axis in range(rank)))
    _put_reshaped(step, targets)


@translates("Transpose", whole=True)
def transpose_(step: Step) -> None:
    """Without `perm` the axes in reverse."""
    tensor = step.tensor()
    perm = step.list("perm") or tuple(reversed(range(tensor.rank)))
    if sorted(perm) != list(range(tensor.rank)):
        raise step.malformed(f"perm {perm} does not order the axes of an input of {tensor.rank} axes")
    step.put(transpose(step, tensor, perm, role=""))


@translates("Identity", "Dropout", whole=True)
def identity(step: Step) -> None:
    """The same tensor; dropout does nothing at test time."""
    if step.has(2) and bool(step.array(2).any()):
        raise step.unsupported("drops values at random (training_mode)", "export the network in evaluation mode")
    step.put(step.value(0))


@translates("DepthToSpace", "SpaceToDepth", whole=True)
def blocks(step: Step) -> None:
    """Channels to blocks of pixels, or back."""
    depth = step.proto.op_type == "DepthToSpace"
    size, mode = step.integer("blocksize"), step.text("mode", "DCR")
    if not depth and mode == "CRD":
        _blocks_behind_channels(step, step.plain(), size)
        return
    step.put(step.apply(step.proto.op_type, step.plain(), blocksize=size, **({"mode": mode} if depth else {})))


def _blocks_behind_channels(step: Step, tensor: Tensor, size: int) -> None:
    """Blocks of pixels to channels, those of one channel side by side."""
    shapes = step.shapes(tensor)
    if size < 1 or tensor.rank != 4 or any(n % size for n in shapes[0][2:]):
        raise step.malformed(f"blocks of {size} do not divide an input of shape {shapes[0]}")
    parted = reshape(step, tensor, [(n, c, h // size, size, w // size, size) for n, c, h, w in shapes])
    turned = transpose(step, parted, (0, 1, 3, 5, 2, 4))
    step.put(reshape(step, turned, [(n, c * size * size, h // size, w // size) for n, c, h, w in shapes], role=""))


@translates("Expand", whole=True)
def expand(step: Step) -> None:
    """Broadcast to a shape."""
    tensor = step.tensor()
    wanted = sizes_from(step, 1)
    rank = max(tensor.rank, len(wanted[0]))
    targets = []
    for shape, target in zip(step.shapes(tensor), wanted, strict=True):
        pairs = zip((1,) * (rank - len(shape)) + shape, (1,) * (rank - len(target)) + target, strict=True)
        targets.append(tuple(max(pair) for pair in pairs))
    step.put(broadcast(step, tensor, targets))


def broadcast(step: Step, tensor: Tensor, targets: Sequence[Sizes]) -> Tensor:
    """Return a tensor broadcast to a shape of the file's, for each size of the batch."""
    more = len(targets[0]) - tensor.rank
    batch = None if tensor.batch is None else tensor.batch + more
    items = set()
    for target, size in zip(targets, step.mode.sizes, strict=True):
        if batch is None or tensor.batch is None:
            items.add(target)
            continue
        if target[batch] != tensor.shape(size)[tensor.batch]:
            raise NotBatchFirst("repeats the batch")
        own = tensor.item[tensor.batch : tensor.batch + sum(tensor.joined)]
        items.add((*target[:batch], *own, *target[batch + 1 :]))
    if len(items) > 1:
        raise NotBatchFirst("expands to a shape that depends on the size of the batch")
    item = items.pop()
    full = replace(tensor, item=(1,) * more + tensor.item, batch=batch)
    full = replace(full, name=reshape_item(step, tensor.name, full.item))
    if item == full.item:
        return full
    (name,) = step.add("Expand", full.name, shape=item)
    return replace(full, name=name, item=item)
