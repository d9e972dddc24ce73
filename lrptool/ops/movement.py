"""Operators that put values elsewhere: relevance goes back where each value came from, copies add up.

Each operator says once what it does to an array; applied to an array of positions, that tells where every value of its
output came from.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lrptool.errors import ModelError
from lrptool.graph import Attribute, Graph, Node, Shape
from lrptool.ops.axes import normal_axes, normal_axis, plain
from lrptool.ops.base import Kept, OnnxNode, Operator, Passage, Spelling, Treatment, Values, misfit
from lrptool.ops.kept import total
from lrptool.ops.registry import operator, register

_NOWHERE = -1


class _Route:
    """The way back of one node: which output position came from where, found once, on first use.

    Parameters
    ----------
    moving : Movement
    node : Node
    """

    def __init__(self, moving: Movement, node: Node) -> None:
        self._moving, self._node = moving, node
        self._found: tuple[Any, ...] | None = None

    def __call__(self, passage: Passage) -> tuple[Values, ...]:
        """Add up what went to copies of each input value."""
        r = passage.relevances[0]
        shape = passage.graph.tensors[self._node.inputs[0]].shape
        if self._moving.views:
            whole = np.zeros(passage.input_shape(0, len(r)), r.dtype)
            self._moving.move(self._node, whole, 0)[...] = r
            return (whole,)
        items = len(r) if shape[0] is None else 1
        outputs, sources, starts = self._map(plain(shape))
        back = np.zeros((items, *plain(shape)), r.dtype).reshape(items, -1)
        arrived = r.reshape(items, -1)[:, outputs]
        back[:, sources] = arrived if starts is None else np.add.reduceat(arrived, starts, axis=1)
        return (back.reshape(passage.input_shape(0, len(r))),)

    def _map(self, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """Return output positions sorted by source, the sources, and where each source begins unless all are single."""
        if self._found is None:
            positions = np.arange(np.prod(shape)).reshape(shape)
            origin = self._moving.move(self._node, positions, _NOWHERE).reshape(-1)
            outputs = np.argsort(origin, kind="stable")
            outputs = outputs[np.searchsorted(origin[outputs], 0) :]
            sources, starts = np.unique(origin[outputs], return_index=True)
            self._found = outputs, sources, None if len(sources) == len(outputs) else starts
        return self._found


def _route(passage: Passage) -> tuple[Values, ...]:
    """The way back of a node met for the first time."""
    moving = operator(passage.node.op)
    if not isinstance(moving, Movement):
        raise TypeError(f"{passage.node.op} moves nothing")
    return _Route(moving, passage.node)(passage)


class Movement(Operator):
    """What all operators that only move values share."""

    default = "route"
    views: ClassVar[bool] = False
    """Whether `move` returns a view that holds no value twice: then relevance is written through it."""
    treatments = {name: Treatment(_route, at_zero="as behind") for name in ("route", "gradient")}

    @abstractmethod
    def move(self, node: Node, x: NDArray[Any], fill: int) -> NDArray[Any]:
        """Return what the operator makes of an array; `fill` stands where a value comes from nowhere."""

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As an array of one item comes out."""
        self.check(node, shapes[0])
        moved = self.move(node, np.empty(plain(shapes[0]), np.int8), 0).shape
        return ((shapes[0][0], *moved[1:]) if shapes[0][0] is None else moved,)

    def check(self, node: Node, shape: Shape) -> None:
        """Raise ModelError where the attributes do not fit the input."""

    def treatment(self, node: Node, name: str) -> Treatment:
        """Return the route back, which one node finds but once; the derivative is the same."""
        return replace(super().treatment(node, name), redistribute=_Route(self, node))

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """As the input."""
        return inputs[0]


def with_tensors(node: Node, **tensors: tuple[int, ...]) -> Spelling:
    """Spell a node whose settings ONNX takes as tensors of integers, in this order."""
    constants = {f"{node.outputs[0]}/{key}": np.array(value, np.int64) for key, value in tensors.items()}
    return Spelling((OnnxNode(node.op, (node.inputs[0], *constants), node.outputs),), constants)


def complain(node: Node, found_shape: Shape, **attributes: Attribute) -> ModelError:
    """Say that attributes do not fit the input."""
    found = ", ".join(f"{key} {value}" for key, value in attributes.items())
    return misfit(node, f"{found} does not fit an input of shape {found_shape}")


_RENAMED = ("Flatten", "Reshape")


def moves_values(node: Node) -> bool:
    """Whether a node's only output holds the values of its only input and constants, in other places."""
    found = operator(node.op, node.name)
    interpolates = node.attributes.get("mode") in ("linear", "cubic")
    return node.op in _RENAMED or (isinstance(found, Movement) and not interpolates)


def moved(node: Node, graph: Graph, values: Values) -> Values:
    """Return values of one item, (1, …), where such a node puts them."""
    shape = (1, *graph.tensors[node.outputs[0]].item_shape)
    found = operator(node.op, node.name)
    if not isinstance(found, Movement):
        return values.reshape(shape)
    result: Values = found.move(node, values, 0)
    padding = node.attributes.get("value", 0)
    if node.op == "Pad" and padding:
        outside = found.move(node, np.zeros(values.shape, np.int8), 1).astype(bool)
        result = np.where(outside, np.asarray(padding, values.dtype), result)
    return result.reshape(shape)


@register
class Transpose(Movement):
    """Axes in another order."""

    name = "Transpose"
    views = True

    def check(self, node: Node, shape: Shape) -> None:
        """Every axis once; an open batch stays in front."""
        perm = node.ints("perm")
        if sorted(perm) != list(range(len(shape))) or (shape[0] is None and perm[0] != 0):
            raise complain(node, shape, perm=perm)

    def move(self, node: Node, x: NDArray[Any], fill: int) -> NDArray[Any]:
        """Permute the axes."""
        return x.transpose(node.ints("perm"))


_CUTS = ("starts", "ends", "axes", "steps")


@register
class Slice(Movement):
    """Every step-th value from start to end, along some axes."""

    name = "Slice"
    views = True

    def check(self, node: Node, shape: Shape) -> None:
        """One start, end and step per axis, and something between them."""
        if len({len(node.ints(key)) for key in _CUTS}) != 1 or 0 in node.ints("steps"):
            raise complain(node, shape, **{key: node.ints(key) for key in _CUTS})
        normal_axes(node, shape, node.ints("axes"))
        if 0 in self.move(node, np.empty(plain(shape), np.int8), 0).shape:
            raise complain(node, shape, **{key: node.ints(key) for key in _CUTS})

    def move(self, node: Node, x: NDArray[Any], fill: int) -> NDArray[Any]:
        """Cut out; an end beyond the first value, going backwards, takes that one, too."""
        cuts = [slice(None)] * x.ndim
        for start, end, axis, step in zip(*(node.ints(key) for key in _CUTS), strict=True):
            all_the_way = step < 0 and end < -x.shape[axis]
            cuts[axis] = slice(start, None if all_the_way else end, step)
        return x[tuple(cuts)]

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """ONNX takes all four as tensors."""
        return with_tensors(node, **{key: node.ints(key) for key in _CUTS})


@register
class Gather(Movement):
    """Chosen positions along an axis; ``indices_shape`` takes the place of the axis."""

    name = "Gather"

    def check(self, node: Node, shape: Shape) -> None:
        """As many indices as their shape says, all of them inside."""
        axis, indices = normal_axis(node, shape), node.ints("indices")
        size = plain(shape)[axis]
        whole = len(indices) == np.prod(node.ints("indices_shape"), dtype=int)
        if not whole or not indices or min(indices) < -size or max(indices) >= size:
            raise complain(node, shape, axis=axis, indices=indices, indices_shape=node.ints("indices_shape"))
        if len(shape) == 1 and not node.ints("indices_shape"):
            raise complain(node, shape, axis=axis, indices_shape=())

    def move(self, node: Node, x: NDArray[Any], fill: int) -> NDArray[Any]:
        """Take positions."""
        indices = np.array(node.ints("indices"), np.int64).reshape(node.ints("indices_shape"))
        return np.take(x, indices, axis=node.integer("axis"))

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """ONNX takes the indices as a tensor."""
        name = f"{node.outputs[0]}/indices"
        indices = np.array(node.ints("indices"), np.int64).reshape(node.ints("indices_shape"))
        attributes = {"axis": node.integer("axis")}
        return Spelling((OnnxNode("Gather", (node.inputs[0], name), node.outputs, attributes),), {name: indices})


def _padded(passage: Passage) -> Kept:
    """Relevance of what is put around the image, where that is a constant."""
    node, r = passage.node, passage.relevances[0]
    if node.attributes["mode"] != "constant":
        return {}
    size, pads, rank = r.shape, node.ints("pads"), r.ndim
    around = np.ones(size, bool)
    around[tuple(slice(pads[k], size[k] - pads[k + rank]) for k in range(rank))] = False
    return {"padding": total(np.where(around, r, 0))}


@register
class Pad(Movement):
    """More values at the borders: a constant, the border's own, or the image mirrored."""

    name = "Pad"
    treatments = {name: replace(route, keeps=_padded) for name, route in Movement.treatments.items()}
    modes = ("constant", "reflect", "edge")

    def check(self, node: Node, shape: Shape) -> None:
        """Two numbers ≥ 0 per axis, none for the batch, no more than can be mirrored."""
        pads, mode, rank = node.ints("pads"), node.attributes["mode"], len(shape)
        fits = len(pads) == 2 * rank and min(pads) >= 0 and mode in self.modes
        if fits and shape[0] is None:
            fits = pads[0] == pads[rank] == 0
        if fits and mode == "reflect":
            fits = all(max(pads[k], pads[k + rank]) < size for k, size in enumerate(plain(shape)))
        if not fits:
            raise complain(node, shape, pads=pads, mode=str(mode))

    def move(self, node: Node, x: NDArray[Any], fill: int) -> NDArray[Any]:
        """Pad."""
        pads = np.array(node.ints("pads")).reshape(2, -1).T
        if node.attributes["mode"] == "constant":
            return np.pad(x, pads, constant_values=fill)
        return np.pad(x, pads, mode="reflect" if node.attributes["mode"] == "reflect" else "edge")

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """ONNX takes the pads and the value as tensors."""
        pads, value = f"{node.outputs[0]}/pads", f"{node.outputs[0]}/value"
        constants: dict[str, NDArray[Any]] = {
            pads: np.array(node.ints("pads"), np.int64),
            value: np.array(node.number("value"), np.float32),
        }
        attributes = {"mode": node.attributes["mode"]}
        return Spelling((OnnxNode("Pad", (node.inputs[0], pads, value), node.outputs, attributes),), constants)

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """As the input and what is put around it."""
        return inputs[0] and (node.attributes["mode"] != "constant" or node.number("value") >= 0)
