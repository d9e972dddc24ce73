"""Poolings, and changes of an image's size."""

from __future__ import annotations

from typing import Any

import numpy as np

from lrptool.loaders.onnx.layout import Sizes, Tensor
from lrptool.loaders.onnx.translate.geometry import spatial, window
from lrptool.loaders.onnx.translate.registry import Step, translates

_ASYMMETRIC = 11
"""Before this version pixels were always mapped corner to corner without a half pixel between."""
_KNOWN_MAPPINGS = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")


def pooled(step: Step, op: str, tensor: Tensor, **more: Any) -> Tensor:
    """Return a pooling of a tensor with the batch in front, over the windows that a node states."""
    geometry = window(step, spatial(step, tensor))
    return step.apply(
        op,
        tensor,
        kernel_shape=geometry.kernel,
        strides=geometry.strides,
        pads=geometry.pads,
        dilations=geometry.dilations,
        ceil_mode=step.integer("ceil_mode"),
        **more,
    )


@translates("MaxPool", whole=True)
def max_pool(step: Step) -> None:
    """The places of the maxima, its second output, are nobody's to read."""
    step.put(pooled(step, "MaxPool", step.plain()))


@translates("AveragePool")
def average_pool(step: Step) -> None:
    """Padding counts where the file says so."""
    step.put(pooled(step, "AveragePool", step.plain(), count_include_pad=step.integer("count_include_pad")))


@translates("LpPool")
def lp_pool(step: Step) -> None:
    """The p-norm of each window; p was a float in the first version."""
    step.put(pooled(step, "LpPool", step.plain(), p=int(step.number("p", 2.0))))


@translates("GlobalMaxPool", "GlobalAveragePool")
def global_pool(step: Step) -> None:
    """One window over the whole map."""
    tensor = step.plain()
    spatial(step, tensor)
    step.put(step.apply(step.proto.op_type, tensor))


@translates("GlobalLpPool")
def global_lp_pool(step: Step) -> None:
    """The p-norm of each map."""
    tensor = step.plain()
    sizes = spatial(step, tensor)
    ones = (1,) * len(sizes)
    step.put(
        step.apply(
            "LpPool",
            tensor,
            kernel_shape=sizes,
            strides=ones,
            pads=(0,) * (2 * len(sizes)),
            dilations=ones,
            ceil_mode=0,
            p=int(step.number("p", 2.0)),
        )
    )


@translates("Resize")
def resize(step: Step) -> None:
    """Nearest or linear, to sizes or by factors."""
    tensor = step.plain()
    old = step.version < _ASYMMETRIC
    scales = step.array(1 if old else 2).reshape(-1) if step.has(1 if old else 2) else np.zeros(0)
    sizes = tuple(int(n) for n in step.array(3).reshape(-1)) if step.has(3) else ()
    _put_resized(step, tensor, tuple(float(scale) for scale in scales), sizes, step.text("mode", "nearest"), old=old)


@translates("Upsample")
def upsample(step: Step) -> None:
    """Resize of older versions: by factors."""
    tensor = step.plain()
    if step.has(1):
        scales = tuple(float(scale) for scale in step.array(1).reshape(-1))
    elif step.given("scales"):
        scales = step.floats("scales")
    else:
        scales = (1.0, 1.0, step.number("height_scale"), step.number("width_scale"))
    _put_resized(step, tensor, scales, (), step.text("mode", "nearest"), old=True)


def _put_resized(step: Step, tensor: Tensor, scales: tuple[float, ...], sizes: Sizes, mode: str, *, old: bool) -> None:
    """Add a Resize with all its options written out."""
    rank = tensor.rank
    axes = step.list("axes")
    if axes is not None:
        places = [step.axis(axis, rank) for axis in axes]
        scales = tuple(scales[places.index(k)] if k in places else 1.0 for k in range(rank)) if scales else ()
        shape = tensor.shape(1)
        sizes = tuple(sizes[places.index(k)] if k in places else shape[k] for k in range(rank)) if sizes else ()
    mode = {"bilinear": "linear", "trilinear": "linear"}.get(mode, mode)
    mapping = "asymmetric" if old else step.text("coordinate_transformation_mode", "half_pixel")
    nearest = "floor" if old else step.text("nearest_mode", "round_prefer_floor")
    policy = step.text("keep_aspect_ratio_policy", "stretch")
    if mode not in ("nearest", "linear") or mapping not in _KNOWN_MAPPINGS or policy != "stretch":
        raise step.unsupported(
            f"resizes by {mode} ({mapping}, {policy})", "mode nearest or linear, without cropping, can be explained"
        )
    if step.integer("antialias") and mode == "linear":
        raise step.unsupported("resizes with antialiasing", "export the network with antialias=False")
    if not scales:
        shape = tensor.shape(1)
        if len(sizes) != rank:
            raise step.malformed(f"expected {rank} sizes or scales, found {len(sizes)}")
        # The batch is never resized; its size in the file does not matter.
        sizes = (1, *sizes[1:]) if tensor.batch is not None else sizes
        scales = tuple(new / have for new, have in zip(sizes, shape, strict=True))
    if len(scales) != rank or min(scales) <= 0:
        raise step.malformed(f"expected {rank} positive scales, found {scales}")
    step.put(
        step.apply(
            "Resize",
            tensor,
            mode=mode,
            coordinate_transformation_mode=mapping,
            nearest_mode=nearest,
            scales=scales,
            sizes=sizes,
        )
    )
