"""Operators that ask for sizes, state constants, or change the type of numbers."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
from onnx import TensorProto

from lrptool.loaders.onnx.layout import Known, Tensor, Whole
from lrptool.loaders.onnx.translate.registry import Step, translates

_FLOATS = frozenset(
    {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.UNDEFINED}
)
_WORDS = {"FLOAT", "DOUBLE", "FLOAT16"}


@translates("Shape", whole=True)
def shape(step: Step) -> None:
    """Sizes of axes; those that follow the batch differ between its sizes."""
    tensor = step.tensor()
    start, end = step.integer("start"), step.integer("end", tensor.rank)
    part = slice(start, end)
    step.put(Known.of([np.array(sizes[part], np.int64) for sizes in step.shapes(tensor)]))


@translates("Size", whole=True)
def size(step: Step) -> None:
    """Number of values."""
    step.put(Known.of([np.array(prod(sizes), np.int64) for sizes in step.shapes(step.tensor())]))


@translates("Cast", "CastLike", whole=True)
def cast(step: Step) -> None:
    """Between floats nothing happens: everything is computed in float32."""
    first = step.value(0)
    if isinstance(first, Known):  # like a tensor of the image: in floating point
        step.put(Known(tuple(array.astype(np.float32) for array in first.values)))
        return
    tensor = step.tensor()
    if step.proto.op_type == "CastLike":
        like = step.value(1)
        floats = not like.whole if isinstance(like, Tensor) else step.known(1).values[0].dtype.kind == "f"
    elif step.version < 6:
        floats = step.text("to").upper() in _WORDS
    else:
        floats = step.integer("to") in _FLOATS
    if not floats and not tensor.whole:
        raise step.unsupported("rounds values of the image to whole numbers", "export the network in floating point")
    step.put(as_floats(step, tensor) if floats else tensor)


def as_floats(step: Step, tensor: Tensor) -> Tensor:
    """Return the file's whole numbers as such; those with a unit wait for the product with it."""
    whole = tensor.whole
    if whole is None or whole.unit:
        return tensor
    plain = replace(tensor, whole=None)
    if whole == Whole():
        return plain
    return step.apply("Power", plain, power=1.0, scale=1 / whole.scale, shift=whole.zero)
