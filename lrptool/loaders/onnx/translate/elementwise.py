"""Sums, products, powers and extremes, position by position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lrptool.loaders.onnx.layout import Known, Numbers, Tensor, item_of
from lrptool.loaders.onnx.translate.movement import reshape
from lrptool.loaders.onnx.translate.operands import align, constant_operand, template
from lrptool.loaders.onnx.translate.registry import Step, translates
from lrptool.loaders.onnx.translate.state import Value

_FORBIDDEN = float(np.finfo(np.float32).min) / 2
"""Its exponential is 0, and adding a score to it cannot overflow."""
NUMPY_BROADCASTING = 7
"""From this version on shapes are compared from the back; before, an attribute said where the second one belongs."""


def operands(step: Step) -> list[Value]:
    """Return the inputs, with the shapes that today's broadcasting gives them."""
    values = [step.value(index) for index in range(step.count)]
    if step.version >= NUMPY_BROADCASTING or not step.integer("broadcast") or not step.given("axis"):
        return values
    ranks = [value.rank if isinstance(value, Tensor) else value.values[0].ndim for value in values]
    axis = step.axis(step.integer("axis"), ranks[0])
    more = (1,) * (ranks[0] - axis - ranks[1])
    second = values[1]
    if isinstance(second, Tensor):
        return [values[0], reshape(step, second, [shape + more for shape in step.shapes(second)])]
    return [values[0], Known(tuple(array.reshape(array.shape + more) for array in second.values), second.name)]


def combine(step: Step, op: str, values: Sequence[Value], role: str = "", **attributes: Any) -> Tensor:
    """Add a node over operands that broadcast against each other; return its output."""
    names, like = align(step, values)
    (name,) = step.add(op, *names, role=role, **attributes)
    return step.like(name, like)


def scaled(step: Step, tensor: Tensor, factor: Numbers, role: str = "") -> Tensor:
    """Return a tensor times a constant."""
    value = Known((factor,))
    return tensor if _changes_nothing(tensor, value, 1) else combine(step, "Mul", [tensor, value], role)


def _changes_nothing(tensor: Tensor, value: Value, neutral: float) -> bool:
    """Whether a constant is the neutral number everywhere and leaves a tensor's shape as it is."""
    if not isinstance(value, Known) or len(value.values) > 1 or value.array.ndim > tensor.rank:
        return False
    sizes = tensor.shape(1)[tensor.rank - value.array.ndim :]
    fits = all(size in (1, other) for size, other in zip(value.array.shape, sizes, strict=True))
    return fits and bool((value.array == neutral).all())


def _numbers(value: Known) -> Numbers:
    """Return a constant as numbers that can be calculated with exactly enough."""
    return value.array.astype(np.float64)


@translates("Add", "Sum", "Sub", "Mean")
def add(step: Step) -> None:
    """Sum, with a coefficient for each input where they are not all 1; constants become one."""
    values = operands(step)
    coefficients = _coefficients(step.proto.op_type, len(values))
    if len(values) == 1:
        step.put(values[0])
        return
    if len(values) == 2 and values[0] == values[1]:
        step.put(scaled(step, step.tensor(), np.array(sum(coefficients))))
        return
    pairs = list(zip(values, coefficients, strict=True))
    tensors = [(value, c) for value, c in pairs if isinstance(value, Tensor)]
    constant = _total(step, [(value, c) for value, c in pairs if isinstance(value, Known)])
    if len(tensors) == 1 and tensors[0][1] == 1 and constant and _changes_nothing(tensors[0][0], constant, 0):
        step.put(tensors[0][0])
        return
    weights = (*(c for _, c in tensors), *(1.0 for _ in (constant,) if constant))
    extra: dict[str, Any] = {} if set(weights) == {1.0} else {"coefficients": weights}
    step.put(combine(step, "Sum", [*(value for value, _ in tensors), *((constant,) if constant else ())], **extra))


def _coefficients(op: str, count: int) -> tuple[float, ...]:
    """Return the factor each input of a sum has."""
    if op == "Sub":
        return (1.0, -1.0)
    return (1.0 / count if op == "Mean" else 1.0,) * count


def _total(step: Step, constants: Sequence[tuple[Known, float]]) -> Known | None:
    """Return the sum of constants, each with its coefficient; None for none."""
    if not constants:
        return None
    if len(constants) == 1 and constants[0][1] == 1:
        return _masked(constants[0][0])
    totals = []
    for turn in range(len(step.mode.sizes)):
        parts = [c * value.each(turn + 1)[turn].astype(np.float64) for value, c in constants]
        totals.append(np.asarray(sum(parts[1:], start=parts[0])))
    return _masked(Known.of(totals))


def _masked(value: Known) -> Known:
    """Return a constant with very small numbers for minus infinity: what an attention is not to look at."""
    if not any(np.isneginf(array).any() for array in value.values):
        return value
    return Known(tuple(np.where(np.isneginf(array), _FORBIDDEN, array) for array in value.values))


@translates("Mul")
def mul(step: Step) -> None:
    """Mul; a square is a power."""
    first, second = operands(step)
    if first == second:
        step.put(step.apply("Power", step.tensor(), power=2.0, scale=1.0, shift=0.0))
        return
    for one, other in ((first, second), (second, first)):
        if isinstance(one, Tensor) and _changes_nothing(one, other, 1):
            step.put(one)
            return
    step.put(combine(step, "Mul", [first, second]))


@translates("Div")
def div(step: Step) -> None:
    """A constant divisor is a factor; a constant dividend one of the reciprocal."""
    above, below = operands(step)
    if isinstance(below, Known):
        if not below.array.all():
            raise step.malformed("divides by zero")
        step.put(scaled(step, step.tensor(), 1.0 / _numbers(below)))
    elif isinstance(above, Known):
        step.put(scaled(step, step.apply("Reciprocal", below, role="reciprocal"), _numbers(above)))
    else:
        step.put(combine(step, "Div", [above, below]))


@translates("Pow")
def pow_(step: Step) -> None:
    """Power with a constant exponent; a constant base is an exponential."""
    base, exponent = operands(step)
    if isinstance(exponent, Known):
        numbers = np.unique(_numbers(exponent))
        if numbers.size != 1:
            raise step.unsupported("raises to different powers")
        power = float(numbers[0])
        step.put(step.tensor() if power == 1 else step.apply("Power", step.tensor(), power=power, scale=1.0, shift=0.0))
    elif isinstance(base, Known) and (_numbers(base) > 0).all():
        step.put(step.apply("Exp", scaled(step, exponent, np.log(_numbers(base)), role="exponent")))
    else:
        raise step.unsupported("raises to a power that is computed from the image")


@translates("Max", "Min")
def extreme(step: Step) -> None:
    """Max or Min; against one number it is a Clip, against zero a Relu."""
    values = operands(step)
    if len(values) == 1:
        step.put(values[0])
        return
    largest = step.proto.op_type == "Max"
    tensors = [value for value in values if isinstance(value, Tensor)]
    constants = [value for value in values if isinstance(value, Known)]
    if len(tensors) == 1 and all(value.array.size == 1 for value in constants):
        bounds = [float(value.array.reshape(-1)[0]) for value in constants]
        low, high = (max(bounds), np.inf) if largest else (-np.inf, min(bounds))
        step.put(clipped(step, tensors[0], low, high))
        return
    step.put(combine(step, step.proto.op_type, [*tensors, *constants]))


def clipped(step: Step, tensor: Tensor, low: float, high: float, role: str = "") -> Tensor:
    """Return a tensor between two numbers."""
    if low == -np.inf and high == np.inf:
        return tensor
    if low == 0 and high == np.inf:
        return step.apply("Relu", tensor, role=role)
    if np.isnan(low) or np.isnan(high) or low > high:
        raise step.malformed(f"keeps values between {low:g} and {high:g}")
    return step.apply("Clip", tensor, role=role, min=low, max=high)


@translates("Clip")
def clip(step: Step) -> None:
    """Bounds are attributes in older versions, inputs in newer ones."""
    bounds = []
    for index, key, default in ((1, "min", -np.inf), (2, "max", np.inf)):
        bound = float(step.array(index).reshape(-1)[0]) if step.has(index) else step.number(key, default)
        # Older exporters write the type's largest number for no bound at all.
        bounds.append(bound if abs(bound) < np.finfo(np.float32).max else default)
    step.put(clipped(step, step.tensor(), bounds[0], bounds[1]))


@translates("Where")
def where(step: Step) -> None:
    """Parts of two tensors, chosen by a constant: a sum of what is left of each."""
    condition, tensors = step.known(0), [step.value(1), step.value(2)]
    masks = [
        Known(tuple(array.astype(np.float64) for array in condition.values)),
        Known(tuple(1.0 - array.astype(np.float64) for array in condition.values)),
    ]
    parts: list[Value] = []
    for value, mask in zip(tensors, masks, strict=True):
        if isinstance(value, Tensor):
            parts.append(combine(step, "Mul", [value, mask], role="chosen"))
            continue
        pairs = zip(value.each(len(step.mode.sizes)), mask.each(len(step.mode.sizes)), strict=True)
        # Not a product: what is not chosen may be infinite.
        parts.append(_masked(Known.of([np.where(keep > 0, array, 0) for array, keep in pairs])))
    step.put(combine(step, "Sum", parts))


@translates("PRelu")
def prelu(step: Step) -> None:
    """One slope for all, or one per channel or position."""
    tensor, slope = step.tensor(), step.known(1)
    if step.version < NUMPY_BROADCASTING and slope.array.size > 1:
        # One slope per channel, whatever the number of axes behind.
        slope = Known((slope.array.reshape(-1, *(1,) * (tensor.rank - 2)),), slope.name)
    rank, like = template([tensor, slope])
    if rank > tensor.rank:
        raise step.malformed(f"slopes of {rank} axes do not fit an input of {tensor.rank} axes")
    name = constant_operand(step, slope, item_of(slope, rank, like, step.mode.sizes), "slope")
    step.put(step.apply("PRelu", tensor, name))


@translates("ThresholdedRelu")
def thresholded(step: Step) -> None:
    """x where it is larger than alpha: x times a step."""
    tensor = step.tensor()
    gate = step.apply("ThresholdedStep", tensor, role="step", threshold=step.number("alpha", 1.0))
    step.put(combine(step, "Mul", [tensor, gate]))
