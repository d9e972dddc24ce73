"""Layers with weights."""

from __future__ import annotations

from math import prod

import numpy as np

from lrptool.errors import ModelError, UnsupportedError
from lrptool.loaders.caffe.schema import Message
from lrptool.loaders.caffe.sources import dummy_shape
from lrptool.loaders.caffe.translate.options import spatial
from lrptool.loaders.caffe.translate.registry import Step, translates
from lrptool.loaders.caffe.weights import MOST_NUMBERS, Blob


@translates("Convolution")
def convolution(step: Step) -> None:
    """Conv over all axes behind the channels."""
    options, channels, axes = _opened(step)
    kernel = spatial(step, options, "kernel_size", "kernel", axes=axes)
    out, group = _grouped(step, channels, options.num_output, options.group)
    fan_in = channels // group * prod(kernel)
    parameters = step.constants(
        weight=Blob((out, channels // group, *kernel), "he", fan_in),
        bias=Blob((out,)) if options.bias_term else None,
    )
    step.node("Conv", step.input, *parameters, group=group, **_geometry(step, options, kernel))


@translates("DepthwiseConvolution")
def depthwise(step: Step) -> None:
    """Conv with a group per channel, whatever the file says of groups."""
    options, channels, axes = _opened(step)
    kernel = spatial(step, options, "kernel_size", "kernel", axes=axes)
    out, group = _grouped(step, channels, options.num_output or channels, channels)
    parameters = step.constants(
        weight=Blob((out, 1, *kernel), "he", prod(kernel)), bias=Blob((out,)) if options.bias_term else None
    )
    step.node("Conv", step.input, *parameters, group=group, **_geometry(step, options, kernel))


@translates("Deconvolution")
def deconvolution(step: Step) -> None:
    """ConvTranspose; its weights are stored by input channel, as ONNX has them."""
    options, channels, axes = _opened(step)
    kernel = spatial(step, options, "kernel_size", "kernel", axes=axes)
    out, group = _grouped(step, channels, options.num_output, options.group)
    geometry = _geometry(step, options, kernel)
    fan_in = channels // group * prod(kernel) // prod(geometry["strides"])
    bilinear = options.weight_filler.type == "bilinear"
    parameters = step.constants(
        weight=Blob((channels, out // group, *kernel), "bilinear" if bilinear else "he", max(fan_in, 1)),
        bias=Blob((out,)) if options.bias_term else None,
    )
    step.node("ConvTranspose", step.input, *parameters, group=group, output_padding=(0,) * axes, **geometry)


def _opened(step: Step) -> tuple[Message, int, int]:
    """Return the options of a convolution, the channels it reads, and the number of axes its kernel moves along."""
    options = step.options("convolution_param")
    shape = step.shape(step.input)
    if step.axis(options.axis) != 1:
        raise UnsupportedError(f"{step.where}: expected channels on axis 1, found axis {options.axis}")
    if not 3 <= len(shape) <= 5:
        raise ModelError(f"{step.where}: expected an input (N, C, H, W), found shape {shape}")
    return options, shape[1] or 0, len(shape) - 2


def _grouped(step: Step, channels: int, out: int, group: int) -> tuple[int, int]:
    """Return outputs and groups once they are known to fit the channels."""
    if out < 1 or group < 1 or out % group or channels % group:
        raise ModelError(f"{step.where}: {channels} channels to {out} outputs do not go into {group} groups")
    return out, group


def _geometry(step: Step, options: Message, kernel: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return where a kernel moves; DeepLab calls the dilation a hole."""
    axes = len(kernel)
    pads = spatial(step, options, "pad", "pad", axes=axes, default=0, least=0)
    holes = [name for name in ("hole", "hole_h") if options.HasField(name)]
    dilation = ("hole", "hole") if holes else ("dilation", "dilation")
    return {
        "kernel_shape": kernel,
        "strides": spatial(step, options, "stride", "stride", axes=axes, default=1),
        "dilations": spatial(step, options, *dilation, axes=axes, default=1),
        "pads": pads + pads,
    }


@translates("InnerProduct")
def inner_product(step: Step) -> None:
    """Gemm, behind a Flatten where an item has several axes; MatMul where axes in front of the product stay."""
    options = step.options("inner_product_param")
    first, out = step.axis(options.axis), options.num_output
    if out < 1:
        raise ModelError(f"{step.where}: expected num_output of 1 or more, found {out}")
    shape = tuple(size or 0 for size in step.shape(step.input))
    fan_in = prod(shape[first:])
    flat = step.input
    if len(shape) > first + 1:
        if first == 1:
            flat = step.helper("flatten", "Flatten", (flat,), axis=1)
        else:
            flat = step.helper("flatten", "Reshape", (flat,), shape=(*shape[1:first], fan_in))
    # Gemm wants a row per output, MatMul a column.
    stored = (fan_in, out) if options.transpose else (out, fan_in)
    turned = options.transpose if first == 1 else not options.transpose
    parameters = step.constants(
        weight=Blob(stored, "he", fan_in, transposed=turned), bias=Blob((out,)) if options.bias_term else None
    )
    step.node("Gemm" if first == 1 else "MatMul", flat, *parameters)


@translates("Embed")
def embed(step: Step) -> None:
    """Lookup; the bias is part of every row."""
    options = step.options("embed_param")
    rows, columns = options.input_dim, options.num_output
    if min(rows, columns) < 1:
        raise ModelError(f"{step.where}: expected input_dim and num_output of 1 or more, found {rows} and {columns}")
    blobs = [Blob((rows, columns), "he", columns), *([Blob((columns,))] if options.bias_term else [])]
    table, *bias = step.weights(*blobs)
    step.node("Lookup", step.input, step.constant("weight", table + bias[0] if bias else table))


@translates("Parameter")
def parameter(step: Step) -> None:
    """A learned constant."""
    shape = tuple(step.options("parameter_param").shape.dim)
    if min(shape, default=1) < 1 or prod(shape) > MOST_NUMBERS:
        raise ModelError(f"{step.where}: expected a shape, found {shape}")
    step.named_constant(step.output, step.weights(Blob(shape, "he", 2))[0])


@translates("DummyData")
def dummy_data(step: Step) -> None:
    """Constants beside the image: numbers the file itself states."""
    fillers = step.options("dummy_data_param").data_filler
    for index, tensor in enumerate(step.item.outputs):
        filler = fillers[min(index, len(fillers) - 1)] if fillers else None
        if filler is not None and filler.type != "constant":
            raise UnsupportedError(f"{step.where}: draws {tensor!r} at random ({filler.type}) for every image")
        shape = dummy_shape(step.item.layer, step.item.layer.tops[index])
        if min(shape, default=1) < 1 or prod(shape) > MOST_NUMBERS:
            raise ModelError(f"{step.where}: expected a shape, found {shape}")
        value = filler.value if filler is not None else 0.0
        # Every image gets the same numbers: one row of the batch is enough.
        step.named_constant(tensor, np.full((1, *shape[1:]), value, np.float32))
