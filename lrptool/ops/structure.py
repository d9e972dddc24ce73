"""Operators that move values without changing them: relevance goes back where each value came from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np

from lrptool.errors import ModelError
from lrptool.graph import Graph, Node, Shape
from lrptool.kernels import Place
from lrptool.ops.activation import PASS, add_alias
from lrptool.ops.base import OnnxNode, Operator, Passage, Placing, Spelling, Treatment, Values
from lrptool.ops.registry import register


def _reshape_back(passage: Passage) -> tuple[Values, ...]:
    """The same values in the input's shape."""
    r = passage.relevances[0]
    return (r.reshape(passage.input_shape(0, r.shape[0])),)


def _concat_back(passage: Passage) -> tuple[Values, ...]:
    """To each input its own slice."""
    axis = passage.node.integer("axis")
    sizes = [passage.input_shape(k, 1)[axis] for k in range(len(passage.node.inputs))]
    return tuple(np.split(passage.relevances[0], list(accumulate(sizes))[:-1], axis=axis))


def _split_back(passage: Passage) -> tuple[Values, ...]:
    """The slices side by side again."""
    return (np.concatenate(passage.relevances, axis=passage.node.integer("axis")),)


def _add_slices(placing: Placing, node: Node, _graph: Graph, arriving: Sequence[Place]) -> None:
    """Let each input's relevance be its slice, without moving it."""
    begin = 0
    for name in node.inputs:
        placing.alias(name, arriving[0].shifted(begin))
        begin += placing.values(name)


_RESHAPED = Treatment(_reshape_back, at_zero="as behind", add_to=add_alias)
_RESHAPE = {"route": _RESHAPED, "gradient": _RESHAPED}
_JOINED = Treatment(_concat_back, at_zero="as behind", add_to=_add_slices)
_JOINED_WITHIN = Treatment(_concat_back, at_zero="as behind")
"""For slices that are no stretches of an item's memory."""
_PARTED = Treatment(_split_back, at_zero="as behind")


class _FirstSign(Operator):
    """Operators whose output is ≥ 0 exactly where all inputs are."""

    default = "route"

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """As the inputs."""
        return all(inputs)


def _normal_axis(node: Node, rank: int) -> int:
    """Return the attribute ``axis`` counted from the front; the batch axis is not to be touched."""
    axis = node.integer("axis")
    if not -rank <= axis < rank or axis % rank == 0:
        raise ModelError(f"node {node.name!r}: expected an axis from 1 to {rank - 1}, found {axis}")
    return axis % rank


class _Untouched(Operator):
    """Operators that do nothing at test time."""

    default = "pass"
    treatments = {"pass": PASS, "gradient": PASS}

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As the input."""
        return (shapes[0],)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """Identity."""
        return Spelling((OnnxNode("Identity", node.inputs, node.outputs),))

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """As the input."""
        return inputs[0]


@register
class Identity(_Untouched):
    """y = x."""

    name = "Identity"


@register
class Dropout(_Untouched):
    """Nothing, at test time."""

    name = "Dropout"


@register
class Softmax(Operator):
    """Exponentials that sum to one along an axis; the explained score stands below it."""

    name = "Softmax"
    default = None

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As the input."""
        _normal_axis(node, len(shapes[0]))
        return (shapes[0],)

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """Always."""
        return True


@register
class Flatten(_FirstSign):
    """Axes from `axis` on become one (only axis 1: the batch stays)."""

    name = "Flatten"
    treatments = _RESHAPE

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(N, …) → (N, K)."""
        if _normal_axis(node, len(shapes[0])) != 1:
            raise ModelError(f"node {node.name!r}: expected axis 1, found {node.integer('axis')}")
        return ((shapes[0][0], prod(size or 0 for size in shapes[0][1:])),)


@register
class Reshape(_FirstSign):
    """The same values in another item shape."""

    name = "Reshape"
    treatments = _RESHAPE

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(N, …) → (N, shape…)."""
        wanted = list(node.ints("shape"))
        total = prod(size or 0 for size in shapes[0][1:])
        known = prod(size for size in wanted if size != -1)
        if wanted.count(-1) == 1 and known > 0 and total % known == 0:
            wanted[wanted.index(-1)] = total // known
        if prod(wanted) != total or min(wanted) < 1:
            raise ModelError(f"node {node.name!r}: {shapes[0]} cannot be reshaped to items of {node.ints('shape')}")
        return ((shapes[0][0], *wanted),)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """ONNX takes the shape as a tensor; 0 keeps the batch."""
        shape = f"{node.outputs[0]}/shape"
        target = np.array([0, *graph.tensors[node.outputs[0]].item_shape], np.int64)
        constants: dict[str, Any] = {shape: target}
        return Spelling((OnnxNode("Reshape", (node.inputs[0], shape), node.outputs),), constants)


@register
class Concat(_FirstSign):
    """Inputs side by side along an axis."""

    name = "Concat"
    treatments = {"route": _JOINED, "gradient": _JOINED}

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Sizes along the axis add up, all others agree."""
        axis = _normal_axis(node, len(shapes[0]))
        if len({(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}) != 1:
            raise ModelError(f"node {node.name!r}: inputs {shapes} do not agree outside axis {axis}")
        total = sum(shape[axis] or 0 for shape in shapes)
        return ((*shapes[0][:axis], total, *shapes[0][axis + 1 :]),)

    def treatment(self, node: Node, name: str) -> Treatment:
        """Along the first axis of an item, slices need not be moved."""
        treatment = super().treatment(node, name)
        return treatment if node.integer("axis") == 1 else _JOINED_WITHIN


@register
class Split(_FirstSign):
    """Slices along an axis, one output each."""

    name = "Split"
    treatments = {"route": _PARTED, "gradient": _PARTED}

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """One shape per slice."""
        axis, sizes = _normal_axis(node, len(shapes[0])), node.ints("split")
        if sum(sizes) != shapes[0][axis] or len(sizes) != len(node.outputs):
            raise ModelError(f"node {node.name!r}: slices {sizes} do not fill axis {axis} of {shapes[0]}")
        return tuple((*shapes[0][:axis], size, *shapes[0][axis + 1 :]) for size in sizes)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """ONNX takes the sizes as a tensor."""
        sizes = f"{node.name}/sizes"
        constants: dict[str, Any] = {sizes: np.array(node.ints("split"), np.int64)}
        attributes = {"axis": node.integer("axis")}
        return Spelling((OnnxNode("Split", (node.inputs[0], sizes), node.outputs, attributes),), constants)
