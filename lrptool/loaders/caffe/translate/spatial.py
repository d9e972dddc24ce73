"""Poolings and normalisations over the image's axes."""

from __future__ import annotations

from lrptool.errors import ModelError, UnsupportedError
from lrptool.loaders.caffe.schema import Message
from lrptool.loaders.caffe.translate.geometry import pair
from lrptool.loaders.caffe.translate.registry import Step, translates


@translates("Pooling")
def pooling(step: Step) -> None:
    """MaxPool or AveragePool; Caffe rounds the number of windows up unless told otherwise."""
    options = step.options("pooling_param")
    step.image_shape()
    method = _enum_name(options, "pool")
    if method not in ("MAX", "AVE"):
        raise UnsupportedError(f"{step.where}: {method} pooling draws at random", hint="MAX and AVE can be explained")
    average = method == "AVE"
    if options.global_pooling:
        step.node("GlobalAveragePool" if average else "GlobalMaxPool", step.input)
        return
    kernel = pair(step, options, "kernel_size", "kernel")
    pads = pair(step, options, "pad", "pad", default=0, least=0)
    if pads[0] >= kernel[0] or pads[1] >= kernel[1]:
        raise ModelError(f"{step.where}: expected padding below the window's size {kernel}, found {pads}")
    step.node(
        "AveragePool" if average else "MaxPool",
        step.input,
        kernel_shape=kernel,
        strides=pair(step, options, "stride", "stride", default=1),
        pads=pads + pads,
        ceil_mode=int(options.ceil_mode and _enum_name(options, "round_mode") == "CEIL"),
        **({"count_include_pad": 1} if average else {}),
    )


@translates("LRN")
def local_response(step: Step) -> None:
    """LRN or LRNWithinChannel; within a channel Caffe knows no k, it is 1."""
    options = step.options("lrn_param")
    step.image_shape()
    size = options.local_size
    if size % 2 != 1:
        raise ModelError(f"{step.where}: expected an odd local_size, found {size}")
    within = _enum_name(options, "norm_region") == "WITHIN_CHANNEL"
    step.node(
        "LRNWithinChannel" if within else "LRN",
        step.input,
        size=size,
        alpha=options.alpha,
        beta=options.beta,
        bias=1.0 if within else options.k,
    )


def _enum_name(options: Message, field: str) -> str:
    """Return the word for an enum field's value."""
    values = options.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return str(values[getattr(options, field)].name)
