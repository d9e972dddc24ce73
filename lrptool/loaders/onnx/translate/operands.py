"""Operands of elementwise operators, brought to shapes that broadcast with the batch in front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lrptool.loaders.onnx.layout import Known, NotBatchFirst, Numbers, Sizes, Tensor, item_of
from lrptool.loaders.onnx.translate.movement import reshape_item
from lrptool.loaders.onnx.translate.registry import Step
from lrptool.loaders.onnx.translate.state import Value


def template(values: Sequence[Value]) -> tuple[int, Tensor]:
    """Return the number of axes a result has in the file, and a tensor with the batch where the result has it.

    Raises
    ------
    NotBatchFirst
        The operands have the batch on different axes.
    """
    tensors = [value for value in values if isinstance(value, Tensor)]
    ranks = [value.rank if isinstance(value, Tensor) else value.values[0].ndim for value in values]
    rank = max(ranks)
    first = tensors[0]
    if first.batch is None:
        return rank, first
    places = {tensor.from_behind(rank) for tensor in tensors}
    if len(places) > 1:
        raise NotBatchFirst("its inputs have the batch on different axes")
    return rank, replace(first, batch=places.pop()[0], item=(1,) * (rank - first.rank) + first.item)


def align(step: Step, values: Sequence[Value]) -> tuple[list[str], Tensor]:
    """Return the names of operands in the graph, and a tensor with the batch where the result has it.

    Constants become constants of the graph, broadcast against one item.
    """
    rank, like = template(values)
    names = [
        tensor_operand(step, value, rank)
        if isinstance(value, Tensor)
        else constant_operand(step, value, item_of(value, rank, like, step.mode.sizes), "operand")
        for value in values
    ]
    return names, like


def tensor_operand(step: Step, tensor: Tensor, rank: int) -> str:
    """Return a tensor with ones in front of its item where the result has more axes."""
    if tensor.batch is None or tensor.rank == rank:
        return tensor.name
    return reshape_item(step, tensor.name, ((1,) * (rank - tensor.rank) + tensor.item))


def constant_operand(step: Step, value: Known, item: Numbers, role: str) -> str:
    """Return the name of a constant in the shape it has for one item; the file's own where that is its shape."""
    if value.name and len(value.values) == 1 and value.values[0].shape == item.shape:
        return step.stored(value, role)
    return step.constant(role, _short(item))


def _short(item: Numbers) -> Numbers:
    """Return a constant without the axes of size 1 in front."""
    shape: Sizes = item.shape
    while shape and shape[0] == 1:
        shape = shape[1:]
    return item.reshape(shape)
