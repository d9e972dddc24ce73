"""Poolings."""

from __future__ import annotations

from lrptool.errors import ModelError, UnsupportedError
from lrptool.graph import Attribute
from lrptool.loaders.caffe.schema import Message
from lrptool.loaders.caffe.translate.options import enum_name, spatial
from lrptool.loaders.caffe.translate.registry import Step, translates


@translates("Pooling")
def pooling(step: Step) -> None:
    """MaxPool or AveragePool; Caffe rounds the number of windows up unless told otherwise."""
    options = step.options("pooling_param")
    step.image_shape()
    average = _averages(step, options)
    if options.global_pooling:
        step.node("GlobalAveragePool" if average else "GlobalMaxPool", step.input)
        return
    kernel = spatial(step, options, "kernel_size", "kernel")
    pads = spatial(step, options, "pad", "pad", default=0, least=0)
    if pads[0] >= kernel[0] or pads[1] >= kernel[1]:
        raise ModelError(f"{step.where}: expected padding below the window's size {kernel}, found {pads}")
    step.node(
        "AveragePool" if average else "MaxPool",
        step.input,
        kernel_shape=kernel,
        strides=spatial(step, options, "stride", "stride", default=1),
        pads=pads + pads,
        ceil_mode=int(options.ceil_mode and enum_name(options, "round_mode") == "CEIL"),
        **({"count_include_pad": 1} if average else {}),
    )


@translates("SPP")
def spatial_pyramid(step: Step) -> None:
    """Poolings to 1, 2, 4, … windows along each axis, side by side (He et al. 2014, arXiv:1406.4729)."""
    options = step.options("spp_param")
    _, *size = step.image_shape()
    average = _averages(step, options)
    levels = options.pyramid_height
    if not 1 <= levels <= min(size).bit_length():
        raise ModelError(f"{step.where}: a pyramid of {levels} levels does not fit maps of {size[0]} by {size[1]}")
    pooled = []
    for level in range(levels):
        bins = 2**level
        kernel = tuple(-(-length // bins) for length in size)
        pads = tuple((k * bins - length + 1) // 2 for k, length in zip(kernel, size, strict=True))
        attributes: dict[str, Attribute] = {
            "kernel_shape": kernel,
            "strides": kernel,
            "pads": pads + pads,
            "ceil_mode": 1,
            **({"count_include_pad": 1} if average else {}),
        }
        op = "AveragePool" if average else "MaxPool"
        if levels == 1:
            step.node(op, step.input, **attributes)
            return
        pooled.append(step.helper(f"level{level}", op, (step.input,), **attributes))
    flat = [step.helper(f"flat{level}", "Flatten", (tensor,), axis=1) for level, tensor in enumerate(pooled)]
    step.node("Concat", *flat, axis=1)


def _averages(step: Step, options: Message) -> bool:
    """Whether a pooling takes the mean; what is drawn at random is refused."""
    method = enum_name(options, "pool")
    if method not in ("MAX", "AVE"):
        raise UnsupportedError(f"{step.where}: {method} pooling draws at random", hint="MAX and AVE can be explained")
    return method == "AVE"


_REDUCTIONS = {"SUM": "ReduceSum", "MEAN": "ReduceMean", "ASUM": "ReduceL1", "SUMSQ": "ReduceSumSquare"}


@translates("Reduction")
def reduction(step: Step) -> None:
    """One number of all axes from `axis` on, times a coefficient."""
    options = step.options("reduction_param")
    axis = step.axis(options.axis)
    shape = step.shape(step.input)
    op, axes = _REDUCTIONS[enum_name(options, "operation")], tuple(range(axis, len(shape)))
    # A score is a value per class: where nothing but the batch is left, it is one class.
    keep = int(axis == 1)
    made = step.input
    if keep and len(axes) > 1:
        made, axes = step.helper("flat", "Flatten", (made,), axis=1), (1,)
    if options.coeff == 1:
        step.node(op, made, axes=axes, keepdims=keep)
    else:
        made = step.helper("reduced", op, (made,), axes=axes, keepdims=keep)
        step.node("Power", made, power=1.0, scale=options.coeff, shift=0.0)
