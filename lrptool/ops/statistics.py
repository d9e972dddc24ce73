"""Normalisation by the mean and spread of each item's own values: y = (x − mean) / spread · scale + bias.

With the spread held constant this is a linear map, on which the epsilon rule is the treatment `detached`
(Achtibat et al. 2024, arXiv:2402.05602, for layer normalisation); where no mean is taken off, that is `pass`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import prod
from typing import ClassVar

import numpy as np

from lrptool.graph import Graph, Node, Shape
from lrptool.ops.activation import PASS, PASS_ANYTHING
from lrptool.ops.axes import normal_axes, normal_axis, per_channel, plain, stabilise
from lrptool.ops.base import Kept, Operator, Passage, Spelling, Treatment, Values, misfit
from lrptool.ops.kept import by_quotient, total
from lrptool.ops.registry import operator, register
from lrptool.ops.spelling import Words


class Statistics(Operator):
    """What all of them state about themselves."""

    default = "pass"
    centred: ClassVar[bool] = True
    """Whether the mean is taken off."""

    @abstractmethod
    def together(self, node: Node, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return a shape to view the values in, and the axes there along which values are normalised together."""

    def mean(self, node: Node, values: Values) -> Values:
        """Return the mean over the values normalised together, broadcastable to all values."""
        shape, axes = self.together(node, values.shape)
        mean: Values = values.reshape(shape).mean(axis=axes, keepdims=True)
        return mean if shape == values.shape else np.broadcast_to(mean, shape).reshape(values.shape)

    def count(self, node: Node, values: Values) -> int:
        """Return how many values are normalised together."""
        shape, axes = self.together(node, values.shape)
        return prod(shape[axis] for axis in axes)

    def parameter(self, passage: Passage, k: int) -> Values | None:
        """Return the scale (1) or the bias (2), broadcastable to the input; None where there is none."""
        rank = passage.xs[0].ndim
        return per_channel(passage.xs[k], rank) if len(passage.xs) > k else None

    def spread(self, node: Node, deviation: Values) -> tuple[Values, Values]:
        """Return what deviations are divided by, and its derivative by each of them."""
        root = np.sqrt(self.mean(node, deviation * deviation) + deviation.dtype.type(node.number("epsilon")))
        return root, deviation / (self.count(node, deviation) * root)

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """Where no mean is taken off: as the input and the scale."""
        return not self.centred and all(inputs)

    def steep(self, node: Node, graph: Graph) -> bool:
        """The smaller what is normalised together, the larger what it is multiplied by."""
        return True


def _of(passage: Passage) -> Statistics:
    """The operator of a node."""
    norm = operator(passage.node.op)
    if not isinstance(norm, Statistics):
        raise TypeError(f"{passage.node.op} has no statistics")
    return norm


def _scaled(norm: Statistics, passage: Passage, r: Values) -> Values:
    """Times the scale."""
    scale = norm.parameter(passage, 1)
    return r if scale is None else r * scale.astype(r.dtype, copy=False)


def _centre(norm: Statistics, node: Node, values: Values) -> Values:
    """Less the mean, where that is taken off."""
    return values - norm.mean(node, values) if norm.centred else values


def _detached(passage: Passage) -> tuple[Values, ...]:
    """The epsilon rule on the linear map that is left when the spread is held constant; the bias takes its share."""
    norm, node, x = _of(passage), passage.node, passage.xs[0]
    spread, _ = norm.spread(node, _centre(norm, node, x))
    s = _scaled(norm, passage, passage.relevances[0] / stabilise(passage.ys[0], passage.epsilon))
    return (x * _centre(norm, node, s / spread),)


def _detached_keeps(passage: Passage) -> Kept:
    """Of z = (x − mean) w / σ + b, what b and the stabiliser take."""
    norm, node, x = _of(passage), passage.node, passage.xs[0]
    deviation = _centre(norm, node, x)
    z = _scaled(norm, passage, deviation / norm.spread(node, deviation)[0])
    bias = norm.parameter(passage, 2)
    y = z if bias is None else z + bias
    stable = stabilise(y, passage.epsilon)
    return {**by_quotient(passage.relevances[0], y, stable), "bias": total(passage.relevances[0] * (y - z) / stable)}


def _gradient(passage: Passage) -> tuple[Values, ...]:
    """The plain derivative, that of the spread included."""
    norm, node = _of(passage), passage.node
    deviation = _centre(norm, node, passage.xs[0])
    spread, slope = norm.spread(node, deviation)
    r = _scaled(norm, passage, passage.relevances[0])
    pull = norm.mean(node, r * deviation) * norm.count(node, r) / (spread * spread)
    return (_centre(norm, node, r / spread) - pull * slope,)


_DETACHED = Treatment(_detached, reads=frozenset({"inputs", "outputs"}), at_zero="nothing", keeps=_detached_keeps)
_GRADIENT = Treatment(_gradient, reads=frozenset({"inputs"}))
_CENTRED = {"pass": PASS_ANYTHING, "detached": _DETACHED, "gradient": _GRADIENT}
_SCALED = {"pass": PASS, "gradient": _GRADIENT}


def _check_channels(node: Node, shapes: Sequence[Shape], rank: int) -> None:
    """Scale and bias have one value per channel."""
    if len(shapes[0]) < rank or any(shape != (shapes[0][1],) for shape in shapes[1:]):
        raise misfit(
            node,
            f"scale and bias {shapes[1:]} do not fit an input of shape {shapes[0]}; expected one value per channel",
        )


@register
class InstanceNormalization(Statistics):
    """Over the positions of each map."""

    name = "InstanceNormalization"
    default = "detached"
    treatments = _CENTRED

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As the input."""
        _check_channels(node, shapes, 3)
        return (shapes[0],)

    def together(self, node: Node, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """All axes behind the channels."""
        return tuple(shape), tuple(range(2, len(shape)))


@register
class GroupNormalization(Statistics):
    """Over the maps of each group of channels, and their positions."""

    name = "GroupNormalization"
    default = "detached"
    treatments = _CENTRED

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As the input."""
        _check_channels(node, shapes, 2)
        groups, channels = node.integer("num_groups"), shapes[0][1] or 0
        if groups < 1 or channels % groups:
            raise misfit(node, f"{channels} channels cannot be in {groups} groups")
        return (shapes[0],)

    def together(self, node: Node, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Each group with an axis of its own."""
        groups = node.integer("num_groups")
        return (shape[0], groups, prod(shape[1:]) // groups), (2,)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """Groups as maps of their own; ONNX has a word for it from opset 18 on."""
        x, scale, bias = node.inputs
        shape, words, groups = graph.tensors[x].shape, Words(node.outputs[0]), node.integer("num_groups")
        apart = words.array("groups", np.array([0, groups, -1], np.int64))
        whole = words.array("shape", np.array([0, *plain(shape)[1:]], np.int64))
        one, zero = (words.array(key, np.full(groups, value, np.float32)) for key, value in (("one", 1), ("zero", 0)))
        normal = words.add(
            "InstanceNormalization", words.add("Reshape", x, apart), one, zero, epsilon=node.number("epsilon")
        )
        named = ((key, graph.constants[name]) for key, name in (("scale", scale), ("bias", bias)))
        factor, shift = (words.array(key, per_channel(value, len(shape)).astype(np.float32)) for key, value in named)
        words.add("Add", words.add("Mul", words.add("Reshape", normal, whole), factor), shift)
        return words.finish()


def _tail(node: Node, rank: int) -> tuple[int, ...]:
    """Axes from the attribute ``axis`` on."""
    return tuple(range(node.integer("axis") % rank, rank))


class _OverTail(Statistics):
    """What normalises over the last axes share: scale and bias have those axes' shape."""

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As the input."""
        expected = shapes[0][normal_axis(node, shapes[0]) :]
        if any(shape != expected for shape in shapes[1:]):
            raise misfit(node, f"expected scale and bias of shape {expected}, found {list(shapes[1:])}")
        return (shapes[0],)

    def together(self, node: Node, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The last axes."""
        return tuple(shape), _tail(node, len(shape))

    def parameter(self, passage: Passage, k: int) -> Values | None:
        """As it is: the last axes."""
        return passage.xs[k] if len(passage.xs) > k else None


@register
class LayerNormalization(_OverTail):
    """Over the last axes: the features of a token."""

    name = "LayerNormalization"
    default = "detached"
    treatments = _CENTRED


@register
class RmsNormalization(_OverTail):
    """Over the last axes, by the root of the mean square alone."""

    name = "RMSNormalization"
    centred = False
    treatments = _SCALED

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """ONNX has a word for it from opset 23 on."""
        words, x = Words(node.outputs[0]), node.inputs[0]
        axes = _tail(node, len(graph.tensors[x].shape))
        mean = words.add("ReduceMean", words.add("Mul", x, x), axes=axes, keepdims=1)
        root = words.add("Sqrt", words.add("Add", mean, words.number(node.number("epsilon"))))
        normal = words.add("Div", x, root)
        if len(node.inputs) > 1:
            words.add("Mul", normal, node.inputs[1])
        return words.finish()


class _OverAxes(Statistics):
    """What normalises over axes it names share."""

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """As the input."""
        if not normal_axes(node, shapes[0], node.ints("axes")):
            raise misfit(node, "expected at least one axis to normalise over")
        if any(shape not in ((1,), (shapes[0][1],)) for shape in shapes[1:]):
            raise misfit(node, f"scale {shapes[1]} does not fit an input of shape {shapes[0]}")
        return (shapes[0],)

    def together(self, node: Node, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The axes named."""
        return tuple(shape), node.ints("axes")


@register
class MeanVarianceNormalization(_OverAxes):
    """(x − mean) / (√variance + ε), or the mean taken off alone.

    Relevance passes it by default: it mostly stands on the pixels, where rules of the first layer share relevance
    without regard to values, and a share in proportion to deviations, some of them zero, would magnify it.
    """

    name = "MVN"
    treatments = _CENTRED

    def spread(self, node: Node, deviation: Values) -> tuple[Values, Values]:
        """ε is added to the root."""
        if not node.integer("normalize_variance"):
            return np.ones((), deviation.dtype), np.zeros((), deviation.dtype)
        root = np.sqrt(self.mean(node, deviation * deviation))
        slope = deviation / (self.count(node, deviation) * np.where(root > 0, root, 1).astype(root.dtype))
        return root + root.dtype.type(node.number("epsilon")), slope

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """Mean, deviations, their mean square."""
        words, x, axes = Words(node.outputs[0]), node.inputs[0], node.ints("axes")
        deviation = words.add("Sub", x, words.add("ReduceMean", x, axes=axes, keepdims=1))
        if node.integer("normalize_variance"):
            squares = words.add("Mul", deviation, deviation)
            root = words.add("Sqrt", words.add("ReduceMean", squares, axes=axes, keepdims=1))
            words.add("Div", deviation, words.add("Add", root, words.number(node.number("epsilon"))))
        return words.finish()


@register
class L2Normalize(_OverAxes):
    """x / √(Σ x² + ε), times a scale per channel where there is one."""

    name = "L2Normalize"
    centred = False
    treatments = _SCALED

    def spread(self, node: Node, deviation: Values) -> tuple[Values, Values]:
        """The norm, not the mean."""
        count = self.count(node, deviation)
        squares = self.mean(node, deviation * deviation) * count
        root = np.sqrt(squares + deviation.dtype.type(node.number("epsilon")))
        return root, deviation / root

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """The norm, then a quotient."""
        words, x = Words(node.outputs[0]), node.inputs[0]
        axes = words.array("axes", np.array(node.ints("axes"), np.int64))
        squares = words.add("ReduceSum", words.add("Mul", x, x), axes, keepdims=1)
        root = words.add("Sqrt", words.add("Add", squares, words.number(node.number("epsilon"))))
        normal = words.add("Div", x, root)
        if len(node.inputs) > 1:
            scale = per_channel(graph.constants[node.inputs[1]], len(graph.tensors[x].shape))
            words.add("Mul", normal, words.array("scale", np.asarray(scale, np.float32)))
        return words.finish()
