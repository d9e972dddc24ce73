"""Activations: one value in, one value out."""

from __future__ import annotations

from math import isfinite, log

from lrptool.errors import ModelError
from lrptool.loaders.caffe.fillers import constant_of
from lrptool.loaders.caffe.schema import Message
from lrptool.loaders.caffe.translate.registry import Step, translates
from lrptool.loaders.caffe.weights import Blob

_PLAIN = {
    "AbsVal": "Abs",
    "BNLL": "Softplus",
    "HardSwish": "HardSwish",
    "Mish": "Mish",
    "Sigmoid": "Sigmoid",
    "Softplus": "Softplus",
    "TanH": "Tanh",
}
"""Layer types without options, and their operators."""

_SELU = {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}
_HARD_SIGMOID = {"alpha": 1 / 6, "beta": 0.5}


@translates(*_PLAIN)
def plain(step: Step) -> None:
    """The operator of the same name."""
    step.node(_PLAIN[step.item.layer.type], step.input)


@translates("ReLU")
def relu(step: Step) -> None:
    """Relu, or LeakyRelu where negative values have a slope."""
    slope = step.options("relu_param").negative_slope
    if slope:
        step.node("LeakyRelu", step.input, alpha=slope)
    else:
        step.node("Relu", step.input)


@translates("ReLU6")
def relu6(step: Step) -> None:
    """Clip to 0 … 6."""
    step.node("Clip", step.input, min=0.0, max=6.0)


@translates("Clip")
def clip(step: Step) -> None:
    """Clip."""
    options = step.options("clip_param")
    if not options.min <= options.max:
        raise ModelError(f"{step.where}: expected min below max, found {options.min:g} and {options.max:g}")
    step.node("Clip", step.input, min=options.min, max=options.max)


@translates("PReLU")
def prelu(step: Step) -> None:
    """PRelu with a learned slope per channel, or one for all."""
    options = step.options("prelu_param")
    shape = step.shape(step.input)
    channels = 1 if options.channel_shared else shape[1] or 0
    slope = step.weights(Blob((channels,), constant_of(options.filler, 0.25)))[0]
    step.node("PRelu", step.input, step.constant("slope", slope.reshape(channels, *(1,) * (len(shape) - 2))))


@translates("CReLU")
def concatenated_relu(step: Step) -> None:
    """Relu of x and of −x side by side (Shang et al. 2016, arXiv:1603.05201)."""
    options = step.options("crelu_param")
    axis = step.axis(options.concat_axis)
    halves = (step.input, step.helper("negated", "Neg", (step.input,)))
    op, attributes = ("LeakyRelu", {"alpha": options.negative_slope}) if options.negative_slope else ("Relu", {})
    rectified = [step.helper(f"half{k}", op, (half,), **attributes) for k, half in enumerate(halves)]
    step.node("Concat", *rectified, axis=axis)


@translates("ELU")
def elu(step: Step) -> None:
    """Elu."""
    step.node("Elu", step.input, alpha=step.options("elu_param").alpha)


@translates("SELU")
def selu(step: Step) -> None:
    """Selu with the two constants of Klambauer et al. 2017, arXiv:1706.02515."""
    step.node("Selu", step.input, **_SELU)


@translates("HardSigmoid")
def hard_sigmoid(step: Step) -> None:
    """min(max(x / 6 + 1/2, 0), 1) (Howard et al. 2019, doi:10.1109/ICCV.2019.00140)."""
    step.node("HardSigmoid", step.input, **_HARD_SIGMOID)


@translates("Swish")
def swish(step: Step) -> None:
    """Swish."""
    step.node("Swish", step.input, beta=step.options("swish_param").beta)


@translates("Threshold")
def threshold(step: Step) -> None:
    """1 above the threshold, 0 elsewhere."""
    step.node("ThresholdedStep", step.input, threshold=step.options("threshold_param").threshold)


@translates("Power")
def power(step: Step) -> None:
    """(shift + scale · x)^power."""
    options = step.options("power_param")
    if (options.power, options.scale, options.shift) == (1, 1, 0):
        step.alias(step.input)
    else:
        step.node("Power", step.input, power=options.power, scale=options.scale, shift=options.shift)


@translates("Exp")
def exponential(step: Step) -> None:
    """base^(shift + scale · x); a base of −1 stands for e."""
    options = step.options("exp_param")
    factor = _log_of_base(step, options)
    step.node("Exp", _scaled(step, factor * options.scale, factor * options.shift))


@translates("Log")
def logarithm(step: Step) -> None:
    """log_base(shift + scale · x); a base of −1 stands for e."""
    options = step.options("log_param")
    factor = _log_of_base(step, options)
    if factor == 0:
        raise ModelError(f"{step.where}: expected a base other than 1")
    inner = _scaled(step, options.scale, options.shift)
    if factor == 1:
        step.node("Log", inner)
    else:
        step.node("Power", step.helper("log", "Log", (inner,)), power=1.0, scale=1 / factor, shift=0.0)


def _log_of_base(step: Step, options: Message) -> float:
    """Return the natural logarithm of the base."""
    if options.base == -1:
        return 1.0
    if options.base <= 0 or not isfinite(options.base):
        raise ModelError(f"{step.where}: expected a base above 0, or -1 for e, found {options.base:g}")
    return log(options.base)


def _scaled(step: Step, scale: float, shift: float) -> str:
    """Return scale · x + shift."""
    if (scale, shift) == (1, 0):
        return step.input
    return step.helper("scaled", "Power", (step.input,), power=1.0, scale=scale, shift=shift)


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
