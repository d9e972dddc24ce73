"""Windows over the axes behind the channels: kernels, strides, dilations and pads, complete and explicit."""

from __future__ import annotations

from dataclasses import dataclass

from lrptool.loaders.onnx.layout import Sizes, Tensor
from lrptool.loaders.onnx.translate.registry import Step


@dataclass(frozen=True, slots=True)
class Window:
    """One window's geometry, a number per axis (pads: all begins, then all ends)."""

    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    pads: Sizes


def spatial(step: Step, tensor: Tensor) -> Sizes:
    """Return the sizes of the axes behind the channels; ModelError where there are none."""
    sizes = tensor.item[2 - (tensor.batch is not None) :]
    if not 1 <= len(sizes) <= 3:
        raise step.malformed(f"expected an input of 3 to 5 axes (N, C, …), found {tensor.rank}")
    return sizes


def numbers(step: Step, key: str, count: int, default: int, least: int = 1) -> Sizes:
    """Return an attribute with one number per axis."""
    values = step.list(key)
    if values is None or not values:
        return (default,) * count
    if len(values) != count or min(values) < least:
        raise step.malformed(f"expected {count} numbers of {least} or more for {key}, found {values}")
    return values


def window(step: Step, sizes: Sizes, kernel: Sizes | None = None) -> Window:
    """Return the geometry a node states, with the pads that `auto_pad` asks for.

    Parameters
    ----------
    step : Step
    sizes : tuple of int
        Of the input's axes behind the channels.
    kernel : tuple of int, optional
        Of the weights; otherwise the node has to state it.
    """
    count = len(sizes)
    if kernel is None or step.given("kernel_shape"):
        stated = numbers(step, "kernel_shape", count, 0)
        if kernel is not None and stated != kernel:
            raise step.malformed(f"kernel_shape {stated}, but the weights have {kernel}")
        kernel = stated
    if min(kernel) < 1:
        raise step.malformed("expected a kernel_shape, found none")
    strides = numbers(step, "strides", count, 1)
    dilations = numbers(step, "dilations", count, 1)
    auto = step.text("auto_pad", "NOTSET") or "NOTSET"
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pads = _same(sizes, kernel, strides, dilations, lower=auto == "SAME_LOWER")
    elif auto == "VALID":
        pads = (0,) * (2 * count)
    elif auto == "NOTSET":
        pads = numbers(step, "pads", 2 * count, 0, least=0)
    else:
        raise step.malformed(f"auto_pad {auto!r} is unknown")
    return Window(kernel, strides, dilations, pads)


def _same(sizes: Sizes, kernel: Sizes, strides: Sizes, dilations: Sizes, *, lower: bool) -> Sizes:
    """Return the pads that make the output as large as the input divided by the stride, rounded up."""
    begins, ends = [], []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size)
        less, more = total // 2, total - total // 2
        begins.append(more if lower else less)
        ends.append(less if lower else more)
    return (*begins, *ends)
