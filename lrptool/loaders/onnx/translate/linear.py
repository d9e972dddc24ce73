"""Layers with weights, and products of two tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from lrptool.loaders.onnx.layout import Known, NotBatchFirst, Numbers, Sizes, Tensor, item_of
from lrptool.loaders.onnx.translate.elementwise import combine, scaled
from lrptool.loaders.onnx.translate.geometry import numbers, spatial, window
from lrptool.loaders.onnx.translate.movement import reshape, reshape_item, transpose
from lrptool.loaders.onnx.translate.operands import constant_operand
from lrptool.loaders.onnx.translate.registry import Step, translates
from lrptool.loaders.onnx.translate.state import Value


def kernel_of(step: Step, weight: Known, axes: int) -> Sizes:
    """Return the kernel's sizes of weights that fit an input with so many axes behind the channels."""
    shape = weight.array.shape
    if len(shape) != axes + 2:
        raise step.malformed(f"weights of shape {shape} do not fit an input of {axes + 2} axes")
    return shape[2:]


def _parameters(step: Step) -> list[Known]:
    """Return a layer's weights and, where it has one, its bias."""
    return [step.known(index) for index in (1, 2) if step.has(index)]


def _names(step: Step, parameters: Sequence[Known]) -> list[str]:
    """Return the names of weights and bias in the graph."""
    return [step.stored(value, role) for value, role in zip(parameters, ("weight", "bias"), strict=False)]


def convolved(step: Step, tensor: Tensor, parameters: Sequence[Known], role: str = "") -> Tensor:
    """Return the convolution a node states, of a tensor with the batch in front and with these weights and bias."""
    if not tensor.plain:
        raise NotBatchFirst("expected the batch on the first axis")
    sizes = spatial(step, tensor)
    geometry = window(step, sizes, kernel_of(step, parameters[0], len(sizes)))
    return step.apply(
        "Conv",
        tensor,
        *_names(step, parameters),
        role=role,
        kernel_shape=geometry.kernel,
        strides=geometry.strides,
        dilations=geometry.dilations,
        pads=geometry.pads,
        group=step.integer("group", 1),
    )


@translates("Conv")
def conv(step: Step) -> None:
    """Conv, with explicit pads."""
    step.put(convolved(step, step.tensor(), _parameters(step)))


@translates("ConvTranspose")
def conv_transpose(step: Step) -> None:
    """ConvTranspose, with explicit pads; a stated output shape decides them."""
    tensor = step.plain()
    sizes = spatial(step, tensor)
    count = len(sizes)
    kernel = kernel_of(step, step.known(1), count)
    strides = numbers(step, "strides", count, 1)
    dilations = numbers(step, "dilations", count, 1)
    extra = numbers(step, "output_padding", count, 0, least=0)
    auto = step.text("auto_pad", "NOTSET") or "NOTSET"
    full = [
        (size - 1) * stride + (k - 1) * dilation + 1 + more
        for size, stride, k, dilation, more in zip(sizes, strides, kernel, dilations, extra, strict=True)
    ]
    wanted: Sizes | None = step.list("output_shape") or None
    if wanted is not None:
        wanted = wanted[-count:]
    elif auto.startswith("SAME"):
        wanted = tuple(size * stride for size, stride in zip(sizes, strides, strict=True))
    if wanted is None:
        pads = numbers(step, "pads", 2 * count, 0, least=0) if auto == "NOTSET" else (0,) * (2 * count)
    else:
        totals = [have - want for have, want in zip(full, wanted, strict=True)]
        # What is wanted beyond the full size is added behind, like output padding.
        extra = tuple(more + max(0, -total) for more, total in zip(extra, totals, strict=True))
        totals = [max(0, total) for total in totals]
        small = [total // 2 for total in totals]
        large = [total - less for total, less in zip(totals, small, strict=True)]
        pads = (*small, *large) if auto == "SAME_UPPER" else (*large, *small)
    parameters = _names(step, _parameters(step))
    step.put(
        step.apply(
            "ConvTranspose",
            tensor,
            *parameters,
            kernel_shape=kernel,
            strides=strides,
            dilations=dilations,
            pads=pads,
            group=step.integer("group", 1),
            output_padding=extra,
        )
    )


def dense(step: Step, tensor: Tensor, weight: Numbers, *rest: str, role: str = "") -> Tensor:
    """Return a tensor's last axis times a matrix (O, K), with a bias (O,) of the graph where one is given."""
    tensor.place(tensor.rank - 1)  # not the batch
    if weight.shape[1] != tensor.item[-1]:
        raise step.malformed(f"weights of {weight.shape[1]} inputs do not fit an input of {tensor.item[-1]}")
    if len(tensor.item) + (tensor.batch is not None) == 2:
        name = step.constant("weight", np.ascontiguousarray(weight))
        return step.apply("Gemm", tensor, name, *rest, role=role)
    return step.apply("MatMul", tensor, step.constant("weight", np.ascontiguousarray(weight.T)), *rest, role=role)


@translates("Gemm")
def gemm(step: Step) -> None:
    """alpha · A' B' + beta · C, with A' and B' transposed or not."""
    step.put(gemm_sum(step))


def gemm_sum(step: Step, role: str = "") -> Tensor:
    """Return what a Gemm states."""
    beta = step.number("beta", 1.0)
    if not step.has(2) or beta == 0:
        return _gemm_product(step, role)
    a = step.value(0)
    if isinstance(a, Tensor) and isinstance(step.value(1), Known):
        outputs = step.array(1).shape[0 if step.integer("transB") else -1]
        bias = _dense_bias(step, a, outputs, beta)
        if bias is not None:
            return _gemm_product(step, role, bias)
    made, value = _gemm_product(step, "product"), step.value(2)
    if isinstance(value, Tensor):
        value = scaled(step, value, np.array(beta), role="offset")
    else:
        value = Known(tuple(array.astype(np.float64) * beta for array in step.known(2).values))
    return combine(step, "Sum", [made, value], role)


def _gemm_product(step: Step, role: str, *bias: str) -> Tensor:
    """Return the product in a Gemm, with a bias of the graph where the second factor is constant."""
    a, b = step.value(0), step.value(1)
    turned_a, turned_b = bool(step.integer("transA")), bool(step.integer("transB"))
    alpha = step.number("alpha", 1.0)
    if isinstance(a, Tensor) and isinstance(b, Known):
        if a.rank > 2:  # the first version took any number of axes
            a = reshape(step, a, [(shape[0], prod(shape[1:])) for shape in step.shapes(a)])
        weight = _matrix(step, b.array) if turned_b else _matrix(step, b.array).T
        x = transpose(step, a, (1, 0)) if turned_a else a
        return dense(step, x, _times(weight, alpha), *bias, role=role)
    if isinstance(a, Known) and isinstance(b, Tensor):
        weight = _matrix(step, a.array).T if turned_a else _matrix(step, a.array)
        x = b if turned_b else transpose(step, b, (1, 0))
        return transpose(step, dense(step, x, _times(weight, alpha), role=role or "product"), (1, 0))
    first = transpose(step, step.tensor(0), (1, 0)) if turned_a else step.tensor(0)
    second = transpose(step, step.tensor(1), (1, 0)) if turned_b else step.tensor(1)
    return scaled(step, bilinear(step, first, second, role=role or "product"), np.array(alpha), role="scaled")


def _matrix(step: Step, array: Numbers) -> Numbers:
    """Return weights that must be a matrix."""
    if array.ndim != 2:
        raise step.malformed(f"expected a matrix of weights, found shape {array.shape}")
    return array


def _times(weight: Numbers, factor: float) -> Numbers:
    """Return weights times a number."""
    return weight if factor == 1 else weight.astype(np.float64) * factor


def _dense_bias(step: Step, x: Tensor, outputs: int, beta: float) -> str | None:
    """Return the name of a constant that is one bias for every row; None where it is not."""
    value = step.value(2)
    if not isinstance(value, Known) or value.values[0].ndim > 2 or not x.alone:
        return None
    # One row for each image: the batch is on the first axis of the result, however the input has it.
    like = replace(x, item=(outputs,), batch=0) if x.batch is not None else x
    item = item_of(value, 2, like, step.mode.sizes)
    if item.size not in (1, outputs) or (item.ndim and item.size != item.shape[-1]):
        return None
    row = item.reshape(-1)
    if beta == 1 and row.size == outputs:
        return constant_operand(step, value, row, "bias")
    return step.constant("bias", np.broadcast_to(row, (outputs,)).astype(np.float64) * beta)


def bilinear(step: Step, a: Tensor, b: Tensor, role: str = "") -> Tensor:
    """Return the product of two tensors over the last axis of one and the last but one of the other."""
    rank = max(a.rank, b.rank)
    places = {t.from_behind(rank) for t in (a, b)}
    if len(places) > 1 or (places.pop()[0] or 0) > rank - 3:
        raise NotBatchFirst("multiplies across the images of a batch")
    if min(a.rank, b.rank) < 2:
        raise step.malformed(f"expected matrices, found {a.rank} and {b.rank} axes")
    names = [
        t.name if t.rank == rank or t.batch is None else reshape_item(step, t.name, (1,) * (rank - t.rank) + t.item)
        for t in (a, b)
    ]
    (name,) = step.add("BilinearMatMul", *names, role=role)
    return step.like(name, a if a.rank == rank else b)


def product(step: Step, a: Value, b: Value, role: str = "") -> Tensor:
    """Return the matrix product of two values, one of them a tensor."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return bilinear(step, a, b, role)
    if isinstance(a, Known) and isinstance(b, Tensor):
        return _constant_left(step, a, b, role)
    if not isinstance(a, Tensor) or not isinstance(b, Known):
        raise TypeError("one factor has to be a tensor")
    weight = b.array
    if weight.ndim == 1:
        column = dense(step, a, weight[None], role=role or "product")
        return reshape(step, column, [shape[:-1] for shape in step.shapes(column)])
    if weight.ndim == 2 or weight.size == weight.shape[-1] * weight.shape[-2]:
        wide = dense(step, a, weight.reshape(weight.shape[-2:]).T, role=role)
        more = weight.ndim - wide.rank
        if more <= 0:
            return wide
        return reshape(step, wide, [(1,) * more + shape for shape in step.shapes(wide)])
    return _stack(step, a, b, role)


def _stack(step: Step, a: Tensor, b: Known, role: str) -> Tensor:
    """Return a tensor times a stack of constant matrices, one for each place of its axes in front."""
    if a.batch is not None and (not a.alone or a.batch > a.rank - 3):
        raise NotBatchFirst("multiplies across the images of a batch")
    item = item_of(b, max(a.rank, b.array.ndim), a, step.mode.sizes)
    if b.array.ndim > a.rank:
        raise NotBatchFirst("its weights have more axes than its input")
    return step.apply("MatMul", a, step.constant("weight", item), role=role)


def _constant_left(step: Step, a: Known, b: Tensor, role: str) -> Tensor:
    """Return a constant times a tensor: the tensor turned, times the constant turned, turned back."""
    if b.rank < 2:
        raise step.malformed(f"expected a matrix, found {b.rank} axes")
    weight = a.array
    turn = (*range(b.rank - 2), b.rank - 1, b.rank - 2)
    turned = transpose(step, b, turn, role="turned")
    if weight.ndim == 1:
        row = dense(step, turned, weight[None], role=role or "product")
        return reshape(step, row, [shape[:-1] for shape in step.shapes(row)])
    if weight.ndim > 2 and weight.size != weight.shape[-1] * weight.shape[-2]:
        made = _stack(step, turned, Known((np.swapaxes(weight, -1, -2),)), "product")
    else:
        made = dense(step, turned, weight.reshape(weight.shape[-2:]), role="product")
    return transpose(step, made, turn, role="back")


@translates("MatMul")
def matmul(step: Step) -> None:
    """A layer where one factor is constant, a product of two tensors otherwise."""
    step.put(product(step, step.value(0), step.value(1)))
