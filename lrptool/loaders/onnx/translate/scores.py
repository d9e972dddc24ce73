"""The end of a network: one tensor with the classes on the first axis behind the batch."""

from __future__ import annotations

from math import prod
from typing import Any

from lrptool.errors import ModelError
from lrptool.loaders.onnx.layout import NotBatchFirst, Sizes, Tensor
from lrptool.loaders.onnx.network import Network, called
from lrptool.loaders.onnx.translate.state import Translation

_ONE_AXIS = 13
"""From this version on a softmax works along one axis; before, along all axes from one on."""


def put_scores(translation: Translation, network: Network, version: int, *, channels_last: bool) -> str:
    """Return the name of the tensor with the scores, (N, classes) or (N, classes, …).

    Parameters
    ----------
    translation : Translation
        With everything but the end.
    network : Network
    version : int
        Of ONNX's own operators.
    channels_last : bool
        Whether the file keeps the channels behind the positions.

    Raises
    ------
    ModelError
        The scores do not depend on the image.
    NotBatchFirst
        They share their axis with the batch.
    """
    value = translation.values.get(network.output)
    if not isinstance(value, Tensor) or value.name == translation.builder.input.name:
        raise ModelError(f"{translation.where}: the scores {network.output!r} are not computed from the image")
    followed = value.batch is not None
    item = value.item if followed else value.item[1:]
    if not followed and value.item[:1] != (1,):
        item = value.item
    long = [place for place, size in enumerate(item) if size > 1]
    if len(long) <= 1:
        place, item = 0, (prod(item), *((1,) * (len(item) - 1) if long == [0] else ()))
    elif network.softmax is not None:
        axes = _classes(value, network, version, translation.where)
        place, item = (0, (prod(item),)) if set(long) <= set(axes) else (axes[0], item)
    else:
        place = len(item) - 1 if channels_last else 0
    name = _as(translation, value.name, "Reshape", shape=item if followed else (1, *item))
    order = (place, *(k for k in range(len(item)) if k != place))
    return _as(translation, name, "Transpose", perm=(0, *(k + 1 for k in order)))


def _classes(value: Tensor, network: Network, version: int, where: str) -> Sizes:
    """Return the places in the item that the final softmax works along."""
    softmax = network.softmax
    if softmax is None:
        raise ModelError(f"{where}: expected a softmax")
    default = -1 if version >= _ONE_AXIS else 1
    axis = next((attribute.i for attribute in softmax.attribute if attribute.name == "axis"), default)
    if not -value.rank <= axis < value.rank:
        raise ModelError(f"{where}: {called(softmax)}: axis {axis} does not exist in an input of {value.rank} axes")
    first = axis % value.rank
    last = first + 1 if version >= _ONE_AXIS else value.rank
    drop = 0 if value.batch is not None else 1
    places = tuple(value.place(axis) - drop for axis in range(first, last))
    if min(places) < 0:
        raise NotBatchFirst(f"{where}: {called(softmax)} works across the images of a batch")
    return places


def _as(translation: Translation, name: str, op: str, **attributes: Any) -> str:
    """Return a tensor behind an operator that moves its values, where it would move any."""
    builder = translation.builder
    shape = builder.shape(name)
    (wanted,) = attributes.values()
    if op == "Reshape" and wanted == (shape[1:] if shape[0] is None else shape):
        return name
    if op == "Transpose" and wanted == tuple(range(len(shape))):
        return name
    return builder.add(op, translation.fresh(f"{name}/scores"), (name,), **attributes)[0]
