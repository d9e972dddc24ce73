"""Factors and shifts: Scale and Bias with learned or computed operands, and the gates of squeeze and excitation."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from lrptool.errors import ModelError, UnsupportedError
from lrptool.graph import Array
from lrptool.loaders.caffe.schema import Message
from lrptool.loaders.caffe.translate.registry import Step, translates
from lrptool.loaders.caffe.weights import Blob


@dataclass(frozen=True, slots=True)
class _Span:
    """The axes of an item that an operand covers: `sizes` from `axis` on; no sizes: one number for all."""

    axis: int
    sizes: tuple[int, ...]

    def operand(self, rank: int, values: ArrayLike) -> Array:
        """Return values as an array that broadcasts over tensors of `rank` axes."""
        trailing = rank - self.axis - len(self.sizes) if self.sizes else 1
        return np.asarray(values, np.float32).reshape(*self.sizes, *(1,) * trailing)


def affine(step: Step, tensor: str, span: _Span, factor: Array | None, shift: Array | None) -> None:
    """Add the layer's own node or nodes: tensor · factor + shift; None stands for 1 and 0.

    Per channel it is a batch normalisation without statistics, which can be folded into a neighbouring layer.
    """
    shape = step.shape(tensor)
    if not span.sizes or (span.axis == 1 and len(span.sizes) == 1):
        channels = shape[1] or 0
        vectors = {"scale": (factor, 1), "bias": (shift, 0), "mean": (None, 0), "variance": (None, 1)}
        names = [
            step.constant(role, np.broadcast_to(np.float32(default) if value is None else value.ravel(), channels))
            for role, (value, default) in vectors.items()
        ]
        step.node("BatchNormalization", tensor, *names, epsilon=0.0)
        return
    operands = {"Mul": ("scale", factor), "Sum": ("bias", shift)}
    present = {op: (role, value) for op, (role, value) in operands.items() if value is not None}
    for op, (role, value) in present.items():
        constant = step.constant(role, span.operand(len(shape), value))
        if len(present) == 2 and op == "Mul":
            tensor = step.helper("product", "Mul", (tensor, constant))
        else:
            step.node(op, tensor, constant)


def learned_span(step: Step, options: Message) -> _Span:
    """Return the axes that a learned operand covers, by the options ``axis`` and ``num_axes``."""
    shape = step.shape(step.input)
    rank, count = len(shape), options.num_axes
    axis = options.axis + rank if options.axis < 0 else options.axis
    if not 0 <= axis < rank or count < -1 or axis + count > rank:
        raise ModelError(f"{step.where}: axis {options.axis} and num_axes {count} do not fit an input of {rank} axes")
    if count == 0:
        return _Span(axis, ())
    axis = step.axis(axis)
    sizes = shape[axis:] if count == -1 else shape[axis : axis + count]
    return _Span(axis, tuple(size or 0 for size in sizes))


def beside(step: Step, tensor: str, other: str, axis: int) -> str:
    """Return `other`, whose axes are those of `tensor` from `axis` on, with as many axes as `tensor`."""
    shape, covered = step.shape(tensor), step.shape(other)
    rank = len(shape)
    start = axis + rank if axis < 0 else axis
    if not 0 <= start < rank or covered != shape[start : start + len(covered)]:
        raise ModelError(f"{step.where}: the second bottom {covered} does not fit {shape} from axis {axis} on")
    if start != 0:
        raise UnsupportedError(f"{step.where}: the second bottom {covered} has no axis for the images of a batch")
    if len(covered) == rank:
        return other
    item = (*(size or 0 for size in covered[1:]), *(1,) * (rank - len(covered)))
    return step.helper("operand", "Reshape", (other,), shape=item)


@translates("Scale")
def scale(step: Step) -> None:
    """A learned factor and shift; or the product with a second bottom, which lacks the last axes."""
    options = step.options("scale_param")
    if len(step.inputs) == 1:
        span = learned_span(step, options)
        blobs = [Blob("ones", span.sizes)] + [Blob("zeros", span.sizes)] * options.bias_term
        arrays = step.weights(*blobs)
        affine(step, step.input, span, arrays[0], arrays[1] if options.bias_term else None)
        return
    tensor, other = step.two_inputs()
    operand = beside(step, tensor, other, options.axis)
    if not options.bias_term:
        step.node("Mul", tensor, operand)
        return
    raise UnsupportedError(f"{step.where}: a learned shift of the images of a batch, one by one")


@translates("Bias")
def bias(step: Step) -> None:
    """A learned shift; or the sum with a second bottom, which lacks the last axes."""
    options = step.options("bias_param")
    if len(step.inputs) == 1:
        span = learned_span(step, options)
        affine(step, step.input, span, None, step.weights(Blob("zeros", span.sizes))[0])
        return
    tensor, other = step.two_inputs()
    step.node("Sum", tensor, beside(step, tensor, other, options.axis))


@translates("Axpy")
def axpy(step: Step) -> None:
    """gate · x + y, one gate per channel (Hu et al. 2018, doi:10.1109/CVPR.2018.00745)."""
    if len(step.inputs) != 3:
        raise ModelError(f"{step.where}: expected three bottoms (gate, x, y), found {len(step.inputs)}")
    gate, x, y = step.inputs
    shape = step.shape(x)
    if step.shape(y) != shape or step.shape(gate)[:2] != shape[:2] or prod(s or 1 for s in step.shape(gate)[2:]) != 1:
        found = ", ".join(str(step.shape(tensor)) for tensor in step.inputs)
        raise ModelError(f"{step.where}: expected bottoms (N, C, 1, 1), (N, C, H, W), (N, C, H, W), found {found}")
    if len(step.shape(gate)) != len(shape):
        gate = step.helper("operand", "Reshape", (gate,), shape=(shape[1] or 0, *(1,) * (len(shape) - 2)))
    step.node("Sum", step.helper("product", "Mul", (gate, x)), y)
