"""Layers that combine several tensors position by position."""

from __future__ import annotations

from lrptool.errors import ModelError
from lrptool.loaders.caffe.translate.options import enum_name
from lrptool.loaders.caffe.translate.registry import Step, translates


@translates("Eltwise")
def eltwise(step: Step) -> None:
    """Sum with coefficients, a chain of Mul, or Max."""
    options = step.options("eltwise_param")
    inputs = step.inputs
    shapes = {_item(step, tensor) for tensor in inputs}
    if len(inputs) < 2 or len(shapes) > 1:
        found = ", ".join(str(step.shape(tensor)) for tensor in inputs)
        raise ModelError(f"{step.where}: expected two or more bottoms of one shape, found {found}")
    operation = enum_name(options, "operation")
    factors = tuple(options.coeff)
    # A MAX may state factors; nobody reads them.
    if factors and (operation == "PROD" or len(factors) != len(inputs)):
        raise ModelError(f"{step.where}: expected no coeff, or one per bottom of a SUM, found {len(factors)}")
    if operation == "SUM":
        step.node("Sum", *inputs, **({"coefficients": factors} if set(factors) - {1.0} else {}))
    elif operation == "MAX":
        step.node("Max", *inputs)
    else:
        product = inputs[0]
        for k, factor in enumerate(inputs[1:-1], start=1):
            product = step.helper(f"product{k}", "Mul", (product, factor))
        step.node("Mul", product, inputs[-1])


def _item(step: Step, tensor: str) -> tuple[int | None, ...]:
    """Return a shape without the batch."""
    return step.shape(tensor)[1:]


@translates("Concat")
def concat(step: Step) -> None:
    """Concat; one bottom stays what it is."""
    options = step.options("concat_param")
    if options.HasField("concat_dim") and options.HasField("axis"):
        raise ModelError(f"{step.where}: expected axis or concat_dim, found both")
    axis = step.axis(options.concat_dim if options.HasField("concat_dim") else options.axis)
    if len(step.inputs) == 1:
        step.alias(step.input)
    else:
        step.node("Concat", *step.inputs, axis=axis)
