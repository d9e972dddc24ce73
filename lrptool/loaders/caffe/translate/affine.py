"""Factors and shifts: Scale and Bias with learned or computed operands, and the gates of squeeze and excitation."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from lrptool.errors import ModelError, UnsupportedError
from lrptool.graph import Array
from lrptool.loaders.caffe.fillers import constant_of
from lrptool.loaders.caffe.schema import Message
from lrptool.loaders.caffe.translate.registry import Step, translates
from lrptool.loaders.caffe.weights import Blob


@dataclass(frozen=True, slots=True)
class Span:
    """The axes of an item that an operand covers: `sizes` from `axis` on; no sizes: one number for all."""

    axis: int
    sizes: tuple[int, ...]

    def operand(self, rank: int, values: ArrayLike) -> Array:
        """Return values as an array that broadcasts over tensors of `rank` axes."""
        trailing = rank - self.axis - len(self.sizes) if self.sizes else 1
        return np.asarray(values, np.float32).reshape(*self.sizes, *(1,) * trailing)


def affine(step: Step, tensor: str, span: Span, factor: Array | None, shift: Array | None) -> None:
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


def learned_span(step: Step, options: Message) -> Span:
    """Return the axes that a learned operand covers, by the options ``axis`` and ``num_axes``."""
    shape = step.shape(step.input)
    axis, count = step.any_axis(options.axis), options.num_axes
    if count < -1 or axis + count > len(shape):
        raise ModelError(f"{step.where}: axis {axis} and num_axes {count} do not fit an input of {len(shape)} axes")
    if count == 0:
        return Span(axis, ())
    axis = step.axis(axis)
    sizes = shape[axis:] if count == -1 else shape[axis : axis + count]
    return Span(axis, tuple(size or 0 for size in sizes))


def _second(step: Step, axis: int) -> tuple[str, str, int]:
    """Return the two bottoms, of which the second has the axes of the first from `axis` on, and that axis."""
    tensor, other = step.two_inputs()
    shape, covered = step.shape(tensor), step.shape(other)
    start = step.any_axis(axis) if covered else 0
    # A constant is one row that every image of the batch gets.
    skip = int(start == 0 and step.is_constant(other) and covered[:1] == (1,))
    if covered[skip:] != shape[start + skip : start + len(covered)]:
        raise ModelError(f"{step.where}: the second bottom {covered} does not fit {shape} from axis {axis} on")
    return tensor, other, start


def _learned(step: Step, other: str, start: int) -> tuple[Span, Array]:
    """Return a constant second bottom as what it covers, and its numbers."""
    values = step.value(other)
    if start == 0 and values.ndim:
        start, values = 1, values.reshape(values.shape[1:])
    return Span(start, values.shape), values


def _alongside(step: Step, tensor: str, other: str, start: int) -> str:
    """Return a second bottom with as many axes as the first."""
    covered, rank = step.shape(other), len(step.shape(tensor))
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
        factor, *shift = step.weights(
            Blob(span.sizes, constant_of(options.filler, 1.0)), *[Blob(span.sizes)] * options.bias_term
        )
        affine(step, step.input, span, factor, shift[0] if shift else None)
        return
    tensor, other, start = _second(step, options.axis)
    if step.is_constant(other):
        span, factor = _learned(step, other, start)
        shift = list(step.weights(*[Blob(span.sizes)] * options.bias_term))
        affine(step, tensor, span, factor, shift[0] if shift else None)
    elif options.bias_term:
        raise UnsupportedError(f"{step.where}: learns a shift for each image of a batch")
    else:
        step.node("Mul", tensor, _alongside(step, tensor, other, start))


@translates("Bias")
def bias(step: Step) -> None:
    """A learned shift; or the sum with a second bottom, which lacks the last axes."""
    options = step.options("bias_param")
    if len(step.inputs) == 1:
        span = learned_span(step, options)
        affine(step, step.input, span, None, step.weights(Blob(span.sizes))[0])
        return
    tensor, other, start = _second(step, options.axis)
    if step.is_constant(other):
        span, shift = _learned(step, other, start)
        affine(step, tensor, span, None, shift)
    else:
        step.node("Sum", tensor, _alongside(step, tensor, other, start))


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
