"""Activations, and layers that combine values position by position."""

from __future__ import annotations

from lrptool.errors import ModelError
from lrptool.loaders.caffe.translate.registry import Step, translates


@translates("ReLU")
def relu(step: Step) -> None:
    """Relu, or LeakyRelu where negative values have a slope."""
    slope = step.options("relu_param").negative_slope
    if slope:
        step.node("LeakyRelu", step.input, alpha=slope)
    else:
        step.node("Relu", step.input)


@translates("Sigmoid")
def sigmoid(step: Step) -> None:
    """Sigmoid."""
    step.node("Sigmoid", step.input)


@translates("TanH")
def tanh(step: Step) -> None:
    """Tanh."""
    step.node("Tanh", step.input)


@translates("Dropout")
def dropout(step: Step) -> None:
    """Dropout; a fork scales at test time instead of in training."""
    options = step.options("dropout_param")
    if options.scale_train:
        step.node("Dropout", step.input)
    else:
        step.node("Mul", step.input, step.constant("scale", [1 - options.dropout_ratio]))


@translates("Softmax")
def softmax(step: Step) -> None:
    """Softmax in the middle of a net; the last one is the graph's head and never comes here."""
    step.node("Softmax", step.input, axis=step.axis(step.options("softmax_param").axis))


@translates("Eltwise")
def eltwise(step: Step) -> None:
    """Sum, a chain of Mul, or Max."""
    options = step.options("eltwise_param")
    inputs = step.inputs
    shapes = {step.shape(tensor) for tensor in inputs}
    if len(inputs) < 2 or len(shapes) > 1:
        found = ", ".join(str(step.shape(tensor)) for tensor in inputs)
        raise ModelError(f"{step.where}: expected two or more bottoms of one shape, found {found}")
    operation = options.DESCRIPTOR.fields_by_name["operation"].enum_type.values_by_number[options.operation].name
    factors = list(options.coeff)
    if factors and (operation != "SUM" or len(factors) != len(inputs)):
        raise ModelError(f"{step.where}: expected no coeff, or one per bottom of a SUM, found {len(factors)}")
    if operation == "SUM":
        factors = factors or [1.0] * len(inputs)
        step.node("Sum", *(_times(step, *term) for term in enumerate(zip(inputs, factors, strict=True))))
    elif operation == "MAX":
        step.node("Max", *inputs)
    else:
        product = inputs[0]
        for k, factor in enumerate(inputs[1:-1], start=1):
            product = step.helper(f"product{k}", "Mul", (product, factor))
        step.node("Mul", product, inputs[-1])


def _times(step: Step, k: int, term: tuple[str, float]) -> str:
    """Return term k of a weighted sum."""
    tensor, factor = term
    if factor == 1:
        return tensor
    return step.helper(f"term{k}", "Mul", (tensor, step.constant(f"coeff{k}", [factor])))
