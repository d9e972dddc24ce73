"""Quantised networks, through their dequantised weights.

A tensor the file has in whole numbers is the tensor of real numbers they stand for, kept within what they can stand
for; only the rounding is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lrptool.loaders.onnx.layout import Known, Numbers, Tensor, Unit, Whole
from lrptool.loaders.onnx.translate.elementwise import clipped, combine, scaled
from lrptool.loaders.onnx.translate.indexing import side_by_side
from lrptool.loaders.onnx.translate.linear import convolved, dense, product
from lrptool.loaders.onnx.translate.movement import transpose
from lrptool.loaders.onnx.translate.pooling import pooled
from lrptool.loaders.onnx.translate.registry import MICROSOFT, Step, translates
from lrptool.loaders.onnx.translate.state import Value

_NOTE = "the network is quantised: it is explained through its dequantised weights, without the rounding"
_HINT = "give the network from before it was quantised"


def _number(step: Step, index: int, default: float | None = None) -> float:
    """Return a scale or zero point that is one number."""
    if not step.has(index) and default is not None:
        return default
    array = step.array(index)
    if array.size != 1:
        raise step.unsupported("scales values of the image by channel", _HINT)
    return float(array.reshape(-1)[0])


def _whole(step: Step, scale: int, zero: int) -> Whole:
    """Return what whole numbers stand for, given where their scale and zero point are."""
    return Whole(_number(step, scale), _number(step, zero, 0.0))


def quantised(step: Step, tensor: Tensor, scale: int, zero: int, role: str = "") -> Tensor:
    """Return a tensor within the range of its whole numbers."""
    step.translation.note(_NOTE)
    whole = _whole(step, scale, zero)
    kind = step.array(zero).dtype if step.has(zero) else np.dtype(np.uint8)
    if kind.kind not in "iu":
        raise step.unsupported(f"rounds to {kind}", _HINT)
    bounds = np.iinfo(kind)
    low, high = ((bound - whole.zero) * whole.scale for bound in (bounds.min, bounds.max))
    return replace(clipped(step, tensor, low, high, role), whole=whole)


def real(step: Step, tensor: Tensor, scale: int, zero: int) -> Tensor:
    """Return a tensor of whole numbers as the real numbers that a scale and a zero point say they stand for."""
    own, said = tensor.whole, _whole(step, scale, zero)
    plain = replace(tensor, whole=None)
    if own is None:
        raise step.malformed("expected whole numbers, found real ones")
    if own == said:
        return plain
    factor, shift = said.scale / own.scale, (own.zero - said.zero) * said.scale
    return step.apply("Power", plain, role="rescaled", power=1.0, scale=factor, shift=shift)


def weights(step: Step, value: Known, scale: Numbers, zero: Numbers | None, axis: int) -> Known:
    """Return whole numbers as the real ones they stand for, with one scale or one per place of an axis."""
    step.translation.note(_NOTE)
    array = value.array.astype(np.float64)

    def along(numbers: Numbers) -> Numbers:
        if numbers.size == 1:
            return numbers.reshape(()).astype(np.float64)
        return numbers.astype(np.float64).reshape([-1 if k == axis % array.ndim else 1 for k in range(array.ndim)])

    return Known(((array - (along(zero) if zero is not None else 0.0)) * along(scale),))


@translates("QuantizeLinear")
@translates("QuantizeLinear", domain=MICROSOFT)
def quantize(step: Step) -> None:
    """Real numbers to whole ones."""
    step.put(quantised(step, step.tensor(), 1, 2, role="range"))


@translates("DequantizeLinear", whole=True)
@translates("DequantizeLinear", domain=MICROSOFT, whole=True)
def dequantize(step: Step) -> None:
    """Whole numbers to real ones."""
    step.put(real(step, step.tensor(), 1, 2))


def operand(step: Step, index: int, scale: int, zero: int, axis: int = -1) -> Value:
    """Return an operand of a quantised operator in real numbers."""
    value = step.value(index)
    if isinstance(value, Tensor):
        return real(step, value, scale, zero)
    zeros = step.array(zero) if step.has(zero) else None
    return weights(step, step.known(index), step.array(scale), zeros, axis)


@translates("QLinearConv", whole=True)
def qlinear_conv(step: Step) -> None:
    """x, its scale and zero point, w, its, those of the result, bias."""
    x = real(step, step.tensor(), 1, 2)
    parameters = [weights(step, step.known(3), step.array(4), step.array(5) if step.has(5) else None, 0)]
    if step.has(8):
        unit = step.array(4).astype(np.float64).reshape(-1) * _number(step, 1)
        parameters.append(Known((step.array(8).astype(np.float64) * unit,)))
    step.put(quantised(step, convolved(step, x, parameters, role="conv"), 6, 7, role="range"))


@translates("QLinearMatMul", whole=True)
def qlinear_matmul(step: Step) -> None:
    """a, its scale and zero point, b, its, those of the result."""
    made = product(step, operand(step, 0, 1, 2, axis=-2), operand(step, 3, 4, 5), role="product")
    step.put(quantised(step, made, 6, 7, role="range"))


@translates("QGemm", domain=MICROSOFT, whole=True)
def qgemm(step: Step) -> None:
    """A, its scale and zero point, B, its, bias, those of the result."""
    a = real(step, step.tensor(), 1, 2)
    a = transpose(step, a, (1, 0)) if step.integer("transA") else a
    turned = bool(step.integer("transB"))
    zeros = step.array(5) if step.has(5) else None
    weight = weights(step, step.known(3), step.array(4), zeros, 0 if turned else 1).array
    alpha = step.number("alpha", 1.0)
    made = dense(step, a, (weight if turned else weight.T) * alpha, role="product")
    if step.has(6):
        unit = step.array(4).astype(np.float64).reshape(-1) * _number(step, 1) * alpha
        made = combine(step, "Sum", [made, Known((step.array(6).astype(np.float64) * unit,))], role="sum")
    step.put(quantised(step, made, 7, 8, role="range") if step.has(7) else made)


@translates("QLinearAdd", "QLinearMul", domain=MICROSOFT, whole=True)
def qlinear_elementwise(step: Step) -> None:
    """a, its scale and zero point, b, its, those of the result."""
    op = "Sum" if step.proto.op_type == "QLinearAdd" else "Mul"
    made = combine(step, op, [operand(step, 0, 1, 2), operand(step, 3, 4, 5)], role="made")
    step.put(quantised(step, made, 6, 7, role="range"))


_FUNCTIONS: dict[str, Callable[[Step, Tensor], Tensor]] = {
    "QLinearSigmoid": lambda step, x: step.apply("Sigmoid", x, role="made"),
    "QLinearLeakyRelu": lambda step, x: step.apply("LeakyRelu", x, role="made", alpha=step.number("alpha", 0.01)),
    "QLinearSoftmax": lambda step, x: step.apply(
        "Softmax", x, role="made", axis=x.inner(step.axis(step.integer("axis", -1), x.rank))
    ),
    "QLinearGlobalAveragePool": lambda step, x: step.apply("GlobalAveragePool", x, role="made"),
    "QLinearAveragePool": lambda step, x: pooled(
        step, "AveragePool", x, role="made", count_include_pad=step.integer("count_include_pad")
    ),
}


@translates(*_FUNCTIONS, domain=MICROSOFT, whole=True)
def qlinear_function(step: Step) -> None:
    """x, its scale and zero point, those of the result."""
    if step.integer("channels_last"):
        raise step.unsupported("has the channels last", _HINT)
    x = real(step, step.tensor(), 1, 2)
    step.put(quantised(step, _FUNCTIONS[step.proto.op_type](step, x), 3, 4, role="range"))


@translates("DynamicQuantizeLinear")
def dynamic(step: Step) -> None:
    """Real numbers to whole ones by a scale found for each image; both outputs beside them stand for it."""
    step.translation.note(_NOTE)
    unit = step.name
    step.put(replace(step.tensor(), whole=Whole(unit=unit)))
    step.put(Unit(unit, np.ones(())), 1)
    step.put(Unit(unit, np.ones(())), 2)


@translates("ConvInteger", "MatMulInteger", whole=True)
def integer_product(step: Step) -> None:
    """A product of whole numbers, which a scale makes real later."""
    x = step.tensor()
    whole = x.whole
    if whole is None or whole.zero or (not whole.unit and step.has(2) and _number(step, 2)):
        raise step.unsupported("multiplies whole numbers whose scale cannot be told", _HINT)
    plain = replace(x, whole=None)
    zeros = step.array(3) if step.has(3) else None
    conv = step.proto.op_type == "ConvInteger"
    weight = weights(step, step.known(1), np.ones(1), zeros, 0 if conv else -1)
    made = convolved(step, plain, [weight]) if conv else product(step, plain, weight)
    step.put(replace(made, whole=whole))


def scale_by_unit(step: Step) -> None:
    """A scale found for each image, times a constant or times the whole numbers that it makes real."""
    values = [step.entry(0), step.entry(1)]
    unit = next(value for value in values if isinstance(value, Unit))
    other = next((value for value in values if value is not unit), unit)
    if isinstance(other, Known):
        step.put(Unit(unit.name, unit.factor * other.array.astype(np.float64)))
    elif isinstance(other, Tensor) and other.whole is not None and other.whole.unit == unit.name:
        step.put(scaled(step, replace(other, whole=None), unit.factor))
    else:
        raise step.unsupported("scales by a number found for each image", _HINT)


@translates("QLinearConcat", domain=MICROSOFT, whole=True)
def qlinear_concat(step: Step) -> None:
    """Scale and zero point of the result, then each input with its own."""
    parts = [operand(step, index, index + 1, index + 2) for index in range(2, step.count, 3)]
    step.put(quantised(step, side_by_side(step, parts), 0, 1, role="range"))
