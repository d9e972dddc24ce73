"""Layers with weights."""

from __future__ import annotations

from math import prod

import numpy as np

from lrptool.errors import ModelError, UnsupportedError
from lrptool.loaders.caffe.translate.geometry import pair
from lrptool.loaders.caffe.translate.registry import Step, translates
from lrptool.loaders.caffe.weights import Blob


@translates("Convolution")
def convolution(step: Step) -> None:
    """Conv; the kernel does not leave the image's two axes."""
    options = step.options("convolution_param")
    channels = step.image_shape()[0]
    if step.axis(options.axis) != 1:
        raise UnsupportedError(f"{step.where}: expected channels on axis 1, found axis {options.axis}")
    kernel = pair(step, options, "kernel_size", "kernel")
    pads = pair(step, options, "pad", "pad", default=0, least=0)
    out, group = options.num_output, options.group
    if out < 1 or group < 1 or out % group or channels % group:
        raise ModelError(f"{step.where}: {channels} channels to {out} outputs do not go into {group} groups")
    fan_in = channels // group * prod(kernel)
    parameters = step.constants(
        weight=Blob("weight", (out, channels // group, *kernel), fan_in),
        bias=Blob("zeros", (out,)) if options.bias_term else None,
    )
    step.node(
        "Conv",
        step.input,
        *parameters,
        kernel_shape=kernel,
        strides=pair(step, options, "stride", "stride", default=1),
        dilations=pair(step, options, "dilation", "dilation", default=1),
        pads=pads + pads,
        group=group,
    )


@translates("InnerProduct")
def inner_product(step: Step) -> None:
    """Gemm, behind a Flatten where an item has several axes."""
    options = step.options("inner_product_param")
    if step.axis(options.axis) != 1:
        raise UnsupportedError(f"{step.where}: expected all axes of an item to be summed, found axis {options.axis}")
    if options.num_output < 1:
        raise ModelError(f"{step.where}: expected num_output of 1 or more, found {options.num_output}")
    shape = step.shape(step.input)
    fan_in = prod(size or 1 for size in shape[1:])
    stored = (fan_in, options.num_output) if options.transpose else (options.num_output, fan_in)
    parameters = step.constants(
        weight=Blob("weight", stored, fan_in, transposed=options.transpose),
        bias=Blob("zeros", (options.num_output,)) if options.bias_term else None,
    )
    flat = step.input if len(shape) == 2 else step.helper("flatten", "Flatten", (step.input,), axis=1)
    step.node("Gemm", flat, *parameters)


@translates("BatchNorm")
def batch_norm(step: Step) -> None:
    """BatchNormalization with scale 1 and bias 0; the file keeps sums and the factor that they were summed with."""
    options = step.options("batch_norm_param")
    if options.HasField("use_global_stats") and not options.use_global_stats:
        raise UnsupportedError(f"{step.where}: uses the statistics of the batch (use_global_stats: false)")
    channels = step.shape(step.input)[1] or 0
    mean, variance, factor = step.weights(Blob("zeros", (channels,)), Blob("ones", (channels,)), Blob("ones", (1,)))
    scale = np.float32(0 if factor[0] == 0 else 1 / factor[0])
    if (variance * scale + options.eps <= 0).any():
        raise ModelError(f"{step.where}: expected a variance above 0, found {(variance * scale).min():g}")
    step.node(
        "BatchNormalization",
        step.input,
        step.constant("scale", np.ones(channels)),
        step.constant("bias", np.zeros(channels)),
        step.constant("mean", mean * scale),
        step.constant("variance", variance * scale),
        epsilon=options.eps,
    )
