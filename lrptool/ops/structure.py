"""Operators that move values without changing them: relevance goes back where each value came from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np

from lrptool.graph import Graph, Node, Shape
from lrptool.kernels import Place
from lrptool.ops.activation import PASS, add_alias
from lrptool.ops.axes import normal_axis, plain
from lrptool.ops.base import Kept, OnnxNode, Operator, Passage, Placing, Spelling, Treatment, Values, misfit
from lrptool.ops.kept import total
from lrptool.ops.registry import register
from lrptool.ops.spelling import Words


def _reshape_back(passage: Passage) -> tuple[Values, ...]:
    """The same values in the input's shape."""
    r = passage.relevances[0]
    return (r.reshape(passage.input_shape(0, r.shape[0])),)


def _concat_back(passage: Passage) -> tuple[Values, ...]:
    """To each input its own slice; that of a constant goes nowhere."""
    axis, graph = passage.node.integer("axis"), passage.graph
    sizes = [
        passage.input_shape(k, 1)[axis] if name in graph.tensors else graph.constants[name].shape[axis]
        for k, name in enumerate(passage.node.inputs)
    ]
    slices = np.split(passage.relevances[0], list(accumulate(sizes))[:-1], axis=axis)
    return tuple(slices[k] for k in passage.tensor_inputs)


def _beside(passage: Passage) -> Kept:
    """Relevance of the slices that are constants."""
    axis, at = passage.node.integer("axis"), 0
    kept = np.zeros(len(passage.relevances[0]))
    for k, x in enumerate(passage.xs):
        if k not in passage.tensor_inputs:
            kept += total(np.take(passage.relevances[0], range(at, at + x.shape[axis]), axis=axis))
        at += x.shape[axis]
    return {"constants": kept}


def _split_back(passage: Passage) -> tuple[Values, ...]:
    """The slices side by side again."""
    return (np.concatenate(passage.relevances, axis=passage.node.integer("axis")),)


def _add_slices(placing: Placing, node: Node, graph: Graph, arriving: Sequence[Place]) -> None:
    """Let each input's relevance be its slice, without moving it; that of a constant goes nowhere."""
    begin = 0
    for name in node.inputs:
        if name in graph.tensors:
            placing.alias(name, arriving[0].shifted(begin))
            begin += placing.values(name)
        else:
            begin += prod(graph.constants[name].shape[1:])


_RESHAPED = Treatment(_reshape_back, at_zero="as behind", add_to=add_alias)
_RESHAPE = {"route": _RESHAPED, "gradient": _RESHAPED}
_JOINED = Treatment(_concat_back, at_zero="as behind", add_to=_add_slices, keeps=_beside)
_JOINED_WITHIN = Treatment(_concat_back, at_zero="as behind", keeps=_beside)
"""For slices that are no stretches of an item's memory."""
_PARTED = Treatment(_split_back, at_zero="as behind")


class _FirstSign(Operator):
    """Operators whose output is ≥ 0 exactly where all inputs are."""

    default = "route"

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """As the inputs."""
        return all(inputs)


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
class Flatten(_FirstSign):
    """Axes from `axis` on become one, and so do those before it (axis 1, unless the batch is fixed)."""

    name = "Flatten"
    treatments = _RESHAPE

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(N, …) → (N, K)."""
        axis, sizes = node.integer("axis"), plain(shapes[0])
        if shapes[0][0] is None:
            if normal_axis(node, shapes[0]) != 1:
                raise misfit(node, f"expected axis 1, found {axis}")
            return ((None, prod(sizes)),)
        if not -len(sizes) <= axis <= len(sizes):
            raise misfit(node, f"expected an axis from 0 to {len(sizes)}, found {axis}")
        axis += len(sizes) if axis < 0 else 0
        return ((prod(sizes[:axis]), prod(sizes[axis:])),)


@register
class Reshape(_FirstSign):
    """The same values in another item shape, or in another shape altogether where the batch is fixed."""

    name = "Reshape"
    treatments = _RESHAPE

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(N, …) → (N, shape…), or shape where the batch is fixed."""
        wanted, total = list(node.ints("shape")), prod(plain(shapes[0]))
        known = prod(size for size in wanted if size != -1)
        if wanted.count(-1) == 1 and known > 0 and total % known == 0:
            wanted[wanted.index(-1)] = total // known
        if prod(wanted) != total or min(wanted, default=1) < 1 or (shapes[0][0] is not None and not wanted):
            raise misfit(node, f"{shapes[0]} cannot be reshaped to items of {node.ints('shape')}")
        return ((None, *wanted) if shapes[0][0] is None else tuple(wanted),)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """ONNX takes the shape as a tensor; 0 keeps the batch."""
        shape = f"{node.outputs[0]}/shape"
        target = [size or 0 for size in graph.tensors[node.outputs[0]].shape]
        constants: dict[str, Any] = {shape: np.array(target, np.int64)}
        return Spelling((OnnxNode("Reshape", (node.inputs[0], shape), node.outputs),), constants)


@register
class Concat(_FirstSign):
    """Inputs side by side along an axis; a constant of one item stands beside every item of the batch."""

    name = "Concat"
    treatments = {"route": _JOINED, "gradient": _JOINED}

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Sizes along the axis add up, all others agree."""
        batch = None if any(shape[0] is None for shape in shapes) else shapes[0][0]
        joined = [(batch, *shape[1:]) if batch is None and shape[0] == 1 else shape for shape in shapes]
        axis = normal_axis(node, joined[0])
        if len({(*shape[:axis], *shape[axis + 1 :]) for shape in joined}) != 1:
            raise misfit(node, f"inputs {shapes} do not agree outside axis {axis}")
        total = sum(shape[axis] or 0 for shape in joined)
        return ((*joined[0][:axis], total, *joined[0][axis + 1 :]),)

    def treatment(self, node: Node, name: str) -> Treatment:
        """Along the first axis of an item, slices need not be moved."""
        treatment = super().treatment(node, name)
        return treatment if node.integer("axis") == 1 else _JOINED_WITHIN

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """A constant beside an open batch is repeated as often as there are items."""
        constants = [name for name in dict.fromkeys(node.inputs) if name in graph.constants]
        if not constants or graph.tensors[node.outputs[0]].shape[0] is not None:
            return super().spell(node, graph)
        words = Words(node.outputs[0])
        tensor = next(name for name in node.inputs if name in graph.tensors)
        items = words.add("Shape", tensor, start=0, end=1)
        repeated = {}
        for k, name in enumerate(constants):
            item = words.array(f"item{k}", np.array(graph.constants[name].shape[1:], np.int64))
            repeated[name] = words.add("Expand", name, words.add("Concat", items, item, axis=0))
        words.add("Concat", *(repeated.get(name, name) for name in node.inputs), axis=node.integer("axis"))
        return words.finish()


@register
class Split(_FirstSign):
    """Slices along an axis, one output each."""

    name = "Split"
    treatments = {"route": _PARTED, "gradient": _PARTED}

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """One shape per slice."""
        axis, sizes = normal_axis(node, shapes[0]), node.ints("split")
        if sum(sizes) != shapes[0][axis] or len(sizes) != len(node.outputs):
            raise misfit(node, f"slices {sizes} do not fill axis {axis} of {shapes[0]}")
        return tuple((*shapes[0][:axis], size, *shapes[0][axis + 1 :]) for size in sizes)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """ONNX takes the sizes as a tensor."""
        sizes = f"{node.name}/sizes"
        constants: dict[str, Any] = {sizes: np.array(node.ints("split"), np.int64)}
        attributes = {"axis": node.integer("axis")}
        return Spelling((OnnxNode("Split", (node.inputs[0], sizes), node.outputs, attributes),), constants)
