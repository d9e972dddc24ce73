"""Normalisations, and softmax within a network."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from lrptool.loaders.onnx.layout import Known, NotBatchFirst, Numbers, Tensor
from lrptool.loaders.onnx.translate.elementwise import combine
from lrptool.loaders.onnx.translate.movement import reshape
from lrptool.loaders.onnx.translate.registry import Step, translates

_ONE_AXIS = 13
"""From this version on a softmax works along one axis; before, along all axes from one on."""
_PER_CHANNEL = 21
"""From this version on group normalisation has a scale per channel; before, per group."""
_MVN_EPSILON = 1e-9
_NO_ZERO = 1e-30
"""Keeps the norm of zeros from being a divisor of zero, and changes no other."""


def _channels(step: Step, tensor: Tensor) -> int:
    """Return the number of channels of a tensor with the batch in front."""
    if tensor.rank < 2:
        raise step.malformed(f"expected an input (N, C, …), found {tensor.rank} axes")
    return tensor.item[1 - (tensor.batch is not None)]


@translates("BatchNormalization")
def batch_normalization(step: Step) -> None:
    """With the statistics of the training set; those of the batch cannot be explained."""
    tensor = step.plain()
    # The oldest files say is_test instead; whatever it is, a published network means the training set's.
    if step.integer("training_mode"):
        raise step.unsupported("uses the statistics of the batch", "export the network in evaluation mode")
    epsilon = step.number("epsilon", 1e-5)
    arrays = [step.array(index) for index in range(1, 5)]
    if not step.integer("spatial", 1) and arrays[0].ndim > 1:
        _per_position(step, tensor, arrays, epsilon)
        return
    names = [step.stored(step.known(k), role) for k, role in enumerate(("scale", "bias", "mean", "variance"), 1)]
    step.put(step.apply("BatchNormalization", tensor, *names, epsilon=epsilon))


def _per_position(step: Step, tensor: Tensor, arrays: list[Numbers], epsilon: float) -> None:
    """Statistics for every place of an item instead of every channel: a factor and a shift."""
    scale, bias, mean, variance = (array.astype(np.float64) for array in arrays)
    factor = scale / np.sqrt(variance + epsilon)
    moved = combine(step, "Mul", [tensor, Known((factor,))], role="scaled")
    step.put(combine(step, "Sum", [moved, Known((bias - mean * factor,))]))


@translates("InstanceNormalization")
def instance_normalization(step: Step) -> None:
    """With the statistics of each map."""
    tensor = step.plain()
    names = [step.stored(step.known(k), role) for k, role in enumerate(("scale", "bias"), 1)]
    step.put(step.apply("InstanceNormalization", tensor, *names, epsilon=step.number("epsilon", 1e-5)))


@translates("GroupNormalization")
def group_normalization(step: Step) -> None:
    """With the statistics of groups of channels."""
    tensor = step.plain()
    channels, groups = _channels(step, tensor), step.integer("num_groups")
    names = []
    for index, role in enumerate(("scale", "bias"), 1):
        array = step.array(index)
        if step.version < _PER_CHANNEL and array.shape == (groups,) != (channels,):
            names.append(step.constant(role, np.repeat(array, channels // groups)))
        else:
            names.append(step.stored(step.known(index), role))
    step.put(step.apply("GroupNormalization", tensor, *names, num_groups=groups, epsilon=step.number("epsilon", 1e-5)))


def _trailing(step: Step, tensor: Tensor) -> tuple[int, int]:
    """Return the axis from which on a normalisation works, in the graph and in the item."""
    axis = step.axis(step.integer("axis", -1), tensor.rank)
    if tensor.batch is not None and tensor.batch >= axis:
        raise NotBatchFirst("normalises across the images of a batch")
    return tensor.inner(axis), tensor.place(axis)


def normalised(step: Step, tensor: Tensor, op: str, roles: Mapping[int, str]) -> Tensor:
    """Return a normalisation over the last axes, with the scale and bias that stand at some inputs of the node."""
    inner, place = _trailing(step, tensor)
    shape = tensor.item[place:]
    names = []
    for index, name in roles.items():
        if step.has(index) and step.array(index).shape == shape:
            names.append(step.stored(step.known(index), name))
            continue
        array = step.array(index) if step.has(index) else np.full((), float(name == "scale"))
        if array.ndim > len(shape) or any(
            a not in (1, b) for a, b in zip(array.shape[::-1], shape[::-1], strict=False)
        ):
            raise step.malformed(f"a {name} of shape {array.shape} does not fit axes of {shape}")
        names.append(step.constant(name, np.broadcast_to(array, shape)))
    return step.apply(op, tensor, *names, axis=inner, epsilon=step.number("epsilon", 1e-5))


@translates("LayerNormalization")
def layer_normalization(step: Step) -> None:
    """Scale and bias written out; the statistics, its other outputs, are nobody's to read."""
    step.put(normalised(step, step.tensor(), "LayerNormalization", {1: "scale", 2: "bias"}))


@translates("RMSNormalization")
def rms_normalization(step: Step) -> None:
    """By the root of the mean square, without a mean taken off."""
    step.put(normalised(step, step.tensor(), "RMSNormalization", {1: "scale"}))


@translates("MeanVarianceNormalization")
def mean_variance(step: Step) -> None:
    """(x − mean) / (deviation + 1e-9), over batch and positions unless told otherwise."""
    tensor = step.tensor()
    axes = tuple(step.axis(axis, tensor.rank) for axis in step.list("axes") or (0, 2, 3))
    inner = tuple(sorted(tensor.inner(axis) for axis in axes))
    step.put(step.apply("MVN", tensor, axes=inner, normalize_variance=1, epsilon=_MVN_EPSILON))


@translates("LpNormalization")
def lp_normalization(step: Step) -> None:
    """Divided by the 1-norm or 2-norm along an axis."""
    tensor = step.tensor()
    axis, p = step.axis(step.integer("axis", -1), tensor.rank), step.integer("p", 2)
    if p == 2:
        step.put(step.apply("L2Normalize", tensor, axes=(tensor.inner(axis),), epsilon=_NO_ZERO))
        return
    size = step.apply("ReduceL1", tensor, role="size", axes=(tensor.inner(axis),), keepdims=1)
    step.put(combine(step, "Div", [tensor, size]))


@translates("LRN")
def local_response(step: Step) -> None:
    """Over neighbouring channels."""
    step.put(
        step.apply(
            "LRN",
            step.plain(),
            size=step.integer("size"),
            alpha=step.number("alpha", 1e-4),
            beta=step.number("beta", 0.75),
            bias=step.number("bias", 1.0),
        )
    )


@translates("Softmax", "LogSoftmax")
def softmax(step: Step) -> None:
    """Along one axis; older versions along all axes from one on, as one."""
    tensor = step.tensor()
    op = step.proto.op_type
    if step.version >= _ONE_AXIS:
        axis = step.axis(step.integer("axis", -1), tensor.rank)
        step.put(step.apply(op, tensor, axis=tensor.inner(axis)))
        return
    first = step.axis(step.integer("axis", 1), tensor.rank)
    long = [axis for axis in range(first, tensor.rank) if axis == tensor.batch or tensor.item[tensor.place(axis)] != 1]
    if len(long) <= 1:
        axis = long[0] if long else first
        step.put(step.apply(op, tensor, axis=tensor.inner(axis)))
        return
    shapes = step.shapes(tensor)
    flat = reshape(step, tensor, [(*shape[:first], prod(shape[first:])) for shape in shapes])
    soft = step.apply(op, flat, role="flat", axis=flat.inner(first))
    step.put(reshape(step, soft, shapes, role=""))
