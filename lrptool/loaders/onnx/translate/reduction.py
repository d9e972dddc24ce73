"""Sums, means, norms and maxima along axes."""

from __future__ import annotations

from lrptool.loaders.onnx.layout import Sizes, Tensor
from lrptool.loaders.onnx.translate.movement import reshape
from lrptool.loaders.onnx.translate.registry import Step, translates

_PLAIN = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare")
_GLOBAL = {"ReduceMean": "GlobalAveragePool", "ReduceMax": "GlobalMaxPool"}
"""What a reduction over all positions of an image is called."""


def axes_of(step: Step, tensor: Tensor) -> Sizes:
    """Return the axes a reduction works along, in the file; all where none are named."""
    axes = step.integers("axes", 1)
    if not axes:
        return () if step.integer("noop_with_empty_axes") else tuple(range(tensor.rank))
    return tuple(sorted({step.axis(axis, tensor.rank) for axis in axes}))


def reduced(step: Step, tensor: Tensor, op: str, axes: Sizes, *, keep: bool, role: str = "") -> Tensor:
    """Return a reduction along axes in the file."""
    inner = tuple(sorted(tensor.inner(axis) for axis in axes))
    images = tensor.plain and tensor.rank == 4 and axes == (2, 3)
    if images and op in _GLOBAL:
        whole = step.apply(_GLOBAL[op], tensor, role=role if keep else role or "pooled")
        return whole if keep else reshape(step, whole, [shape[:2] for shape in step.shapes(whole)], role=role)
    (name,) = step.add(op, tensor.name, role=role, axes=inner, keepdims=int(keep))
    gone = 0 if keep or tensor.batch is None else sum(axis < tensor.batch for axis in axes)
    return step.like(name, tensor, batch=(tensor.batch or 0) - gone)


@translates(*_PLAIN)
def reduce(step: Step) -> None:
    """One reduction."""
    tensor = step.tensor()
    axes, op = axes_of(step, tensor), step.proto.op_type
    if not axes and op in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"):
        step.put(tensor)
        return
    step.put(reduced(step, tensor, op, axes, keep=bool(step.integer("keepdims", 1))))


@translates("ReduceLogSum", "ReduceLogSumExp")
def reduce_log(step: Step) -> None:
    """The logarithm of a sum, of exponentials in one case."""
    tensor = step.tensor()
    if step.proto.op_type == "ReduceLogSumExp":
        tensor = step.apply("Exp", tensor, role="exp")
    total = reduced(
        step, tensor, "ReduceSum", axes_of(step, tensor), keep=bool(step.integer("keepdims", 1)), role="sum"
    )
    step.put(step.apply("Log", total))
